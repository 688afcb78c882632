//! Whether the frame of a request is free of doubt: one length, one host, one meaning (RFC 9110, RFC 9112, RFC 9113).
//!
//! What hyper's server refuses by itself (obs-fold, lengths that differ), and what it reads in one way that is written
//! anew for the application (a bare line feed between fields), is not repeated here; this is what it lets pass and another
//! server could read otherwise.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version};
use thiserror::Error;

/// Why a request is not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FramingError {
    /// `Transfer-Encoding` is not `chunked` alone, or stands in HTTP/1.0, or beside a length (RFC 9112 section 6.1). 400.
    #[error("Transfer-Encoding must be chunked, alone, and without Content-Length")]
    TransferEncoding,
    /// More than one `Content-Length`, or one that is not made of digits alone (RFC 9110 section 8.6). 400.
    #[error("Content-Length must be one number")]
    ContentLength,
    /// No `Host`, more than one, or none that is a host (RFC 9112 section 3.2). 400.
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

/// Longest `Host` in bytes: a name has at most 253 (RFC 1035), and a port follows.
const HOST_BYTES: usize = 260;

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

fn authority(text: &[u8]) -> Result<(), FramingError> {
    // Users and passwords stand in addresses that people type, not in messages (RFC 9110 section 4.2.4).
    if text.is_empty() || text.len() > HOST_BYTES || text.contains(&b'@') {
        return Err(FramingError::Host);
    }
    if is_plain(text) { Ok(()) } else { any_authority(text) }
}

fn any_authority(text: &[u8]) -> Result<(), FramingError> {
    let authority = Authority::try_from(text).map_err(|_| FramingError::Host)?;
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let is_port = port.is_empty() || (port.len() > 1 && authority.port_u16().is_some());
    if authority.host().is_empty() || !is_port { Err(FramingError::Host) } else { Ok(()) }
}

/// Whether it is a name or an IPv4 address, and perhaps a port, without doubt: what nearly all hosts are.
fn is_plain(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    let is_name =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte));
    let is_number = |digits: &[u8]| {
        let is_short = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        let value = || digits.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit & 0x0f));
        is_short && u16::try_from(value()).is_ok()
    };
    is_name && port.strip_prefix(b":").is_none_or(is_number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_plain_is_an_authority(text in "([a-zA-Z0-9.:-]{0,12}|[a-z.]{1,6}:[0-9]{0,7})") {
            if is_plain(text.as_bytes()) {
                prop_assert_eq!(any_authority(text.as_bytes()), Ok(()));
            }
        }
    }
}
