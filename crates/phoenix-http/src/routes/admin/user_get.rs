//! `GET /api/admin/users/{id}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::{OneUserView, user_id};
use crate::extract::Administrator;
use crate::json::AdminUserView;
use crate::problem::Problem;
use crate::routes::auth::json;
use crate::settings::HttpParts;

/// One user.
#[utoipa::path(get, path = "/api/admin/users/{id}", tag = "admin", params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = OneUserView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let user = parts.auth.user(user_id(id)?).await?;
    Ok(json(StatusCode::OK, &OneUserView { user: AdminUserView::of(&user) }))
}
