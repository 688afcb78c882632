//! `GET /api/admin/users/{id}/security-events`

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;

use super::user_id;
use crate::extract::Administrator;
use crate::problem::Problem;
use crate::routes::events::{EventsView, Parameters, answer, page};
use crate::settings::HttpParts;

/// List a user's security events.
#[utoipa::path(get, path = "/api/admin/users/{id}/security-events", tag = "admin",
    params(("id" = uuid::Uuid, Path), Parameters),
    responses((status = 200, body = EventsView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let (id, (before, limit)) = (user_id(id)?, page(parameters)?);
    parts.auth.user(id).await?;
    Ok(answer(&parts.auth.events(Some(id), before, limit).await?, limit))
}
