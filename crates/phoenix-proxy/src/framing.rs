//! Whether the frame of a request is free of doubt: one length, one host, one meaning (RFC 9110, RFC 9112, RFC 9113).
//!
//! What hyper's server refuses by itself (obs-fold, lengths that differ), and what it reads in one way that is written
//! anew for the application (a bare line feed between fields, a length beside chunks, a length said twice), is not repeated
//! here; this is what it lets pass and another server could read otherwise.

use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request;
use http::{HeaderMap, HeaderValue, Method, Version};
use thiserror::Error;

/// Why a request is not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FramingError {
    /// `Transfer-Encoding` is not `chunked` alone, or stands in HTTP/1.0, or beside a length where the server in front has
    /// left it (RFC 9112 section 6.1). 400.
    #[error("Transfer-Encoding must be chunked, alone, and without Content-Length")]
    TransferEncoding,
    /// More than one `Content-Length`, or one that is not made of digits alone (RFC 9110 section 8.6). 400.
    #[error("Content-Length must be one number")]
    ContentLength,
    /// No `Host`, more than one, or none that is the name of a host or an address (RFC 9112 section 3.2). 400.
    #[error("Host must be there once and be a host")]
    Host,
    /// `CONNECT` and `TRACE` are not for gateways, and a method with small letters is another one here, and the same for
    /// many applications (methods are case-sensitive: RFC 9110 section 9.1). 405.
    #[error("this method is not passed on")]
    Method,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1). 417.
    #[error("the expectation cannot be met")]
    Expectation,
}

/// Longest name of a host in bytes (RFC 1035 section 2.3.4), with all its dots.
const NAME_BYTES: usize = 255;

/// Refuses what could be read in two ways, and lets the target name the host where it does (RFC 9112 section 3.2.2).
///
/// # Errors
/// What is in doubt.
pub fn check_framing(parts: &mut request::Parts) -> Result<(), FramingError> {
    let is_disguised = parts.method.as_str().bytes().any(|letter| letter.is_ascii_lowercase());
    if is_disguised || parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(FramingError::Method);
    }
    lengths(&parts.headers, parts.version)?;
    host(parts)?;
    let mut expectations = parts.headers.get_all(EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(FramingError::Expectation);
    }
    Ok(())
}

fn lengths(headers: &HeaderMap, version: Version) -> Result<(), FramingError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(FramingError::ContentLength);
    }
    if let Some(length) = length {
        let digits = length.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::ContentLength);
        }
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if !is_chunked || version != Version::HTTP_11 || length.is_some() {
        return Err(FramingError::TransferEncoding);
    }
    Ok(())
}

fn host(parts: &mut request::Parts) -> Result<(), FramingError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(FramingError::Host);
    }
    if let Some(host) = host {
        authority(host.as_bytes())?;
    }
    let Some(target) = parts.uri.authority() else {
        // Only HTTP/1.0 knows requests without a host.
        return if host.is_some() || parts.version < Version::HTTP_11 {
            Ok(())
        } else {
            Err(FramingError::Host)
        };
    };
    authority(target.as_str().as_bytes())?;
    if let Some(host) = host
        && parts.version >= Version::HTTP_2
        && !host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes())
    {
        // RFC 9113 section 8.3.1.
        return Err(FramingError::Host);
    }
    if host.is_none_or(|host| host.as_bytes() != target.as_str().as_bytes()) {
        let value = HeaderValue::from_str(target.as_str()).map_err(|_| FramingError::Host)?;
        parts.headers.insert(HOST, value);
    }
    Ok(())
}

/// A name as DNS has them (RFC 1035 section 2.3.1, with the `_` that many hosts have), an IPv4 address or an IPv6 address
/// in brackets, and perhaps a port. URIs allow more (RFC 3986 section 3.2.2), but applications cut it: of
/// `admin.example.com,public` many take what is before the comma, so that they answer for another host than the one whose
/// rules counted. Users and passwords stand in addresses that people type, not in messages (RFC 9110 section 4.2.4).
///
/// The same as `phoenix_http::gateway::is_host`, which knows what other proxies ask about.
fn authority(text: &[u8]) -> Result<(), FramingError> {
    let (is_host, port) = if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']').ok_or(FramingError::Host)?;
        let (address, port) = rest.split_at(end);
        (is_ipv6(address), port.strip_prefix(b"]").unwrap_or_default())
    } else {
        let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let (name, port) = text.split_at(end);
        (is_name(name), port)
    };
    let is_port = port.is_empty() || port.strip_prefix(b":").is_some_and(is_port);
    if is_host && is_port { Ok(()) } else { Err(FramingError::Host) }
}

/// Labels with one dot between them, and perhaps one at the end. One pass: this is asked for every request.
fn is_name(name: &[u8]) -> bool {
    let mut is_after_dot = true;
    let is_made_of_labels = name.iter().all(|byte| {
        let was_after_dot = std::mem::replace(&mut is_after_dot, *byte == b'.');
        if is_after_dot { !was_after_dot } else { byte.is_ascii_alphanumeric() || b"-_".contains(byte) }
    });
    is_made_of_labels && (1..=NAME_BYTES).contains(&name.len())
}

