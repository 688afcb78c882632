//! `/api/admin/*`: what an administrator may do.

pub(crate) mod block_add;
pub(crate) mod block_lift;
pub(crate) mod blocks_list;
pub(crate) mod events_list;
pub(crate) mod sessions_end;
pub(crate) mod sessions_list;
pub(crate) mod user_events;
pub(crate) mod user_get;
pub(crate) mod user_patch;
pub(crate) mod user_session_end;
pub(crate) mod users_list;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use phoenix_auth::model::UserId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::json::AdminUserView;
use crate::problem::{Kind, Problem};

/// One user.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneUserView<'a> {
    /// The user.
    user: AdminUserView<'a>,
}

/// A path's user id; what is no UUID names nobody.
fn user_id(id: Result<Path<String>, PathRejection>) -> Result<UserId, Problem> {
    id?.parse().map_err(|_| Kind::NotFound.into())
}
