//! Stack Auth's API with the server key: the sessions of a user, and ending one.
//!
//! Each call is one exchange: whether to try again, and when to stop asking, is the caller's decision, who knows the
//! deadline. Answers are judged by `x-stack-actual-status` where it is there, because a 200 may carry a failure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde::Deserialize;
use thiserror::Error;

use crate::config::{IdentityConfigError, StackConfig};
use crate::http::{Fetch, FetchError};

/// Longest pause that a `Retry-After` may ask for.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Codes that say that there is no such user.
const NO_SUCH_USER: [&str; 2] = ["USER_NOT_FOUND", "USER_ID_DOES_NOT_EXIST"];
/// What a 404 says that is about the session, and not about an address that does not exist.
const NO_SUCH_SESSION: &str = "session not found";

/// The API of the configured project.
pub struct StackApi {
    base: String,
    headers: HeaderMap,
    fetch: Arc<dyn Fetch>,
    /// Largest answer, in bytes.
    bytes: usize,
}

/// A session at Stack Auth.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StackSession {
    /// The `refresh_token_id` of its access tokens.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Milliseconds since 1970.
    #[serde(rename = "created_at")]
    pub created_at_millis: i64,
    /// Milliseconds since 1970.
    #[serde(rename = "last_used_at")]
    pub last_used_at_millis: Option<i64>,
    /// Whether an administrator is behind it.
    #[serde(default)]
    pub is_impersonation: bool,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum StackApiError {
    /// The id is not 1 to 64 letters, digits, `-` and `_`. Nothing was sent.
    #[error("the id is not one of Stack Auth")]
    Id,
    /// 429.
    #[error("Stack Auth asks to be called less often")]
    RateLimited {
        /// What it asks for, at most [`LONGEST_RETRY_AFTER`]; it leaves it out at times.
        retry_after: Option<Duration>,
    },
    /// 5xx.
    #[error("Stack Auth failed with status {0}")]
    Failed(StatusCode),
    /// No whole answer in time: no connection, no TLS, too slow, or broken off.
    #[error("Stack Auth could not be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer that is too large, or not what the API is known to say.
    #[error("Stack Auth answered with what is not an answer")]
    Garbage,
    /// 3xx or 4xx: the key, the project or the address is wrong.
    #[error("Stack Auth refused the call with status {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The code of the error, if it is one.
        code: Option<String>,
    },
}

impl StackApiError {
    /// Whether a later call may succeed without anything being changed here.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Failed(_) | Self::Unreachable(_) | Self::Garbage => true,
            Self::Id | Self::Refused { .. } => false,
        }
    }
}

#[derive(Deserialize)]
struct SessionList {
    items: Vec<StackSession>,
    #[serde(default)]
    is_paginated: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

impl StackApi {
    pub(crate) fn new(
        config: &StackConfig,
        base: String,
        project: &str,
        fetch: Arc<dyn Fetch>,
        bytes: usize,
    ) -> Result<Self, IdentityConfigError> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-stack-access-type"), HeaderValue::from_static("server"));
        let project_id =
            HeaderValue::from_str(project).map_err(|_| IdentityConfigError::ProjectId(project.to_owned()))?;
        headers.insert(HeaderName::from_static("x-stack-project-id"), project_id);
        let secret = key("the secret server key", &config.secret_server_key)?;
        headers.insert(HeaderName::from_static("x-stack-secret-server-key"), secret);
        if let Some(publishable) = &config.publishable_client_key {
            let publishable = key("the publishable client key", publishable)?;
            headers.insert(HeaderName::from_static("x-stack-publishable-client-key"), publishable);
        }
        Ok(Self { base, headers, fetch, bytes })
    }

