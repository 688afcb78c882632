//! `PATCH /api/admin/users/{id}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::Role;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{OneUserView, user_id};
use crate::extract::{Administrator, Json};
use crate::json::AdminUserView;
use crate::problem::Problem;
use crate::routes::auth::json;
use crate::settings::HttpParts;

/// What changes; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// 1 to 32 characters of a-z, 0-9, - and _. `admin` may administer.
    role: Option<String>,
    /// A disabled account can neither sign in nor use a session.
    disabled: Option<bool>,
}

/// Change what a user may do. If anything changes, every session of theirs ends.
#[utoipa::path(patch, path = "/api/admin/users/{id}", tag = "admin", params(("id" = uuid::Uuid, Path)),
    request_body = Body,
    responses((status = 200, body = OneUserView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    id: Result<Path<String>, PathRejection>,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let id = user_id(id)?;
    let role = body.role.as_deref().map(Role::parse).transpose();
    let role = role.map_err(|error| Problem::field("role", error.to_string()))?;
    let user = parts.auth.change_access(id, role, body.disabled).await?;
    Ok(json(StatusCode::OK, &OneUserView { user: AdminUserView::of(&user) }))
}
