//! `POST /api/auth/refresh`

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::SessionToken;
use phoenix_auth::ops::Rejection;

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
    // Who must sign in again on this device gets no new token there; every other verdict is the store's to give.
    if matches!(identity, Identity::Rejected(Rejection::Reauthenticate)) {
        return Err(Kind::Reauthenticate.into());
    }
    let provider = parts.settings.provider.as_ref();
    let presented = match Presented::find(request.headers(), context.cookie_form, provider) {
        Presented::Token(text, carrier) => SessionToken::parse(&text).map(|token| (token, carrier)),
        Presented::None | Presented::Malformed | Presented::Ambiguous => None,
    };
    let Some((token, carrier)) = presented else {
        return Err(match identity.required() {
            Ok((caller, _)) if caller.active.session.provider.is_external() => Kind::ExternalSession.into(),
            Ok(_) => Kind::MalformedToken.into(),
            Err(problem) => problem,
        });
    };
    let signed = parts.auth.refresh(&token, &context.client).await?;
    Ok(signed_in(&parts, StatusCode::OK, &signed, carrier.into(), context.cookie_form))
}
