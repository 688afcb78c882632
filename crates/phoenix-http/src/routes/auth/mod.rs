//! `/api/auth/*`: what a user may do.

pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod me;
pub(crate) mod own_events;
pub(crate) mod own_session_end;
pub(crate) mod own_sessions_end;
pub(crate) mod own_sessions_list;
pub(crate) mod password;
pub(crate) mod refresh;
pub(crate) mod register;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use phoenix_auth::ops::SignedIn;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cookie::CookieForm;
use crate::credentials::Carrier;
use crate::json::{SessionView, UserView};
use crate::settings::HttpParts;

/// How the token is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// In a cookie that scripts cannot read: for browsers.
    #[default]
    Cookie,
    /// In the body, to be sent as `Authorization: Bearer`: for everything else.
    Bearer,
}

impl From<Carrier> for Transport {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Cookie => Self::Cookie,
            Carrier::Bearer | Carrier::ProviderHeader | Carrier::ProviderCookie => Self::Bearer,
        }
    }
}

/// Answer of everything that opens or renews a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedInView<'a> {
    /// Always true.
    success: bool,
    /// Always true.
    authenticated: bool,
    /// The caller.
    user: UserView<'a>,
    /// The session.
    session: SessionView<'a>,
    /// The token, with transport `bearer` only. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// Hands over a token.
fn signed_in(
    parts: &HttpParts,
    status: StatusCode,
    signed: &SignedIn,
    transport: Transport,
    form: CookieForm,
) -> Response {
    let limits = parts.auth.policy().sessions.of(&signed.active.user.role);
    let session = &signed.active.session;
    let view = SignedInView {
        success: true,
        authenticated: true,
        user: UserView::of(&signed.active.user),
        session: SessionView::of(session, limits),
        token: (transport == Transport::Bearer).then(|| signed.token.expose()),
    };
    let mut response = json(status, &view);
    if transport == Transport::Cookie {
        let lifetime = session.expires_at.since(session.last_seen_at);
        set_cookie(&mut response, form.set(&signed.token, lifetime));
    }
    response
}

/// Marks the browser as one on which this account was signed in to. Clients that keep the token themselves keep no
/// cookies.
fn mark_device(
    parts: &HttpParts,
    response: &mut Response,
    signed: &SignedIn,
    transport: Transport,
    form: CookieForm,
) {
    if transport == Transport::Cookie
        && let Some(email) = &signed.active.user.email
    {
        set_cookie(response, form.set_device(&parts.auth.mark_device(&email.key())));
    }
}

fn set_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// A JSON answer that no cache may keep.
pub(crate) fn json(status: StatusCode, view: &impl Serialize) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, serde_json::to_vec(view).unwrap_or_default()).into_response()
}

/// `{"success": true}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct DoneView {
    /// Always true.
    success: bool,
}

/// `{"success": true, "ended": 3}`.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndedView {
    /// Always true.
    success: bool,
    /// How many sessions ended.
    ended: u64,
}

pub(crate) fn done() -> Response {
    json(StatusCode::OK, &DoneView { success: true })
}

pub(crate) fn ended(ended: u64) -> Response {
    json(StatusCode::OK, &EndedView { success: true, ended })
}
