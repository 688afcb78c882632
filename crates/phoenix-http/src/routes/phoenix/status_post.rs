//! `POST /api/phoenix/status`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Administrator, Json};
use crate::problem::Problem;
use crate::routes::auth::json;
use crate::routes::subject::subject;
use crate::settings::HttpParts;

/// The actions there are.
const ACTIONS: [&str; 1] = [RESET_RATE_LIMITS];
const RESET_RATE_LIMITS: &str = "reset_rate_limits";

/// What to do.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// `reset_rate_limits`: forget what was counted and end the blocks, of one client or of everybody.
    action: String,
    /// Only of the client with this IPv4 or IPv6 address.
    address: Option<String>,
    /// Only of this user.
    #[schema(value_type = Option<uuid::Uuid>)]
    user_id: Option<String>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActionView {
    /// Always true.
    success: bool,
    /// The action.
    action: &'static str,
    /// How many blocks ended.
    lifted_blocks: u64,
}

/// Do something about the server as a whole.
#[utoipa::path(post, path = "/api/phoenix/status", tag = "phoenix", request_body = Body,
    responses((status = 200, body = ActionView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    if body.action != RESET_RATE_LIMITS {
        return Err(Problem::field("action", format!("Must be {}.", ACTIONS.join(" or "))));
    }
    let subject = subject(&parts.auth, body.address.as_deref(), body.user_id.as_deref()).await?;
    let lifted_blocks = parts.limit_admin.reset(subject).await?;
    Ok(json(StatusCode::OK, &ActionView { success: true, action: RESET_RATE_LIMITS, lifted_blocks }))
}
