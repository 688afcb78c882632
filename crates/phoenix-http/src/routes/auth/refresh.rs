//! `POST /api/auth/refresh`

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::SessionToken;

use super::signed_in;
use crate::credentials::Presented;
use crate::extract::{Identity, RequestContext};
use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

/// Replace the session's token. Requests that race with the same token are all handed the same new one.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth",
    responses((status = 200, body = super::SignedInView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    identity: Identity,
    request: Request,
) -> Result<Response, Problem> {
    let presented = match Presented::find(request.headers(), context.cookie_form) {
        Presented::Token(text, carrier) => SessionToken::parse(text).map(|token| (token, carrier)),
        Presented::None | Presented::Malformed | Presented::Ambiguous => None,
    };
    let Some((token, carrier)) = presented else {
        return Err(identity.required().err().unwrap_or_else(|| Kind::MalformedToken.into()));
    };
    let signed = parts.auth.refresh(&token).await?;
    let limits = &parts.auth.policy().sessions;
    Ok(signed_in(StatusCode::OK, &signed, carrier.into(), context.cookie_form, limits))
}
