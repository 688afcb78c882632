//! Answers and the envelope that every answer of the API gets: request id, no-store, known error, and the status
//! that a caller may ask to be hidden.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::encoding::uuid;
use super::errors::Failure;

/// An answer without its envelope.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::json_bytes(value.to_string())
    }

    pub(super) fn json_bytes(body: impl Into<Bytes>) -> Self {
        Self::new(200, "application/json; charset=utf-8", body)
    }

    pub(super) fn success() -> Self {
        Self::json(&json!({ "success": true }))
    }

    pub(super) fn text(status: u16, text: &'static str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text)
    }

    pub(super) fn failure(failure: &Failure) -> Self {
        let error = match failure {
            Failure::Plain(status, text) => return Self::text(*status, text),
            Failure::Known(error) => error,
        };
        let mut body = json!({ "code": error.code, "error": error.message });
        if let Some(details) = &error.details {
            body["details"] = details.clone();
        }
        // The real server writes errors, and only them, over several lines.
        let mut reply = Self::json_bytes(format!("{body:#}"));
        reply.status = error.status;
        reply.with_both("known-error", error.code)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, text(value));
        self
    }

    /// A header under both names.
    fn with_both(mut self, name: &str, value: &str) -> Self {
        for family in ["x-stack-", "x-hexclave-"] {
            let name = HeaderName::try_from(format!("{family}{name}")).expect("the names are constants");
            self.headers.insert(name, text(value));
        }
        self
    }

    /// The response. `hides_errors` is the caller's wish that any 4xx becomes 200.
    pub(super) fn enveloped(self, hides_errors: bool) -> Response<Full<Bytes>> {
        let mut reply = self.with_both("request-id", &uuid());
        if !reply.headers.contains_key(header::CACHE_CONTROL) {
            reply = reply.with(header::CACHE_CONTROL, "no-store, max-age=0");
        }
        if hides_errors && (400..500).contains(&reply.status) {
            let actual = reply.status.to_string();
            reply = reply.with_both("actual-status", &actual);
            reply.status = 200;
        }
        reply.bare()
    }

    /// The response without an envelope, as something before the server sends it.
    pub(super) fn bare(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status has three digits");
        *response.headers_mut() = self.headers;
        response
    }
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("the fake writes only visible characters into headers")
}
