//! What a message loses and gains on its way through a gateway (RFC 9110 section 7.6).
//!
//! Owns the names of fields that belong to one connection, that say where a request came from, and by which
//! applications have been fooled. Does not decide who the client is, and does not write identities: whoever does, has
//! before.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields that make a request look like another one: rewritten targets (as IIS, Symfony and others read them), and
/// Next.js's mark for requests that its own middleware made (CVE-2025-29927).
const MISLEADING: &[&str] = &[
    "x-original-url",
    "x-rewrite-url",
    "x-original-host",
    "x-http-host-override",
    "x-host",
    "x-middleware-subrequest",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
];

/// Beginnings of the names of fields that only we write.
const PREFIXES: &[&str] = &["x-forwarded", "x-phoenix-"];

/// End-to-end fields that `Connection` cannot name: without them a request means something else, or skips a check.
const ESSENTIAL: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "set-cookie",
    "cache-control",
    "origin",
    "referer",
    "range",
    "via",
    "location",
    "vary",
    "www-authenticate",
    "content-security-policy",
    "strict-transport-security",
    "x-real-ip",
    "x-request-id",
    "x-csrf-token",
];
/// Beginnings of such fields.
const ESSENTIAL_PREFIXES: &[&str] = &["sec-", "if-", "access-control-", "x-forwarded", "x-phoenix-"];

/// Fields that tell where a message ends. Spelled with `_` they are nothing here, and may be something behind.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// Most fields that `Connection` may name; the others are taken as not named.
const NOMINATED: usize = 32;

/// What a request is told about its way.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client used https.
    pub is_https: bool,
    /// The entry of this installation in `Via`.
    pub via: &'a Via,
}

/// The entry of an installation in `Via`, for each version in which a message may have come.
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: String,
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// The entry with this name; `None` if it is no token (RFC 9110 section 5.6.2).
    #[must_use]
    pub fn new(pseudonym: &str) -> Option<Self> {
        let is_token = !pseudonym.is_empty() && HeaderName::try_from(pseudonym).is_ok();
        let entry = |version: &str| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        let (http10, http11, http2) = (entry("1.0")?, entry("1.1")?, entry("2.0")?);
        is_token.then(|| Self { pseudonym: pseudonym.to_owned(), http10, http11, http2 })
    }

    /// Whether a message has come through here before.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut entries =
            headers.get_all(VIA).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        entries.any(|entry| {
            let mut words =
                entry.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
            words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(self.pseudonym.as_bytes()))
        })
    }

    fn entry(&self, version: Version) -> HeaderValue {
        match version {
            Version::HTTP_10 => self.http10.clone(),
            Version::HTTP_2 => self.http2.clone(),
            _ => self.http11.clone(),
        }
    }
}

/// Prepares the fields of a request for an application. What an upgrade needs is put back by whoever passes it on.
pub fn request(headers: &mut HeaderMap, version: Version, way: Way<'_>) {
    let wants_trailers = accepts_trailers(headers);
    remove_connection_fields(headers);
    headers.remove(EXPECT);
    headers.remove(HTTP2_SETTINGS);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    remove_claims(headers);
    join_cookies(headers);
    let client = address(way.client);
    headers.insert(X_REAL_IP, client.clone());
    headers.insert(X_FORWARDED_FOR, client);
    let scheme = if way.is_https { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.append(VIA, way.via.entry(version));
}

/// Prepares the fields of an answer for a client.
pub fn answer(headers: &mut HeaderMap, version: Version, via: &Via) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112 section 6.3: the length does not count, and must not be passed on.
        headers.remove(CONTENT_LENGTH);
    }
    remove_connection_fields(headers);
    headers.append(VIA, via.entry(version));
}

/// Trailer fields that may be passed on, or `None` if none is left: framing, routing and trust are matters of the head
/// (RFC 9110 section 6.5.1).
pub(crate) fn trailers(mut trailers: HeaderMap) -> Option<HeaderMap> {
    let forbidden = |name: &HeaderName| {
        let name = name.as_str();
        is_claim(name)
            || is_identity(name)
            || is_essential(name)
            || is_of_connection(name)
            || name == "expect"
    };
    let names: Vec<HeaderName> = trailers.keys().filter(|name| forbidden(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// What belongs to one connection, and what `Connection` says belongs to it.
fn remove_connection_fields(headers: &mut HeaderMap) {
    let nominated = nominated(headers);
    for name in nominated {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// The fields that `Connection` names and that may be removed for it.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let options =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = options.map(<[u8]>::trim_ascii).filter(|option| {
        let usual: [&[u8]; 4] = [b"", b"close", b"keep-alive", b"upgrade"];
        !usual.iter().any(|usual| option.eq_ignore_ascii_case(usual))
    });
    let names = names.take(NOMINATED).filter_map(|name| HeaderName::from_bytes(name).ok());
    names.filter(|name| !is_essential(name.as_str()) && *name != TRAILER).collect()
}

fn is_essential(name: &str) -> bool {
    ESSENTIAL.contains(&name) || ESSENTIAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_of_connection(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
}

/// Removes what claims to know where a request comes from or what it is really for.
fn remove_claims(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Applications on CGI and its heirs read `_` and `-` as one, so a name counts in both spellings. An identity in its
/// right spelling was written by us.
fn is_claim(name: &str) -> bool {
    // Nearly all names are decided by their first letter.
    match name.as_bytes().first() {
        Some(b'x' | b'f' | b't' | b'c') => {}
        _ => return false,
    }
    if !name.contains('_') {
        return name == "forwarded" || name.starts_with("x-forwarded") || MISLEADING.contains(&name);
    }
    let name = name.replace('_', "-");
    name == "forwarded"
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || MISLEADING.contains(&name.as_str())
        || FRAMING.contains(&name.as_str())
}

fn is_identity(name: &str) -> bool {
    name.starts_with("x-phoenix-")
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let mut codings =
        headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/2 may split a cookie for its compression; elsewhere it is one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(COOKIE, joined);
    }
}

fn address(address: IpAddr) -> HeaderValue {
    let text = address.to_canonical().to_string();
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("an address is visible ASCII")
}
