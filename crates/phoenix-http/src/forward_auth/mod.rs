//! Beside another proxy: it asks about each request whether and as whom it may go on to the application, and carries out
//! the answer.
//!
//! Owns how a request is described by nginx, Caddy, Traefik and Envoy over HTTP and by Envoy over gRPC, the verdict, and
//! the form of the answers. Does not own HAProxy's protocol (the binary does), nor the rules: routes, limits and identity
//! are those of the gateway.

mod describe;
mod envoy;
mod fields;
mod judge;
mod sign_in;
mod spelling;
mod verify;

use std::net::IpAddr;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

pub use self::envoy::{CallFailure, EnvoyCall};
pub use self::fields::{BadHeader, append_field};
pub use self::sign_in::SignIn;

/// Path of the question over HTTP, and the beginning of Envoy's.
const VERIFY: &str = "/api/phoenix/verify";
/// The same for nginx, which passes on no refusal but 401 and 403.
const VERIFY_NGINX: &str = "/api/phoenix/verify-nginx";

/// Who asks, by the path: never by anything that a proxy passes on from its client, such as a query or a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// Caddy, Traefik, and others that write `X-Forwarded-Method`, `X-Forwarded-Host` and `X-Forwarded-Uri`.
    Forwarded,
    /// nginx' `auth_request`: `X-Original-Method`, and `X-Original-URI` or `X-Original-URL`.
    Nginx,
    /// Envoy's `ext_authz` over HTTP: the path with ours before it.
    EnvoyHttp,
    /// Envoy's `ext_authz` over gRPC.
    EnvoyGrpc,
}

impl Asks {
    /// Reads the path as it came: in its normal form a client of Envoy could have led it elsewhere.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        match uri.path() {
            VERIFY => Some(Self::Forwarded),
            VERIFY_NGINX => Some(Self::Nginx),
            envoy::CHECK => Some(Self::EnvoyGrpc),
            path => {
                path.strip_prefix(VERIFY).is_some_and(|rest| rest.starts_with('/')).then_some(Self::EnvoyHttp)
            }
        }
    }

    /// Its name in logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => VERIFY,
            Self::Nginx => VERIFY_NGINX,
            Self::EnvoyHttp => "/api/phoenix/verify/{*rest}",
            Self::EnvoyGrpc => envoy::CHECK,
        }
    }
}

/// A request as a proxy describes it in a protocol that is not HTTP.
#[derive(Clone, Debug)]
pub struct Described<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Its path and query, as the client sent them.
    pub target: &'a [u8],
    /// The host that the client asked for, if the headers have no `Host`.
    pub host: Option<&'a [u8]>,
    /// Whether the client used https.
    pub is_https: bool,
    /// Where the proxy has it from.
    pub source: Option<IpAddr>,
    /// Its header; one that cannot be read makes the answer 400.
    pub headers: Result<HeaderMap, BadHeader>,
}

/// A request that another proxy asks about.
#[derive(Clone, Debug)]
pub struct Original {
    /// Its method, without small letters.
    pub method: Method,
    /// Its path and query, in origin form.
    pub target: PathAndQuery,
    /// Whether the client used https.
    pub is_https: bool,
    /// As the client sent it, with the `Host` that it asked for.
    pub headers: HeaderMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_by_the_path_as_it_came() {
        for (path, asks) in [
            ("/api/phoenix/verify", Some(Asks::Forwarded)),
            ("/api/phoenix/verify?nginx", Some(Asks::Forwarded)),
            ("/api/phoenix/verify-nginx", Some(Asks::Nginx)),
            ("/api/phoenix/verify-nginx?a=b", Some(Asks::Nginx)),
            ("/api/phoenix/verify/", Some(Asks::EnvoyHttp)),
            ("/api/phoenix/verify//x/../y?z", Some(Asks::EnvoyHttp)),
            ("/api/phoenix/verify/../../../public", Some(Asks::EnvoyHttp)),
            ("/api/phoenix/verify/api/phoenix/verify", Some(Asks::EnvoyHttp)),
            ("/envoy.service.auth.v3.Authorization/Check", Some(Asks::EnvoyGrpc)),
            ("/api/phoenix/verified", None),
            ("/api/phoenix/verify-nginx/x", None),
            ("/api/phoenix/verify%2fx", None),
            ("/API/phoenix/verify", None),
            ("/", None),
        ] {
            assert_eq!(Asks::of(&path.parse().expect(path)), asks, "{path}");
        }
    }
}
