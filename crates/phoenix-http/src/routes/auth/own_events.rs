//! `GET /api/auth/security-events`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use crate::extract::Caller;
use crate::problem::{Kind, Problem};
use crate::routes::events::{EventsView, Parameters, answer, page};
use crate::settings::HttpParts;

/// List one's own security events.
#[utoipa::path(get, path = "/api/auth/security-events", tag = "auth", params(Parameters),
    responses((status = 200, body = EventsView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    Caller(caller, _): Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    if caller.active.user.role.is_shared() {
        // They tell of strangers.
        return Err(Problem::new(Kind::SharedAccount).detail("The events of a shared account are not shown."));
    }
    let (before, limit) = page(parameters)?;
    Ok(answer(&parts.auth.own_events(&caller, before, limit).await?, limit))
}
