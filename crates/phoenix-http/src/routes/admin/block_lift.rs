//! `DELETE /api/admin/blocks/{id}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use phoenix_auth::model::BlockId;

use crate::extract::Administrator;
use crate::problem::{Kind, Problem};
use crate::routes::auth::done;
use crate::settings::HttpParts;

/// Lift a block. What the client did before goes on counting.
#[utoipa::path(delete, path = "/api/admin/blocks/{id}", tag = "admin", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = crate::routes::auth::DoneView),
        (status = "4XX", body = crate::problem::ProblemBody), (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let nothing = || Problem::from(Kind::NotFound);
    let id: BlockId = id?.parse().map_err(|_| nothing())?;
    parts.limit_admin.lift(id).await?.ok_or_else(nothing)?;
    Ok(done())
}
