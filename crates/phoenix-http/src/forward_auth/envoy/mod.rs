//! Envoy's external authorization over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Owns the call and its translation. One message each way, so the framing of gRPC over HTTP/2
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>) is done here: five bytes before the message, and the
//! status in trailers.

mod count;
mod messages;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::Incoming;
use prost::Message;

use self::messages::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpStatus, OkHttpResponse, Rpc,
    Verdict,
};
use super::fields::MAX_FIELDS;
use super::{BadHeader, Described};
use crate::answer::Trace;
use crate::body::Body;
use crate::client_ip::Peer;
use crate::gateway::{IDENTITY_HEADERS, reads_as_identity};
use crate::problem::{Kind, Problem};
use crate::stack::Shared;

/// Path of the call.
pub(super) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Longest message of a request in bytes: the largest header of a request that Envoy takes by default (60 KiB) twice.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// Most fields of HTTP/2 that are no header fields (RFC 9113 section 8.3.1, RFC 8441): `:method`, `:scheme`, `:authority`,
/// `:path`, `:protocol`.
const PSEUDO_FIELDS: usize = 5;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Why a call has no answer. Envoy refuses the request then, unless it is told to fail open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallFailure {
    /// `INVALID_ARGUMENT`.
    Malformed,
    /// `RESOURCE_EXHAUSTED`.
    TooLarge,
    /// `UNIMPLEMENTED`.
    Compressed,
    /// `UNIMPLEMENTED`.
    Off,
    /// `DEADLINE_EXCEEDED`.
    Late,
    /// More header fields than are read. The client's fault, so the answer is one for it.
    Fields,
}

impl CallFailure {
    const fn code(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (3, "the message is no CheckRequest of an HTTP request"),
            Self::TooLarge => (8, "the message is larger than 128 KiB"),
            Self::Compressed => (12, "compressed messages are not read"),
            Self::Off => (12, "nobody may ask here: PHOENIX_FORWARD_AUTH"),
            Self::Late => (4, "the message did not arrive in time"),
            Self::Fields => (3, "the request has too many header fields"),
        }
    }
}

impl Shared {
    /// Answers the call. Of one who is turned away nothing is read.
    pub(super) async fn answer_envoy(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        turned_away: Option<Problem>,
        trace: &mut Trace,
    ) -> Response<Body> {
        match (is_no_call(&request), turned_away) {
            (None, None) => {}
            (None, Some(why)) if why.kind() == Kind::NotFound => return failed(CallFailure::Off),
            (None, Some(why)) => return answered(&response_of(why.rendered(), Vec::new())),
            (Some(_), Some(problem)) | (Some(problem), None) => {
                return problem.rendered().map(crate::body::full);
            }
        }
        let message = match read(request.into_body(), self.parts.settings.body_timeout).await {
            Ok(message) => message,
            Err(CallFailure::Fields) => {
                return answered(&response_of(Problem::from(BadHeader::TooMany).rendered(), Vec::new()));
            }
            Err(failure) => return failed(failure),
        };
        let Some(described) = message.described() else { return failed(CallFailure::Malformed) };
        let lookalikes = described.headers.as_ref().map(lookalikes).unwrap_or_default();
        let verdict = self.judge_described(peer, described, trace).await;
        answered(&response_of(verdict, lookalikes))
    }
}

fn is_no_call(request: &Request<Incoming>) -> Option<Problem> {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if request.version() != Version::HTTP_2 {
        return Some(Problem::new(Kind::MalformedRequest).detail("gRPC needs HTTP/2."));
    }
    if request.method() != Method::POST {
        return Some(Kind::MethodNotAllowed.into());
    }
    (!kind.starts_with(b"application/grpc"))
        .then(|| Problem::new(Kind::UnsupportedMediaType).detail("This path takes calls of gRPC."))
}

/// The message of a call.
#[derive(Clone, Debug)]
pub struct EnvoyCall(CheckRequest);

impl EnvoyCall {
    /// Reads the one message of a call's body.
    ///
    /// # Errors
    /// When the body is something else, or the message has too many fields.
    pub fn read(body: &[u8]) -> Result<Self, CallFailure> {
        message_in(body).map(Self)
    }

