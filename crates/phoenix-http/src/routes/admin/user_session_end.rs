//! `DELETE /api/admin/users/{id}/sessions/{sessionId}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::extract::Administrator;
use crate::problem::{Kind, Problem};
use crate::routes::auth::done;
use crate::settings::HttpParts;

/// End one session of a user.
#[utoipa::path(delete, path = "/api/admin/users/{id}/sessions/{sessionId}", tag = "admin",
    params(("id" = uuid::Uuid, Path), ("sessionId" = uuid::Uuid, Path)),
    responses((status = 200, body = crate::routes::auth::DoneView),
        (status = "4XX", body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((user, session)) = ids?;
    let nothing = |_| Problem::from(Kind::NotFound);
    parts.auth.end_session_of(user.parse().map_err(nothing)?, session.parse().map_err(nothing)?).await?;
    Ok(done())
}
