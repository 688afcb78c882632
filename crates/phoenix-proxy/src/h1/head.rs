//! Heads of HTTP/1.1 messages: a request's is written, an answer's is read, and with it where the answer ends
//! (RFC 9112 section 6.3).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, response};
use hyper::ext::ReasonPhrase;
use thiserror::Error;

use crate::outbound::Outbound;

/// Largest head of an answer, and largest set of trailers, in bytes.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// Most fields of an answer's head, or of its trailers.
pub(crate) const MAX_FIELDS: usize = 100;

/// An answer that is no HTTP, or whose end is in doubt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the answer is no valid HTTP")]
pub struct Garbage;

/// Where the body of an answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// After so many bytes.
    Exact(u64),
    /// Where its chunks say.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Status and fields.
    pub parts: response::Parts,
    /// Where the body that follows ends.
    pub length: Length,
}

/// Where a field stands in the bytes of a head.
pub(super) struct Span {
    name: (usize, usize),
    value: (usize, usize),
}

/// Writes the head of a request, in origin form. `is_chunked` is whether its body has no length of its own.
pub(super) fn write(out: &mut BytesMut, request: &Outbound<'_>, host: &HeaderValue, is_chunked: bool) {
    let mut line = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    line(&[request.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: "]);
    line(&[host.as_bytes(), b"\r\n"]);
    for (name, value) in &request.headers {
        if name != HOST {
            line(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    if let Some(way) = &request.way {
        let asked = request.headers.get(HOST).map(HeaderValue::as_bytes);
        way.each(asked, |name, value| line(&[name.as_bytes(), b": ", value, b"\r\n"]));
        line(&[way.fields]);
    }
    if request.headers.contains_key(TE) && !request.headers.contains_key(CONNECTION) {
        // RFC 9110 section 10.1.4. An upgrade has no trailers.
        line(&[b"connection: TE\r\n"]);
    }
    // Some servers refuse a POST without one (RFC 9110 section 8.6); in HTTP/2 none is needed.
    if !is_chunked && expects_body(&request.method) && !request.headers.contains_key(CONTENT_LENGTH) {
        line(&[b"content-length: 0\r\n"]);
    }
    line(&[if is_chunked { b"transfer-encoding: chunked\r\n\r\n".as_slice() } else { b"\r\n" }]);
}

/// Whether requests with this method have a body with a meaning, so that there should be a length even when it is empty.
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Reads the head of the answer to a request with this method off the input, and whether the connection can be used again
/// after the answer; `None` while it is not complete. Interim answers are skipped (RFC 9110 section 15.2), but for 101.
///
/// # Errors
/// When it is none, is larger than 64 KiB, or leaves in doubt where the answer ends.
pub fn read(input: &mut BytesMut, method: &Method) -> Result<Option<(Head, bool)>, Garbage> {
    loop {
        let Some((head, is_kept)) = read_one(input, method)? else {
            return if input.len() >= HEAD_BYTES { Err(Garbage) } else { Ok(None) };
        };
        let status = head.parts.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some((head, is_kept)));
        }
    }
}

fn read_one(input: &mut BytesMut, method: &Method) -> Result<Option<(Head, bool)>, Garbage> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, input, &mut fields);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(_)) | Err(_) => return Err(Garbage),
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Garbage)?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let reason = reason(status, answer.reason.unwrap_or_default());
    let spans = spans(input, answer.headers);
    let bytes = input.split_to(length).freeze();
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    parts.version = version;
    parts.headers = self::fields(&bytes, &spans).ok_or(Garbage)?;
    if let Some(reason) = reason {
        parts.extensions.insert(reason);
    }
    let (length, is_kept) = end(&mut parts, method)?;
    Ok(Some((Head { parts, length }, is_kept)))
}

/// What the status line says besides the number, if that is not the usual.
fn reason(status: StatusCode, text: &str) -> Option<ReasonPhrase> {
    let is_usual = status.canonical_reason() == Some(text);
    (!is_usual).then(|| ReasonPhrase::try_from(text.as_bytes()).ok()).flatten()
}

/// Where these fields stand in the bytes that they were read from.
pub(super) fn spans(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Vec<Span> {
    let start = bytes.as_ptr() as usize;
    let span = |part: &[u8]| {
        let at = (part.as_ptr() as usize).saturating_sub(start);
        (at, at + part.len())
    };
    fields.iter().map(|field| Span { name: span(field.name.as_bytes()), value: span(field.value) }).collect()
}

/// The fields that stand there. Their values are parts of the bytes.
pub(super) fn fields(bytes: &Bytes, spans: &[Span]) -> Option<HeaderMap> {
    // Room for what is added on the way to the client.
    let mut headers = HeaderMap::with_capacity(spans.len() + 10);
    for Span { name, value } in spans {
        let name = HeaderName::from_bytes(bytes.get(name.0..name.1)?).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(value.0..value.1)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

/// Where an answer ends, and whether its connection can be used again then.
fn end(parts: &mut response::Parts, method: &Method) -> Result<(Length, bool), Garbage> {
    let headers = &mut parts.headers;
    let is_chunked = is_chunked(headers, parts.version)?;
    let length = one_length(headers)?;
    let is_kept = is_kept(headers, parts.version);
    let status = parts.status;
    let has_no_body = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(match (has_no_body, is_chunked, length) {
        (true, _, _) => (Length::Exact(0), is_kept),
        // Two lengths: the chunks count, and nothing else is to be read from this connection.
        (false, true, length) => (Length::Chunked, is_kept && length.is_none()),
        (false, false, Some(length)) => (Length::Exact(length), is_kept),
        (false, false, None) => (Length::UntilClose, false),
    })
}

/// Any coding but `chunked` alone leaves the end in doubt.
fn is_chunked(headers: &HeaderMap, version: Version) -> Result<bool, Garbage> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_alone = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if is_alone && version == Version::HTTP_11 { Ok(true) } else { Err(Garbage) }
}

/// The length. One that is said several times, and is the same each time, is one (RFC 9110 section 8.6).
fn one_length(headers: &mut HeaderMap) -> Result<Option<u64>, Garbage> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if let Some(length) = digits(first.as_bytes())
        && values.next().is_none()
    {
        return Ok(Some(length));
    }
    let said =
        headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut lengths = said.map(|length| digits(length.trim_ascii()).ok_or(Garbage));
    let length = lengths.next().ok_or(Garbage)??;
    for other in lengths {
        if other? != length {
            return Err(Garbage);
        }
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(Some(length))
}

fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// Whether the server goes on after this answer (RFC 9112 section 9.3).
fn is_kept(headers: &HeaderMap, version: Version) -> bool {
    let options = || {
        let lines = headers.get_all(CONNECTION).iter();
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    };
    let says = |what: &[u8]| options().any(|option| option.eq_ignore_ascii_case(what));
    !says(b"close") && (version == Version::HTTP_11 || says(b"keep-alive"))
}