fn is_ipv6(address: &[u8]) -> bool {
    str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_port(digits: &[u8]) -> bool {
    let is_short = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = || digits.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit & 0x0f));
    is_short && u16::try_from(value()).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTS: [&str; 12] = [
        "a",
        "App.Example.com",
        "app.example.com.",
        "my_app-1.internal:8080",
        "xn--bcher-kva.example:0",
        "_dmarc.example.com",
        "localhost:65535",
        "192.0.2.1",
        "192.0.2.1:80",
        "[::1]",
        "[2001:DB8::1]:443",
        "[::ffff:192.0.2.1]",
    ];
    const NONE: [&str; 34] = [
        "",
        ".",
        "..",
        ":80",
        "a:",
        "a:b",
        "a:+1",
        "a:65536",
        "a:000080",
        "a:80:80",
        "a:80,b",
        "admin.example.com,pub",
        "pub,admin.example.com",
        "admin.example.com, pub",
        ",",
        "admin.example.com..",
        ".admin.example.com",
        "admin..example.com",
        "user@admin.example.com",
        "admin.example.com;pub",
        "admin.example.com!",
        "admin.example.com$",
        "admin.example.com(x)",
        "admin.example.com*",
        "admin.example.com=1",
        "admin.example.com%2cpub",
        "admin.example.com/x",
        "admin.example.com#x",
        "b\u{fc}cher.example",
        "::1",
        "[::1",
        "[::1]80",
        "[fe80::1%25eth0]",
        "[v1.a]",
    ];

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in HOSTS {
            assert_eq!(authority(host.as_bytes()), Ok(()), "{host}");
        }
        for host in NONE {
            assert_eq!(authority(host.as_bytes()), Err(FramingError::Host), "{host}");
        }
        let name = |length: usize| "a.".repeat(length / 2) + &"b".repeat(length % 2);
        for (length, is_host) in [(254, true), (255, true), (256, false), (10_000, false)] {
            assert_eq!(authority(name(length).as_bytes()).is_ok(), is_host, "{length}");
            assert_eq!(
                authority((name(length) + ":8080").as_bytes()).is_ok(),
                is_host,
                "{length} and a port"
            );
        }
    }

    #[test]
    fn the_target_and_host_are_both_looked_at() {
        let checked = |version: Version, target: &str, host: Option<&str>| {
            let request = http::Request::builder().version(version).uri(target);
            let request = host.iter().fold(request, |request, host| request.header(HOST, *host));
            check_framing(&mut request.body(()).expect("a request").into_parts().0)
        };
        let bad = Err(FramingError::Host);
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(checked(version, "/", Some("admin.example.com,pub")), bad, "{version:?}");
            assert_eq!(checked(version, "http://admin.example.com,pub/", None), bad, "{version:?}");
            assert_eq!(checked(version, "http://a/", Some("a,b")), bad, "{version:?}");
            assert_eq!(checked(version, "http://a/", Some("a")), Ok(()), "{version:?}");
        }
    }

    /// As applications and the proxies before them take a host apart.
    fn readings(host: &str) -> [&str; 4] {
        let before = host.split(',').next().unwrap_or_default().trim();
        let last = host.rsplit(',').next().unwrap_or_default().trim();
        let after_user = host.rsplit('@').next().unwrap_or_default();
        let alone = host.split([';', ' ', '/']).next().unwrap_or_default();
        [before, last, after_user, alone]
    }

    /// The same without the port and the one dot that names may end in.
    fn bare(host: &str) -> &str {
        let end = host.find(']').map(|end| end + 1).or_else(|| host.find(':')).unwrap_or(host.len());
        let name = &host[..end];
        name.strip_suffix('.').unwrap_or(name)
    }

    proptest! {
        #[test]
        fn what_passes_is_read_alike_by_all(
            text in "([a-zA-Z0-9._:,;@ -]{0,12}|[a-c.,]{1,8}(:[0-9]{0,7})?|\\[[0-9a-f:.,]{1,8}\\](:[0-9]{1,6})?|[ -~]{0,9})"
        ) {
            if authority(text.as_bytes()).is_ok() {
                for reading in readings(&text) {
                    prop_assert_eq!(reading, text.as_str());
                }
                let bare = bare(&text);
                prop_assert_eq!(bare, bare.trim_matches('.'), "who drops more dots than one drops no more");
                prop_assert!(!bare.is_empty() && !bare.contains(".."));
                prop_assert!(text.parse::<http::uri::Authority>().is_ok());
            }
        }

        #[test]
        fn every_name_passes(
            text in "[a-zA-Z0-9_-]{1,5}(\\.[a-zA-Z0-9_-]{1,5}){0,4}\\.?(:[0-9]{1,4})?"
        ) {
            prop_assert_eq!(authority(text.as_bytes()), Ok(()));
        }
    }
}