    /// The request that is asked about; `None` if it is none of HTTP.
    #[must_use]
    pub fn described(&self) -> Option<Described<'_>> {
        let http = self.0.http()?;
        Some(Described {
            method: &http.method,
            target: &http.path,
            host: Some(&*http.host).filter(|host| !host.is_empty()),
            is_https: http.scheme == b"https"[..],
            source: self.0.source(),
            headers: http.header(),
        })
    }
}

async fn read(body: Incoming, timeout: Duration) -> Result<EnvoyCall, CallFailure> {
    let whole = Limited::new(body, PREFIX_BYTES + MAX_MESSAGE_BYTES).collect();
    let whole = match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(CallFailure::TooLarge);
        }
        Ok(Err(_broken_off)) => return Err(CallFailure::Malformed),
        Err(_elapsed) => return Err(CallFailure::Late),
    };
    EnvoyCall::read(&whole)
}

/// The one message of a body.
fn message_in(body: &[u8]) -> Result<CheckRequest, CallFailure> {
    let Some((&[compressed, a, b, c, d], message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(CallFailure::Malformed);
    };
    if compressed != 0 {
        return Err(CallFailure::Compressed);
    }
    if usize::try_from(u32::from_be_bytes([a, b, c, d])) != Ok(message.len()) {
        return Err(CallFailure::Malformed);
    }
    if count::header_fields(message).ok_or(CallFailure::Malformed)? > MAX_FIELDS + PSEUDO_FIELDS {
        return Err(CallFailure::Fields);
    }
    CheckRequest::decode(message).map_err(|_| CallFailure::Malformed)
}

/// Headers that an application may take for one about the caller: some read whatever is no letter or digit as `-`.
fn lookalikes(headers: &HeaderMap) -> Vec<String> {
    headers.keys().filter(|name| reads_as_identity(name.as_str())).map(ToString::to_string).collect()
}

/// The verdict in Envoy's words. Whatever of the client's speaks about the caller is removed, except what is set anew:
/// Envoy removes after it has set.
fn response_of(verdict: Response<Bytes>, lookalikes: Vec<String>) -> CheckResponse {
    let (head, body) = verdict.into_parts();
    let options = |keep: fn(&HeaderName) -> bool| {
        let kept = head.headers.iter().filter(|(name, _)| keep(name));
        kept.map(|(name, value)| HeaderValueOption::overwriting(name, value)).collect::<Vec<_>>()
    };
    if head.status == StatusCode::OK {
        let mut headers_to_remove: Vec<String> =
            IDENTITY_HEADERS.iter().map(ToString::to_string).chain(lookalikes).collect();
        headers_to_remove.retain(|name| !head.headers.contains_key(name));
        headers_to_remove.sort_unstable();
        headers_to_remove.dedup();
        let headers = options(|name| IDENTITY_HEADERS.contains(name));
        let ok = Verdict::Ok(OkHttpResponse { headers, headers_to_remove });
        return CheckResponse { status: Some(Rpc { code: 0 }), verdict: Some(ok) };
    }
    // PERMISSION_DENIED. The status of HTTP is beside it.
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(head.status.as_u16()) }),
        headers: options(|name| name != CONTENT_LENGTH),
        body,
    };
    CheckResponse { status: Some(Rpc { code: 7 }), verdict: Some(Verdict::Denied(denied)) }
}

fn answered(message: &CheckResponse) -> Response<Body> {
    let length = message.encoded_len();
    let mut data = Vec::with_capacity(PREFIX_BYTES + length);
    data.push(0);
    data.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(&mut data);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from(data))), Ok(Frame::trailers(trailers))];
    let body = axum::body::Body::new(StreamBody::new(stream::iter(frames)));
    head(Response::new(Body::Routed(body)))
}

