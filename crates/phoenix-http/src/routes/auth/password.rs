//! `POST /api/auth/password`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::ops::PasswordRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::signed_in;
use crate::extract::{Caller, Json, RequestContext};
use crate::limits::{self, sign_in};
use crate::problem::Problem;
use crate::settings::HttpParts;

/// A change of password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// The password in use.
    current_password: String,
    /// The one to be used.
    new_password: String,
}

/// Change the password. Every session of the user ends; this client goes on with a new one.
#[utoipa::path(post, path = "/api/auth/password", tag = "auth", request_body = Body,
    responses((status = 200, body = super::SignedInView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    Caller(caller, carrier): Caller,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let request =
        PasswordRequest { current: body.current_password, new: body.new_password, client: context.client };
    let attempt = sign_in::begin_again(&parts, &request.client, caller.active.user.id).await?;
    let outcome = parts.auth.change_password(&caller, request).await;
    let (signed, told) = attempt.settle(outcome).await?;
    let mut response = signed_in(&parts, StatusCode::OK, &signed, carrier.into(), context.cookie_form);
    limits::tell(told, &mut response);
    Ok(response)
}
