//! `GET /api/auth/me`, for sessions that were not in memory; the others never leave `stack.rs`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::extract::Caller;
use crate::json;
use crate::settings::HttpParts;

/// Who am I? `X-Cache-Hit` tells which tier knew.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth",
    responses((status = 200, body = json::MeView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(State(parts): State<HttpParts>, Caller(caller, _): Caller) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let limits = parts.auth.policy().sessions.of(&caller.active.user.role);
    (headers, json::me(&caller.active, limits)).into_response()
}
