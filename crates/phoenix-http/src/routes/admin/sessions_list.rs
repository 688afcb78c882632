//! `GET /api/admin/users/{id}/sessions`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::user_id;
use crate::extract::Administrator;
use crate::json::SessionLineView;
use crate::problem::Problem;
use crate::routes::auth::json;
use crate::routes::auth::own_sessions_list::SessionsView;
use crate::settings::HttpParts;

/// List a user's live sessions.
#[utoipa::path(get, path = "/api/admin/users/{id}/sessions", tag = "admin", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = SessionsView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let (user, lines) = parts.auth.sessions_of(user_id(id)?).await?;
    let limits = parts.auth.policy().sessions.of(&user.role);
    let sessions = lines.iter().map(|line| SessionLineView::of(line, limits)).collect();
    Ok(json(StatusCode::OK, &SessionsView { sessions }))
}
