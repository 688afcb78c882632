//! `DELETE /api/auth/sessions/{id}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;

use super::done;
use crate::extract::Caller;
use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

/// End one of one's own sessions.
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "auth", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = super::DoneView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    Caller(caller, _): Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = id?.parse().map_err(|_| Problem::from(Kind::NotFound))?;
    parts.auth.end_own_session(&caller, id).await?;
    Ok(done())
}
