//! `DELETE /api/admin/users/{id}/sessions`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::user_id;
use crate::extract::Administrator;
use crate::problem::Problem;
use crate::routes::auth::ended;
use crate::settings::HttpParts;

/// End every session of a user.
#[utoipa::path(delete, path = "/api/admin/users/{id}/sessions", tag = "admin", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = crate::routes::auth::EndedView),
        (status = "4XX", body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = user_id(id)?;
    parts.auth.user(id).await?;
    Ok(ended(parts.auth.end_all_sessions(id).await?))
}
