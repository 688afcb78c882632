//! `POST /api/auth/logout`, and its alias `signout`

use axum::extract::State;
use axum::response::Response;

use super::{done, set_cookie};
use crate::credentials::Carrier;
use crate::extract::{Caller, RequestContext};
use crate::problem::Problem;
use crate::settings::HttpParts;

/// End the session of this request. `POST /api/auth/signout` is the same.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth",
    responses((status = 200, body = super::DoneView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    Caller(caller, carrier): Caller,
) -> Result<Response, Problem> {
    parts.auth.logout(&caller).await?;
    let mut response = done();
    if carrier == Carrier::Cookie {
        set_cookie(&mut response, context.cookie_form.clear());
    }
    Ok(response)
}
