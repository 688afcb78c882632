//! What a proxy is told when it is made. Reads no files and no environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most servers of one upstream.
pub(crate) const SERVERS: usize = 256;

/// What an application speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1 without TLS; with it what both sides like best (ALPN).
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
}

/// Where a server of an application is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerOrigin {
    /// Whether it is spoken to over TLS.
    pub https: bool,
    /// Its name or address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ServerOrigin {
    /// Host and port as in `Host`: without the port if it is the scheme's own.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for ServerOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

/// How a server is asked whether it is well. Any status below 400 says yes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// Path and query that is asked for with GET.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// The answer's head must be there after this time.
    pub timeout: Duration,
    /// Good answers in a row after which a server that is down is up.
    pub healthy_after: u32,
    /// Bad or missing answers in a row after which it is down.
    pub unhealthy_after: u32,
}

/// One application.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Its name in reports.
    pub name: String,
    /// Its servers, all alike.
    pub servers: Vec<ServerOrigin>,
    /// What they speak.
    pub protocol: Protocol,
    /// Longest time until a connection, with TLS if any, is there.
    pub connect_timeout: Duration,
    /// Most requests under way at each server. Tunnels count separately.
    pub max_connections: usize,
    /// Whether and how servers are asked how they are.
    pub health: Option<HealthCheck>,
    /// Whom to trust. Needed when a server is https; its ALPN is set here.
    pub tls: Option<Arc<ClientConfig>>,
}

/// Time since any fixed moment.
pub(crate) type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a proxy needs from outside.
#[derive(Clone)]
pub struct Parts {
    /// Name of this installation in `Via`: a token (RFC 9110 section 7.6.3) that no other has.
    pub via: String,
    /// Runs tunnels, and uploads that outlast the head of their answer.
    pub tasks: TaskTracker,
    /// Runs connections of HTTP/2, which end when [`Proxy::tend`](crate::Proxy::tend) does.
    pub connections: TaskTracker,
    /// Ends all tunnels.
    pub drain: CancellationToken,
    /// Most tunnels at once, over all upstreams.
    pub max_tunnels: usize,
    /// Time since any fixed moment.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Random numbers, to spread when servers are tried again.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("via", &self.via).finish_non_exhaustive()
    }
}

/// Why a proxy cannot be made.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No server, or more than 256.
    #[error("upstream {0} must have between 1 and 256 servers")]
    Servers(String),
    /// https without anything to trust.
    #[error("upstream {0} has an https server but no TLS configuration")]
    NoTls(String),
    /// Not a name or address.
    #[error("upstream {upstream}: {server} is no origin")]
    Origin {
        /// Name of the upstream.
        upstream: String,
        /// The server.
        server: String,
    },
    /// Not a path.
    #[error("upstream {upstream}: the health check's path {path} must begin with / and be a path")]
    HealthPath {
        /// Name of the upstream.
        upstream: String,
        /// The path.
        path: String,
    },
    /// Not a token.
    #[error("the pseudonym {0} is no token")]
    Via(String),
}

/// A server's origin in the forms in which it is needed.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) server: ServerOrigin,
    pub(crate) authority: HeaderValue,
    pub(crate) tls: Option<Tls>,
}

/// What TLS to one server needs.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) name: ServerName<'static>,
    /// Offers what the protocol setting says.
    pub(crate) config: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone, for upgrades.
    pub(crate) http1: Arc<ClientConfig>,
}

impl Origin {
    pub(crate) fn new(server: &ServerOrigin, config: &UpstreamConfig) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Origin { upstream: config.name.clone(), server: server.to_string() };
        let text = server.authority();
        if server.host.is_empty() {
            return Err(wrong());
        }
        text.parse::<Authority>()
            .ok()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(wrong)?;
        let authority = HeaderValue::try_from(text).map_err(|_| wrong())?;
        let tls = if server.https {
            let base = config.tls.as_ref().ok_or_else(|| ConfigError::NoTls(config.name.clone()))?;
            let name = ServerName::try_from(server.host.clone()).map_err(|_| wrong())?;
            let offers: &[&[u8]] = match config.protocol {
                Protocol::Auto => &[b"h2", b"http/1.1"],
                Protocol::Http1 => &[b"http/1.1"],
                Protocol::Http2 => &[b"h2"],
            };
            Some(Tls { name, config: offering(base, offers), http1: offering(base, &[b"http/1.1"]) })
        } else {
            None
        };
        Ok(Self { server: server.clone(), authority, tls })
    }
}

fn offering(base: &ClientConfig, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = base.clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}
