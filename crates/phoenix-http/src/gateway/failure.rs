//! What a client is told when the application does not answer: a problem that names the application or Phoenix as the
//! cause, and `Proxy-Status` (RFC 9209) for programs.

use axum::response::IntoResponse;
use http::header::{ALLOW, CONNECTION};
use http::{HeaderName, HeaderValue, Response, Version};

use super::port::ForwardFailure;
use crate::body::Body;
use crate::problem::{Kind, Problem};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// What is passed on, of the methods that applications know. Others are, too, but have no end.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// The request is at fault (RFC 9209).
const REQUEST_ERROR: &str = "phoenix; error=http_request_error";

/// The answer in place of the application's, to a request of this version.
pub(crate) fn answer(failure: ForwardFailure, version: Version) -> Response<Body> {
    let (problem, status) = describe(failure);
    let mut response = problem.into_response().map(Body::Routed);
    match status {
        Some(status) => response.headers_mut().insert(PROXY_STATUS, HeaderValue::from_static(status)),
        // RFC 9110 section 15.5.6.
        None => response.headers_mut().insert(ALLOW, METHODS),
    };
    if is_in_doubt(failure) {
        end_connection(&mut response, version);
    }
    response
}

/// Of a connection on which a request of this version was in doubt, nothing more is read.
pub(crate) fn end_connection(response: &mut Response<Body>, version: Version) {
    // In HTTP/2 each request has a stream of its own, and this field is forbidden (RFC 9113 section 8.2.2).
    if version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Whether what follows on the connection may not be what it seems: a part of a request that we refused to understand,
/// or what a client sent in the belief that it speaks another protocol already.
fn is_in_doubt(failure: ForwardFailure) -> bool {
    use ForwardFailure as F;
    match failure {
        F::Malformed(_) | F::Method | F::Expectation | F::BadUpgrade | F::RequestBroken | F::RequestSlow => {
            true
        }
        F::NoneUp
        | F::Full
        | F::Unreachable
        | F::Untrusted
        | F::Closed
        | F::Garbage
        | F::ConnectTimeout
        | F::Timeout
        | F::BodyTooLarge => false,
    }
}

/// The problem, and the status for programs unless the refusal is Phoenix's own and none of a request to the application.
fn describe(failure: ForwardFailure) -> (Problem, Option<&'static str>) {
    let (kind, detail, status) = words(failure);
    let problem = Problem::new(kind).detail(detail);
    (if kind == Kind::AppDown { problem.soon() } else { problem }, status)
}

/// The problem, what it is in this case, and `Proxy-Status`.
fn words(failure: ForwardFailure) -> (Kind, &'static str, Option<&'static str>) {
    use ForwardFailure as F;
    let (kind, detail, status) = match failure {
        F::Method => {
            let detail = "CONNECT, TRACE and methods with small letters are not passed on.";
            return (Kind::MethodNotAllowed, detail, None);
        }
        F::NoneUp => (
            Kind::AppDown,
            "No server of the application is up. Phoenix looks again every few seconds.",
            "phoenix; error=destination_unavailable",
        ),
        F::Full => (
            Kind::AppDown,
            "The application has as many requests under way as it may have.",
            "phoenix; error=connection_limit_reached",
        ),
        F::Unreachable => (
            Kind::AppUnreachable,
            "The application refused the connection.",
            "phoenix; error=connection_refused",
        ),
        F::Untrusted => (
            Kind::AppUnreachable,
            "The application's certificate is not trusted.",
            "phoenix; error=tls_certificate_error",
        ),
        F::Closed => (
            Kind::AppUnreachable,
            "The application closed the connection before it answered.",
            "phoenix; error=connection_terminated",
        ),
        F::Garbage => (
            Kind::AppBroken,
            "The answer is no HTTP, or its head is too large.",
            "phoenix; error=http_protocol_error",
        ),
        F::ConnectTimeout => (
            Kind::AppTimeout,
            "No connection to the application within gateway.connect_timeout.",
            "phoenix; error=connection_timeout",
        ),
        F::Timeout => (
            Kind::AppTimeout,
            "The application took longer than the route's deadline.",
            "phoenix; error=http_response_timeout",
        ),
        F::BodyTooLarge => (Kind::BodyTooLarge, "The route allows no body of this size.", REQUEST_ERROR),
        F::RequestBroken => {
            (Kind::IncompleteBody, "The request broke off before it was complete.", REQUEST_ERROR)
        }
        F::RequestSlow => (
            Kind::RequestTimeout,
            "The body of the request came too slowly, or paused for too long.",
            REQUEST_ERROR,
        ),
        F::BadUpgrade => (
            Kind::BadUpgrade,
            "An upgrade needs HTTP/1.1, Connection: upgrade and one Upgrade.",
            "phoenix; error=http_upgrade_failed",
        ),
        F::Malformed(what) => (Kind::MalformedRequest, what, REQUEST_ERROR),
        F::Expectation => {
            (Kind::ExpectationFailed, "The only expectation there is, is 100-continue.", REQUEST_ERROR)
        }
    };
    (kind, detail, Some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_time_outs_have_two_causes() {
        for (failure, error, setting) in [
            (ForwardFailure::ConnectTimeout, "connection_timeout", "gateway.connect_timeout"),
            (ForwardFailure::Timeout, "http_response_timeout", "deadline"),
        ] {
            let (problem, status) = describe(failure);
            assert_eq!(status, Some(format!("phoenix; error={error}").as_str()));
            assert!(format!("{problem:?}").contains(setting), "{problem:?}");
            let response = answer(failure, Version::HTTP_11);
            assert_eq!(response.status(), http::StatusCode::GATEWAY_TIMEOUT);
            assert!(!response.headers().contains_key(CONNECTION), "the connection is in order");
        }
    }

    #[test]
    fn a_body_that_comes_too_slowly_is_the_clients_time_out_and_ends_its_connection() {
        for (failure, expected) in [
            (ForwardFailure::RequestSlow, (408, "request-timeout")),
            (ForwardFailure::RequestBroken, (400, "incomplete-body")),
        ] {
            assert_eq!(words(failure).0.code(), expected.1);
            let [old, new] = [Version::HTTP_11, Version::HTTP_2].map(|version| answer(failure, version));
            assert_eq!((old.status().as_u16(), new.status().as_u16()), (expected.0, expected.0));
            assert_eq!(old.headers()[PROXY_STATUS], "phoenix; error=http_request_error");
            assert_eq!(old.headers()[CONNECTION], "close", "the rest of the body may yet come");
            assert!(!new.headers().contains_key(CONNECTION));
        }
    }

    #[test]
    fn a_method_that_is_not_passed_on_is_our_own_refusal_and_names_those_that_are() {
        let refused = answer(ForwardFailure::Method, Version::HTTP_11);
        assert_eq!((refused.status().as_u16(), refused.headers().get(PROXY_STATUS)), (405, None));
        assert_eq!(refused.headers()[ALLOW], METHODS);
        let other = answer(ForwardFailure::Timeout, Version::HTTP_11);
        assert_eq!(other.headers()[PROXY_STATUS], "phoenix; error=http_response_timeout");
        assert!(!other.headers().contains_key(ALLOW));
    }
}
