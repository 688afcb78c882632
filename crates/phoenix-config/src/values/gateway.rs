//! The gateway as it is configured: upstreams, and routes to them. Owns what the parts are; how they are written is in
//! `kinds/`, what they do is not decided here.

use std::{fmt, path::PathBuf, time::Duration};

use super::{ByteSize, Choices, HttpMethod, Origin};

/// Servers that answer the same requests. What is `None` is as the setting of `gateway` with that name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUpstream {
    /// 1 to 32 characters of a-z, 0-9, `-` and `_`, the first a letter; not `default`, which is `gateway.upstream`.
    pub name: String,
    /// 1 to 32.
    pub servers: Vec<Origin>,
    /// Audience of assertions for it; `None`: its name.
    pub audience: Option<String>,
    /// Largest body of a request.
    pub max_body: Option<ByteSize>,
    /// Time from the end of a request to the head of its answer.
    pub deadline: Option<Duration>,
    /// Longest pause within a body or a tunnel.
    pub idle_timeout: Option<Duration>,
    /// Time to open a connection.
    pub connect_timeout: Option<Duration>,
    /// What is spoken with it.
    pub protocol: Option<UpstreamProtocol>,
    /// Most requests at once to each server.
    pub max_connections: Option<usize>,
    /// What servers are asked for to see whether they are up.
    pub health_path: Option<String>,
    /// How often.
    pub health_interval: Option<Duration>,
    /// Authorities that its certificates may come from, besides the system's: PEM.
    pub ca_file: Option<PathBuf>,
}

/// What is spoken with an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1, and with TLS HTTP/2 where the server offers it.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge (RFC 9113, section 3.3).
    Http2,
}

impl Choices for UpstreamProtocol {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("http1", Self::Http1), ("http2", Self::Http2)];
}

/// Requests to an application, and what holds for them. What is `None` is as the upstream or `gateway` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRoute {
    /// Host, or `*.` and a domain; not looked into. `None`: any.
    pub host: Option<String>,
    /// Methods; none is all.
    pub methods: Vec<HttpMethod>,
    /// Template of the path, not looked into.
    pub path: String,
    /// Who may use it.
    pub auth: RouteAuth,
    /// Of these roles, if there are any. Only with [`RouteAuth::Required`].
    pub roles: Vec<String>,
    /// Its class of rate limits, which need not exist.
    pub class: RouteClass,
    /// Largest body of a request.
    pub max_body: Option<ByteSize>,
    /// Time from the end of a request to the head of its answer.
    pub deadline: Option<Duration>,
    /// Longest pause within a body or a tunnel.
    pub idle_timeout: Option<Duration>,
    /// Name of an upstream, which need not exist; `None`: that of `gateway.upstream`, if it is set.
    pub upstream: Option<String>,
    /// Whether what may change something, and is sent with the cookie, must come from the site's own pages.
    pub same_origin: bool,
    /// Whether the application sees Phoenix's session token.
    pub keep_credentials: bool,
    /// Whether the application sees the `Host` that the client asked for.
    pub keep_host: bool,
    /// Who answers questions of browsers about other origins.
    pub cors: RouteCors,
    /// What becomes of paths that can be read as leading to another route.
    pub ambiguous_paths: AmbiguousPaths,
    /// Changes of the headers of requests.
    pub request_headers: HeaderEdits,
    /// Changes of the headers of answers.
    pub response_headers: HeaderEdits,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteAuth {
    /// Whoever is signed in.
    Required,
    /// Anybody; the application is told who it is.
    Optional,
    /// Anybody; nobody looks who it is.
    None,
}

impl Choices for RouteAuth {
    const ALL: &'static [(&'static str, Self)] =
        &[("required", Self::Required), ("optional", Self::Optional), ("none", Self::None)];
}

/// Which class of rate limits a route belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteClass {
    /// What `limits.routes` says.
    ByPath,
    /// This one.
    Named(String),
    /// None. Written `none`.
    Unlimited,
}

/// Who answers questions of browsers about other origins (CORS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteCors {
    /// Nothing is written: the application, which gets preflights only where nobody must be signed in.
    Unstated,
    /// The application. Written `application`.
    Application,
    /// Phoenix: these origins may, or nobody.
    Origins(Vec<Origin>),
}

/// What becomes of paths that can be read as leading to another route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AmbiguousPaths {
    /// Refused.
    Refuse,
    /// Taken as they are written.
    Allow,
}

impl Choices for AmbiguousPaths {
    const ALL: &'static [(&'static str, Self)] = &[("refuse", Self::Refuse), ("allow", Self::Allow)];
}

/// Changes of headers. Names are valid and in lower case, values are printable ASCII. `Debug` hides the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Removed first.
    pub remove: Vec<String>,
    /// Then set in place of any of the name.
    pub set: Vec<(String, String)>,
}

impl fmt::Debug for HeaderEdits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remove, set } = self;
        let names: Vec<&str> = set.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HeaderEdits").field("remove", remove).field("set", &names).finish()
    }
}
