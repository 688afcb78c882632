//! What the composition root tells the HTTP surface.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use phoenix_auth::Auth;
use phoenix_auth::ports::Clock;

use crate::client_ip::ClientAddressSettings;
use crate::forward_auth::SignIn;
use crate::gateway::{Assertions, LiveRoutes, Upstreams};
use crate::introspection::Introspection;
use crate::limit_admin::LimitAdmin;
use crate::limits::Limits;
use crate::webhooks::Webhooks;

/// A web origin (RFC 6454): scheme, host and port, in lower case, the default port left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebOrigin(pub String);

/// The Stack Auth project whose SDK's headers and cookies are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderCookies {
    /// Its id, as it stands in the names of cookies.
    pub project: String,
}

/// Limits and identity of the surface.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Version of the binary.
    pub version: &'static str,
    /// Where browsers find this server, if it is known.
    pub public_origin: Option<WebOrigin>,
    /// Other origins whose pages may use a cookie session.
    pub allowed_origins: Vec<WebOrigin>,
    /// The identity provider whose SDK's headers and cookies are read, if any.
    pub provider: Option<ProviderCookies>,
    /// Whether other proxies may ask about requests over HTTP and gRPC.
    pub answers_proxies: bool,
    /// The page where browsers sign in that another proxy asks about, if any.
    pub sign_in: Option<SignIn>,
    /// How clients' addresses are found.
    pub client_address: ClientAddressSettings,
    /// Longest body of a request to Phoenix's own API, in bytes.
    pub max_body_bytes: usize,
    /// Longest path and query, in bytes.
    pub max_uri_bytes: usize,
    /// A body that is not complete by then is given up.
    pub body_timeout: Duration,
    /// A request that is not answered by then is given up.
    pub request_timeout: Duration,
    /// `Strict-Transport-Security` of answers over TLS, if any (RFC 6797).
    pub hsts: Option<HeaderValue>,
    /// Whether administrators need a client certificate besides their session.
    pub admin_certificate: bool,
    /// First half of every request id: differs between processes.
    pub instance: u64,
}

/// What the surface is made of.
#[derive(Clone)]
pub struct HttpParts {
    /// Limits and identity.
    pub settings: HttpSettings,
    /// The use cases.
    pub auth: Auth,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How the rest of the process does.
    pub introspection: Arc<dyn Introspection>,
    /// Rate limits.
    pub limits: Arc<Limits>,
    /// Takes the identity provider's webhooks, if a secret is configured.
    pub webhooks: Option<Arc<dyn Webhooks>>,
    /// Looks after limits and blocks.
    pub limit_admin: Arc<dyn LimitAdmin>,
    /// The routes of the application that Phoenix protects.
    pub routes: Arc<LiveRoutes>,
    /// That application, if Phoenix stands in front of it.
    pub upstreams: Option<Arc<dyn Upstreams>>,
    /// Signs who callers are.
    pub assertions: Option<Arc<dyn Assertions>>,
}
