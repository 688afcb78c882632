//! `GET /api/auth/sessions`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::extract::Caller;
use crate::json::SessionLineView;
use crate::problem::Problem;
use crate::settings::HttpParts;

/// A list of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionsView<'a> {
    /// The last used first, at most 500.
    pub(crate) sessions: Vec<SessionLineView<'a>>,
}

/// List one's own live sessions.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth",
    responses((status = 200, body = SessionsView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    Caller(caller, _): Caller,
) -> Result<Response, Problem> {
    let lines = parts.auth.own_sessions(&caller).await?;
    let role = &caller.active.user.role;
    let limits = parts.auth.policy().sessions.of(role);
    let view = |line| {
        let view = SessionLineView::of(line, limits);
        if role.is_shared() { view.for_strangers() } else { view }
    };
    let sessions = lines.iter().map(view).collect();
    Ok(json(StatusCode::OK, &SessionsView { sessions }))
}
