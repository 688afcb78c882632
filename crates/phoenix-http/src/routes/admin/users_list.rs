//! `GET /api/admin/users`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::User;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::Administrator;
use crate::json::AdminUserView;
use crate::problem::{Kind, Problem};
use crate::routes::auth::json;
use crate::routes::page_limit;
use crate::settings::HttpParts;

/// Query of the request.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// `next` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    after: Option<String>,
    /// Most users of a page, 1 to 200, 50 if absent.
    limit: Option<u32>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsersView<'a> {
    /// Oldest first.
    users: Vec<AdminUserView<'a>>,
    /// `after` of the next page; absent on the last.
    next: Option<String>,
}

/// List users.
#[utoipa::path(get, path = "/api/admin/users", tag = "admin", params(Parameters),
    responses((status = 200, body = UsersView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let wrong = |detail: &str| Problem::new(Kind::InvalidParameter).detail(detail);
    let Query(Parameters { after, limit }) =
        parameters.map_err(|_| wrong("Only after and limit are known, and limit is a number."))?;
    let limit = page_limit(limit)?;
    let after = after.map(|id| id.parse()).transpose().map_err(|_| wrong("after must be a user's id."))?;
    let users = parts.auth.users(after, limit).await?;
    let full = users.len() == limit as usize;
    let next = users.last().filter(|_| full).map(|user: &User| user.id.to_string());
    Ok(json(StatusCode::OK, &UsersView { users: users.iter().map(AdminUserView::of).collect(), next }))
}
