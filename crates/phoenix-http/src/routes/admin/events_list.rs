//! `GET /api/admin/security-events`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::extract::Administrator;
use crate::problem::Problem;
use crate::routes::events::{EventsView, Parameters, answer, page};
use crate::settings::HttpParts;

/// List everybody's security events.
#[utoipa::path(get, path = "/api/admin/security-events", tag = "admin", params(Parameters),
    responses((status = 200, body = EventsView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let (before, limit) = page(parameters)?;
    Ok(answer(&parts.auth.events(None, before, limit).await?, limit))
}