    /// The sessions of a user; `None` if there is no such user. Stack Auth is also seen to answer with no sessions then.
    ///
    /// Stack Auth leaves sessions of impersonation out of this list: that a session is missing does not prove that it
    /// ended if an administrator may be behind it.
    ///
    /// # Errors
    /// See [`StackApiError`]. A list that is not whole is [`StackApiError::Garbage`].
    pub async fn sessions(&self, user_id: &str) -> Result<Option<Vec<StackSession>>, StackApiError> {
        let answer = self.call(Method::GET, &format!("auth/sessions?user_id={}", id(user_id)?)).await?;
        match status(&answer)? {
            StatusCode::OK => {}
            refused => {
                let known = code(&answer);
                if known.as_deref().is_some_and(|code| NO_SUCH_USER.contains(&code)) {
                    return Ok(None);
                }
                return Err(StackApiError::Refused { status: refused, code: known });
            }
        }
        let list: SessionList = serde_json::from_slice(answer.body()).map_err(|_| StackApiError::Garbage)?;
        // A part of the list would end the sessions of the other part, and another user's ends all of them.
        if list.is_paginated || list.items.iter().any(|session| session.user_id != user_id) {
            return Err(StackApiError::Garbage);
        }
        Ok(Some(list.items))
    }

    /// Ends a session; `false` if there is none with this id.
    ///
    /// # Errors
    /// See [`StackApiError`].
    pub async fn end_session(&self, user_id: &str, session_id: &str) -> Result<bool, StackApiError> {
        let path = format!("auth/sessions/{}?user_id={}", id(session_id)?, id(user_id)?);
        let answer = self.call(Method::DELETE, &path).await?;
        match status(&answer)? {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(true),
            StatusCode::NOT_FOUND if names_no_session(&answer) => Ok(false),
            status => Err(StackApiError::Refused { status, code: code(&answer) }),
        }
    }

    async fn call(&self, method: Method, path: &str) -> Result<Response<Bytes>, StackApiError> {
        let uri: Uri = format!("{}/api/v1/{path}", self.base).parse().map_err(|_| StackApiError::Id)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        match self.fetch.fetch(request, self.bytes).await {
            Ok(answer) => Ok(answer),
            Err(FetchError::TooLarge(_)) => Err(StackApiError::Garbage),
            Err(error) => Err(StackApiError::Unreachable(Box::new(error))),
        }
    }
}

/// The status that is meant: of either name of the header, else the status itself. `None` if the header is no status.
pub(crate) fn effective_status(answer: &Response<Bytes>) -> Option<StatusCode> {
    match either(answer.headers(), ["x-stack-actual-status", "x-hexclave-actual-status"]) {
        Some(value) => StatusCode::from_bytes(value.as_bytes()).ok(),
        None => Some(answer.status()),
    }
}

fn either(headers: &HeaderMap, names: [&str; 2]) -> Option<HeaderValue> {
    names.iter().find_map(|name| headers.get(*name)).cloned()
}

/// The status, if it is not one of trouble on the other side.
fn status(answer: &Response<Bytes>) -> Result<StatusCode, StackApiError> {
    let status = effective_status(answer).ok_or(StackApiError::Garbage)?;
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Err(StackApiError::RateLimited { retry_after: retry_after(answer.headers()) });
    }
    if status.is_server_error() { Err(StackApiError::Failed(status)) } else { Ok(status) }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3). A date is as good as none: the caller backs off by itself.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

fn code(answer: &Response<Bytes>) -> Option<String> {
    let header = either(answer.headers(), ["x-stack-known-error", "x-hexclave-known-error"]);
    header.and_then(|value| value.to_str().ok().map(str::to_owned)).or_else(|| {
        let body: Option<ErrorBody> = serde_json::from_slice(answer.body()).ok();
        body.map(|body| body.code)
    })
}

fn names_no_session(answer: &Response<Bytes>) -> bool {
    let body = String::from_utf8_lossy(answer.body()).to_ascii_lowercase();
    body.contains(NO_SUCH_SESSION) || code(answer).is_some_and(|code| code == "SESSION_NOT_FOUND")
}

fn key(what: &'static str, text: &str) -> Result<HeaderValue, IdentityConfigError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(IdentityConfigError::Key(what));
    }
    let mut value = HeaderValue::from_str(text).map_err(|_| IdentityConfigError::Key(what))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An id that means itself in a path and in a query.
fn id(text: &str) -> Result<&str, StackApiError> {
    let fine = (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fine { Ok(text) } else { Err(StackApiError::Id) }
}
