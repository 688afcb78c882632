//! Whether a request asks for an upgrade that can be passed on, and whether the server agreed to what was asked
//! (RFC 9110 section 7.8, RFC 6455 section 4).

use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::Body;

use crate::failure::Failure;

/// The protocol that a request asks for, if it can be passed on: HTTP itself, and TLS, are matters of one connection. A
/// request for them is answered as if it had not asked.
pub(crate) fn wanted<B: Body>(request: &Request<B>) -> Result<Option<HeaderValue>, Failure> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 || !headers.contains_key(UPGRADE) || !names_upgrade(headers) {
        return Ok(None);
    }
    let mut wanted = protocols(headers).filter(|protocol| !is_of_connection(protocol));
    let Some(protocol) = wanted.next() else { return Ok(None) };
    if wanted.next().is_some() || !request.body().is_end_stream() {
        // A choice could not be matched with the answer, and a body would have to be over before the tunnel begins.
        return Err(Failure::BadUpgrade);
    }
    if protocol.eq_ignore_ascii_case(b"websocket") {
        let one = |name| headers.get_all(name).iter().count() == 1;
        if *request.method() != Method::GET || !one(SEC_WEBSOCKET_KEY) || !one(SEC_WEBSOCKET_VERSION) {
            return Err(Failure::BadUpgrade);
        }
    }
    HeaderValue::from_bytes(protocol).map(Some).map_err(|_| Failure::BadUpgrade)
}

/// Whether the server agreed to the protocol that was asked for, and to nothing else.
pub(crate) fn is_agreed(answer: &HeaderMap, wanted: &HeaderValue) -> bool {
    let mut agreed = protocols(answer);
    agreed.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(wanted.as_bytes()))
        && agreed.next().is_none()
}

/// Puts back what asks for, or agrees to, an upgrade.
pub(crate) fn name(headers: &mut HeaderMap, protocol: &HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol.clone());
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    list(headers, CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list(headers, UPGRADE)
}

fn list(headers: &HeaderMap, name: http::HeaderName) -> impl Iterator<Item = &[u8]> {
    let items =
        headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

fn is_of_connection(protocol: &[u8]) -> bool {
    let begins =
        |prefix: &[u8]| protocol.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    protocol.eq_ignore_ascii_case(b"h2c") || begins(b"h2") || begins(b"http/") || begins(b"tls/")
}
