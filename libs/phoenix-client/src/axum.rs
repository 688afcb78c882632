//! Extractors for handlers of axum: `Identity`, and `Option<Identity>`.
//!
//! Rests on `axum-core` alone, which is made for libraries.

use std::time::SystemTime;

use axum_core::body::Body;
use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::cache::JwksCache;
use crate::identity::Identity;
use crate::verifier::VerifyError;

/// The header in which Phoenix sends an assertion.
pub const ASSERTION_HEADER: &str = "x-phoenix-assertion";

/// Why a request does not reach the handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no assertion: nobody is signed in. 401.
    Missing,
    /// There is one that does not count, or more than one. 401.
    Invalid(VerifyError),
    /// It cannot be judged, because Phoenix does not answer. 503.
    Unavailable,
}

impl From<VerifyError> for Rejection {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::KeysUnavailable => Self::Unavailable,
            error => Self::Invalid(error),
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::Missing => (
                StatusCode::UNAUTHORIZED,
                r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Sign in first."}"#,
            ),
            // Which check failed is for logs.
            Self::Invalid(_) => (
                StatusCode::UNAUTHORIZED,
                r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The assertion of the gateway does not count."}"#,
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The caller cannot be verified now."}"#,
            ),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2 wants one.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Phoenix-Assertion"));
        } else {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl<S> FromRequestParts<S> for Identity
where
    S: Send + Sync,
    JwksCache: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        caller(&parts.headers, &JwksCache::from_ref(state)).await?.ok_or(Rejection::Missing)
    }
}

impl<S> OptionalFromRequestParts<S> for Identity
where
    S: Send + Sync,
    JwksCache: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        caller(&parts.headers, &JwksCache::from_ref(state)).await
    }
}

/// Who is calling; nobody without the header.
async fn caller(headers: &HeaderMap, keys: &JwksCache) -> Result<Option<Identity>, Rejection> {
    let mut values = headers.get_all(ASSERTION_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Phoenix sends one. Of two nobody knows which one another part of the application would read.
    if values.next().is_some() {
        return Err(Rejection::Invalid(VerifyError::Malformed));
    }
    let token = value.to_str().map_err(|_| VerifyError::Malformed)?;
    Ok(Some(keys.verify(token, now()).await?))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an extractor is the edge of the application: nobody hands it the time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