/// Only a head, with the status in it.
fn failed(failure: CallFailure) -> Response<Body> {
    let (code, message) = failure.code();
    let mut response = head(Response::new(crate::body::full(Bytes::new())));
    response.headers_mut().insert(GRPC_STATUS, HeaderValue::from(code));
    response.headers_mut().insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

fn head(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_holds_one_whole_message() {
        let framed = |flag: u8, length: u32, message: &[u8]| {
            let mut body = vec![flag];
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(message);
            message_in(&body).map(|message| message.http().is_some())
        };
        assert_eq!(framed(0, 0, b""), Ok(false));
        assert_eq!(framed(1, 0, b""), Err(CallFailure::Compressed));
        for (length, message) in [(1, &b""[..]), (0, b"x"), (u32::MAX, b""), (2, b"\xff\xff"), (1, b"\x0a")] {
            assert_eq!(framed(0, length, message), Err(CallFailure::Malformed), "{length} {message:?}");
        }
        assert_eq!(message_in(b"\0\0\0\0").map(|_| ()), Err(CallFailure::Malformed));
    }

    #[test]
    fn a_message_that_would_grow_is_not_decoded() {
        let field = |number: u8, content: &[u8]| {
            let length = content.len();
            let low = u8::try_from(length & 0x7f).expect("seven bits") | 0x80;
            let high = u8::try_from(length >> 7).expect("a short field");
            [&[number << 3 | 2, low, high][..], content].concat()
        };
        let outcome = |fields: usize| {
            let message = field(1, &field(4, &field(2, &field(13, &b"\x0a\0".repeat(fields)))));
            let length = u32::try_from(message.len()).expect("short").to_be_bytes();
            message_in(&[&[0], &length[..], &message].concat()).map(|message| message.http().is_some())
        };
        assert_eq!(outcome(MAX_FIELDS + PSEUDO_FIELDS), Ok(true));
        assert_eq!(outcome(MAX_FIELDS + PSEUDO_FIELDS + 1), Err(CallFailure::Fields));
        assert_eq!(outcome(8_000), Err(CallFailure::Fields));
    }

    #[test]
    fn identity_is_set_or_removed_and_never_both() {
        let mut verdict = Response::new(Bytes::new());
        verdict.headers_mut().insert("x-phoenix-user-id", HeaderValue::from_static("u"));
        verdict.headers_mut().insert("ratelimit", HeaderValue::from_static("r"));
        let CheckResponse { status, verdict } =
            response_of(verdict, vec!["x_phoenix_role".to_owned(), "x-phoenix-user-id".to_owned()]);
        assert_eq!(status, Some(Rpc { code: 0 }));
        let Some(Verdict::Ok(ok)) = verdict else { panic!("admitted") };
        let set: Vec<&str> =
            ok.headers.iter().filter_map(|o| Some(o.header.as_ref()?.key.as_str())).collect();
        assert_eq!(set, ["x-phoenix-user-id"]);
        assert_eq!(
            ok.headers_to_remove,
            [
                "x-phoenix-assertion",
                "x-phoenix-email",
                "x-phoenix-role",
                "x-phoenix-session-id",
                "x_phoenix_role"
            ]
        );
    }

    #[test]
    fn what_reads_as_identity_is_found_however_it_is_written() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-phoenix-role",
            "x_phoenix_role",
            "x.phoenix~user!id",
            "x-phoenix-version",
            "xxphoenix-role",
            "x-phoenix-roles",
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        let mut found = lookalikes(&headers);
        found.sort_unstable();
        assert_eq!(found, ["x-phoenix-role", "x.phoenix~user!id", "x_phoenix_role"]);
    }

    #[test]
    fn a_refusal_keeps_its_status_headers_and_body() {
        let problem = Problem::quota_exceeded_for_tests();
        let expected = problem.clone().rendered();
        let CheckResponse { status, verdict } = response_of(problem.rendered(), Vec::new());
        assert_eq!(status, Some(Rpc { code: 7 }));
        let Some(Verdict::Denied(denied)) = verdict else { panic!("refused") };
        assert_eq!(denied.status, Some(HttpStatus { code: 429 }));
        assert_eq!(denied.body, expected.body());
        let keys: Vec<&str> =
            denied.headers.iter().filter_map(|o| Some(o.header.as_ref()?.key.as_str())).collect();
        assert!(keys.contains(&"retry-after") && keys.contains(&"content-type"), "{keys:?}");
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_and_nothing_else(body in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(message) = message_in(&body) {
                prop_assert!(message.http().is_none_or(|http| http.header().map_or(0, |header| header.len()) <= body.len()));
                let _ = message.source();
            }
        }
    }
}
