//! What handlers take: the request's context, its caller, and its JSON body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use phoenix_auth::model::UserId;
use phoenix_auth::ops::{Authenticated, ClientInfo, Rejection};
use phoenix_auth::ports::Tier;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::client_ip::{ClientIp, Peer};
use crate::cookie::CookieForm;
use crate::credentials::Carrier;
use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

/// Facts about a request that the stack has established. In the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) client: ClientInfo,
    pub(crate) cookie_form: CookieForm,
    pub(crate) client_ip: ClientIp,
    pub(crate) peer: Peer,
    /// The mark of a known device, on routes that open sessions. Not checked yet.
    pub(crate) device_mark: Option<String>,
}

impl RequestContext {
    /// Whether the connection is good enough for an administrator.
    pub(crate) fn may_administrate(&self, parts: &HttpParts) -> bool {
        !parts.settings.admin_certificate || self.peer.has_certificate()
    }
}

/// Who sent the request. In the request's extensions.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// No credential.
    Anonymous,
    /// A credential that does not count.
    Rejected(Rejection),
    /// A live session.
    Known(Authenticated, Carrier),
}

impl Identity {
    /// The tier that answered, if one was asked.
    pub(crate) const fn tier(&self) -> Option<Tier> {
        match self {
            Self::Known(caller, _) => Some(caller.tier),
            Self::Anonymous | Self::Rejected(_) => None,
        }
    }

    /// The user, if one is signed in.
    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::Known(caller, _) => Some(caller.active.user.id),
            Self::Anonymous | Self::Rejected(_) => None,
        }
    }

    pub(crate) fn required(self) -> Result<(Authenticated, Carrier), Problem> {
        match self {
            Self::Known(caller, carrier) => Ok((caller, carrier)),
            Self::Anonymous => Err(Kind::Unauthenticated.into()),
            Self::Rejected(Rejection::Malformed) => Err(Kind::MalformedToken.into()),
            Self::Rejected(Rejection::Disabled) => Err(Kind::AccountDisabled.into()),
            Self::Rejected(Rejection::TokenExpired) => Err(Kind::TokenExpired.into()),
            Self::Rejected(Rejection::NotAllowed) => Err(Kind::UserNotAllowed.into()),
            Self::Rejected(Rejection::CapReached) => Err(Kind::SessionCapReached.into()),
            Self::Rejected(Rejection::Reauthenticate) => Err(Kind::Reauthenticate.into()),
            Self::Rejected(Rejection::Unknown | Rejection::Idle | Rejection::Expired) => {
                Err(Kind::SessionEnded.into())
            }
        }
    }
}

fn extension<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    // The stack puts them there for every request; without them the route was reached another way.
    parts.extensions.get::<T>().cloned().ok_or_else(|| Kind::Internal.into())
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        extension(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        extension(parts)
    }
}

/// A signed-in user; 401 otherwise.
pub(crate) struct Caller(pub(crate) Authenticated, pub(crate) Carrier);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let (caller, carrier) = extension::<Identity>(parts)?.required()?;
        Ok(Self(caller, carrier))
    }
}

/// A signed-in administrator, with a client certificate where they need one; 401 or 403 otherwise.
pub(crate) struct Administrator;

impl FromRequestParts<HttpParts> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpParts) -> Result<Self, Problem> {
        let (caller, _) = extension::<Identity>(parts)?.required()?;
        if !caller.active.user.role.is_admin() {
            return Err(Kind::Forbidden.into());
        }
        // After the role, so that nobody else is told what administrators need.
        let context = extension::<RequestContext>(parts)?;
        if context.may_administrate(state) { Ok(Self) } else { Err(Kind::CertificateRequired.into()) }
    }
}

/// A JSON body: declared, complete in time, within the size bound, with known fields only.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<HttpParts> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpParts) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Kind::UnsupportedMediaType.into());
        }
        let (max, timeout) = (state.settings.max_body_bytes, state.settings.body_timeout);
        let bytes = read_body(request, max, timeout).await?;
        // Serde also fills a struct from an array, by position; fields have names here.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::new(Kind::InvalidFields).detail("The body must be a JSON object."));
        }
        serde_json::from_slice(&bytes).map(Json).map_err(|error| describe(&error))
    }
}

fn is_json(request: &Request) -> bool {
    let declared = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    declared.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, if it has at most `max` bytes and is complete in time.
pub(crate) async fn read_body(
    request: Request,
    max: usize,
    timeout: Duration,
) -> Result<bytes::Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::BodyTooLarge).detail(format!("The body may have at most {max} bytes."));
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|text| text.parse::<u64>().ok()).is_some_and(|bytes| bytes > max as u64) {
        return Err(too_large());
    }
    let body: Body = request.into_body();
    match tokio::time::timeout(timeout, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_broken_off)) => Err(Kind::IncompleteBody.into()),
        Err(_elapsed) => Err(Kind::RequestTimeout.into()),
    }
}

/// Says where the body is wrong without repeating values, which may be passwords.
fn describe(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            let names_a_field = ["unknown field", "missing field", "duplicate field"];
            let about_names = names_a_field.iter().any(|start| text.starts_with(start)) && text.len() <= 300;
            let detail = if about_names { text } else { format!("A field has the wrong type at {place}.") };
            Problem::new(Kind::InvalidFields).detail(detail)
        }
        Category::Eof if error.line() <= 1 && error.column() == 0 => {
            Problem::new(Kind::InvalidJson).detail("The body is empty.")
        }
        Category::Syntax | Category::Eof | Category::Io => {
            Problem::new(Kind::InvalidJson).detail(format!("JSON ends or breaks at {place}."))
        }
    }
}
