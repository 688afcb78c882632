//! The port of plain HTTP beside HTTPS: every request is sent on to https, and nothing else is served.

use std::net::Ipv6Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use phoenix_config::{Config, Scheme};
use phoenix_http::body::{Body, full};

use crate::tls::TlsServer;

/// Longest name of a host in bytes (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
/// Needs no mention in an address (RFC 9110 section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// Knows where HTTPS is.
pub struct Redirect {
    tls: Arc<TlsServer>,
    /// Host of the configured public address.
    public_host: Option<String>,
    /// Port under which clients reach HTTPS.
    port: u16,
}

impl Redirect {
    /// To HTTPS that listens on `port`, unless the public address says under which port it is reached.
    #[must_use]
    pub fn new(config: &Config, tls: Arc<TlsServer>, port: u16) -> Self {
        let public = config.server.public_url.as_ref().filter(|url| url.scheme() == Scheme::Https);
        Self {
            tls,
            public_host: public.map(|url| url.host().to_owned()),
            port: public.map_or(port, phoenix_config::Origin::port),
        }
    }

    /// 308 to the same path at the host that was asked for; 400 when that is no host.
    pub(super) fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
        let location = asked_host(uri, headers)
            .map(|host| self.location(&host, uri))
            .and_then(|location| HeaderValue::from_str(&location).ok());
        let Some(location) = location else {
            let text = "The request names no host, so it cannot be sent on to HTTPS.\n";
            return answer(StatusCode::BAD_REQUEST, text);
        };
        let mut response = answer(StatusCode::PERMANENT_REDIRECT, "This server speaks HTTPS.\n");
        response.headers_mut().insert(LOCATION, location);
        response
    }

    /// A host that no certificate has is answered with the public one: the client could not go there.
    fn location(&self, asked: &str, uri: &Uri) -> String {
        let host = match &self.public_host {
            Some(public) if !self.tls.covers(asked) => public,
            Some(_) | None => asked,
        };
        let port = if self.port == HTTPS_PORT { String::new() } else { format!(":{}", self.port) };
        // `OPTIONS *` asks about the whole server.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path } else { "/" };
        format!("https://{host}{port}{path}")
    }
}

/// The host in lower case without its port, if exactly one is named and it can be one (RFC 9112 section 3.2).
fn asked_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(HOST).iter();
    let named = match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line.to_str().ok()?.parse::<Authority>().ok()?),
        (None, _) => None,
        (Some(_), Some(_)) => return None,
    };
    // A target in absolute form counts more than the header.
    let authority = uri.authority().cloned().or(named)?;
    let host = authority.host();
    let is_name = |host: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        !host.is_empty() && host.len() <= MAX_HOST_BYTES && host.bytes().all(allowed)
    };
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = in_brackets.map_or_else(|| is_name(host), |inner| inner.parse::<Ipv6Addr>().is_ok());
    // Nobody's name stands before it, and nothing but a port behind.
    let port = authority.as_str().strip_prefix(host)?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (is_host && is_port).then(|| host.to_ascii_lowercase())
}

fn answer(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // Browsers would keep it for ever: HTTPS could never be moved again.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &'static str, hosts: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        asked_host(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn a_host_is_named_once_and_is_one() {
        for (uri, hosts, expected) in [
            ("/", &["a.example"][..], Some("a.example")),
            ("/", &["A.Example:8080"], Some("a.example")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("/", &["192.0.2.1"], Some("192.0.2.1")),
            ("http://b.example/x", &["a.example"], Some("b.example")),
            ("/", &[], None),
            ("/", &[""], None),
            ("/", &["a.example", "b.example"], None),
            ("/", &["a.example", "a.example"], None),
            ("/", &["user@a.example"], None),
            ("/", &["a.example/evil"], None),
            ("/", &["a.example:x"], None),
            ("/", &["a example"], None),
            ("/", &["[::1"], None),
            ("/", &["[v1.x]"], None),
            ("/", &["a%2eexample"], None),
        ] {
            assert_eq!(asked(uri, hosts).as_deref(), expected, "{uri} {hosts:?}");
        }
        let long: &'static str = String::leak("a".repeat(MAX_HOST_BYTES + 1));
        assert_eq!(asked("/", &[long]), None);
    }
}
