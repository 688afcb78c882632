//! The port of plain HTTP beside HTTPS: every request is sent on to https, and nothing else is served.

use std::borrow::Cow;
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
const NO_HOST: &str = "The request names no host, so it cannot be sent on to HTTPS.\n";
const OTHER_HOST: &str = "This server has no certificate for the host that the request names.\n";
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

    /// 308 to the same path at the host that was asked for; 400 when that is no host, and 421 when it is somebody
    /// else's.
    pub(super) fn answer(&self, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
        let Some(asked) = asked_host(uri, headers) else { return answer(StatusCode::BAD_REQUEST, NO_HOST) };
        let Some(host) = self.host(&asked) else {
            return answer(StatusCode::MISDIRECTED_REQUEST, OTHER_HOST);
        };
        let Ok(location) = HeaderValue::from_str(&self.location(host, uri)) else {
            return answer(StatusCode::BAD_REQUEST, NO_HOST);
        };
        let mut response = answer(StatusCode::PERMANENT_REDIRECT, "This server speaks HTTPS.\n");
        response.headers_mut().insert(LOCATION, location);
        response
    }

    /// Where a client that asks for this host is sent. A host that no certificate has is answered with the public one:
    /// the client could not go there. Without that it is sent nowhere, because the host may be anybody's, and who keeps
    /// answers on the way would send others there.
    fn host<'a>(&'a self, asked: &'a str) -> Option<&'a str> {
        if self.tls.covers(&name_in_certificate(asked)) { Some(asked) } else { self.public_host.as_deref() }
    }

    fn location(&self, host: &str, uri: &Uri) -> String {
        let port = if self.port == HTTPS_PORT { String::new() } else { format!(":{}", self.port) };
        // `OPTIONS *` asks about the whole server.
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path } else { "/" };
        format!("https://{host}{port}{path}")
    }
}

/// A host as a certificate has it: addresses without brackets and in one form, names without the dot of the root.
fn name_in_certificate(host: &str) -> Cow<'_, str> {
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match in_brackets.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(address) => Cow::Owned(address.to_string()),
        None => Cow::Borrowed(host.strip_suffix('.').unwrap_or(host)),
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
    fn a_host_is_looked_up_as_certificates_have_it() {
        for (host, expected) in [
            ("a.example", "a.example"),
            ("a.example.", "a.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8:0::1]", "2001:db8::1"),
            ("[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
        ] {
            assert_eq!(name_in_certificate(host), expected);
        }
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
