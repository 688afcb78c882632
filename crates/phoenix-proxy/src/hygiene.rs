//! What a message loses and gains on its way through a gateway (RFC 9110 section 7.6).
//!
//! Owns the names of fields that belong to one connection, that say where a request came from, and by which
//! applications have been fooled. Does not decide who the client is, and does not write identities: whoever does, has
//! before.

use std::io::Write;
use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRAILER, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// Fields that make a request look like another one: rewritten targets (as IIS, Symfony and others read them), other
/// methods (Symfony, Laravel, Express' method-override), other addresses (as content delivery networks send them; the
/// client's own is in `X-Real-IP`), and Next.js's mark for requests that its own middleware made (CVE-2025-29927). `Proxy`
/// becomes `HTTP_PROXY` on CGI, and so the way that the application's own requests take (httpoxy, CVE-2016-5385).
const MISLEADING: &[&str] = &[
    "x-original-url",
    "x-rewrite-url",
    "x-original-host",
    "x-http-host-override",
    "x-host",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-middleware-subrequest",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "true-client-ip",
    "proxy",
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

/// Fields that tell where a message ends. Spelled otherwise they are nothing here, and may be something behind.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// Most fields that `Connection` may name; the others are taken as not named.
const NOMINATED: usize = 32;

/// Longest text of an address: an IPv6 address that holds an IPv4 address (RFC 4291 section 2.2).
const ADDRESS_BYTES: usize = 45;

/// What a request is told about its way.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client used https.
    pub is_https: bool,
    /// The version of HTTP in which the request came.
    pub version: Version,
    /// The entry of this installation in `Via`.
    pub via: &'a Via,
    /// What else it is told: lines of a head, each with its end, names in lower case.
    pub fields: &'a [u8],
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

    fn entry(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        }
    }
}

impl Way<'_> {
    /// Names each field that a request for this host is given, in lower case, and its value. Whatever a client wrote under
    /// these names must be gone before, but for `via`, to which ours is added.
    pub fn each(&self, host: Option<&[u8]>, mut field: impl FnMut(&'static str, &[u8])) {
        let mut text = [0; ADDRESS_BYTES];
        let client = address(self.client, &mut text);
        field("x-real-ip", client);
        field("x-forwarded-for", client);
        field("x-forwarded-proto", if self.is_https { b"https" } else { b"http" });
        if let Some(host) = host {
            field("x-forwarded-host", host);
        }
        field("via", self.via.entry(self.version).as_bytes());
    }

    /// Adds the same fields, and what else the request is told.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let host = headers.get(HOST).cloned();
        self.each(host.as_ref().map(HeaderValue::as_bytes), |name, value| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        });
        for line in self.fields.split(|byte| *byte == b'\n') {
            if let Some(colon) = line.iter().position(|byte| *byte == b':')
                && let (name, [_, value @ ..]) = line.split_at(colon)
                && let Ok(name) = HeaderName::from_bytes(name)
                && let Ok(mut value) = HeaderValue::from_bytes(value.trim_ascii())
            {
                // Of one caller: nothing for the tables of a connection that many share (RFC 7541 section 7.1.3).
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
    }
}

/// Removes from a request what is not for an application. What an upgrade needs is put back by whoever passes it on, and
/// [`Way`] says what is added.
pub fn request(headers: &mut HeaderMap) {
    let wants_trailers = accepts_trailers(headers);
    remove(headers, |name| is_of_connection(name) || is_claim(name));
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
}

/// Prepares the fields of an answer for a client.
pub fn answer(headers: &mut HeaderMap, version: Version, via: &Via) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112 section 6.3: the length does not count, and must not be passed on.
        headers.remove(CONTENT_LENGTH);
    }
    remove(headers, is_of_connection);
    headers.append(VIA, via.entry(version).clone());
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
            || name == "trailer"
    };
    let names: Vec<HeaderName> = trailers.keys().filter(|name| forbidden(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// Removes these fields, and what `Connection` says belongs to it.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&str) -> bool) {
    let mut names = nominated(headers);
    names.extend(headers.keys().filter(|name| goes(name.as_str())).cloned());
    for name in names {
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

/// Whether a field belongs to one connection (RFC 9110 section 7.6.1), or is answered by us.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" | "expect" | "http2-settings"
    ) || matches!(name, "proxy-connection" | "proxy-authenticate" | "proxy-authorization")
}

/// Whether a field claims to know where a request comes from or what it is really for. Applications on CGI and its heirs
/// read `_`, `.` and others as `-`, so a name counts in all spellings. An identity in its right spelling was written by
/// us.
fn is_claim(name: &str) -> bool {
    // Nearly all names are decided by their first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't' | b'c' | b'p')) {
        return false;
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return name == "forwarded" || name.starts_with("x-forwarded") || MISLEADING.contains(&name);
    }
    let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
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

/// Writes an address, which is shorter than this.
fn address(address: IpAddr, text: &mut [u8; ADDRESS_BYTES]) -> &[u8] {
    let mut rest = text.as_mut_slice();
    let written = match address.to_canonical() {
        IpAddr::V4(address) => {
            let mut at = 0;
            for (number, octet) in address.octets().into_iter().enumerate() {
                if number > 0 {
                    rest[at] = b'.';
                    at += 1;
                }
                for power in [100, 10, 1] {
                    if octet >= power || power == 1 {
                        rest[at] = b'0' + octet / power % 10;
                        at += 1;
                    }
                }
            }
            at
        }
        IpAddr::V6(address) => {
            let _ = write!(rest, "{address}");
            ADDRESS_BYTES - rest.len()
        }
    };
    &text[..written]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_written_as_the_standard_library_does(address in any::<IpAddr>(), octets in any::<[u8; 4]>()) {
            for address in [address, IpAddr::from(octets), IpAddr::V4(octets.into()).to_canonical()] {
                let mut text = [0; ADDRESS_BYTES];
                let expected = address.to_canonical().to_string();
                prop_assert_eq!(super::address(address, &mut text), expected.as_bytes());
            }
        }
    }
}
