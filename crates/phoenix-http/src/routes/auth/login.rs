//! `POST /api/auth/login`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::Email;
use phoenix_auth::ops::LoginRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Transport, mark_device, signed_in};
use crate::extract::{Identity, Json, RequestContext};
use crate::limits::{self, sign_in};
use crate::problem::Problem;
use crate::settings::HttpParts;

/// Credentials.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// Address of the account, in any case.
    email: String,
    /// Its password.
    password: String,
    /// How the token is handed over.
    #[serde(default)]
    transport: Transport,
}

/// Sign in. The session this request came with, if any, ends.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = Body,
    responses((status = 200, body = super::SignedInView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    identity: Identity,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let replaces = match identity {
        // A session of an outside provider is not ours to replace.
        Identity::Known(caller, _) if !caller.active.session.provider.is_external() => {
            Some(caller.active.session.id)
        }
        Identity::Known(..) | Identity::Anonymous | Identity::Rejected(_) => None,
    };
    let Body { email, password, transport } = body;
    let account = Email::parse(&email).ok();
    let attempt = sign_in::begin(&parts, &context, account.as_ref()).await?;
    let request = LoginRequest { email, password, client: context.client, replaces };
    let outcome = if attempt.is_decoy() {
        parts.auth.refuse_login(request).await
    } else {
        parts.auth.login(request).await
    };
    let (signed, told) = attempt.settle(outcome).await?;
    let mut response = signed_in(&parts, StatusCode::OK, &signed, transport, context.cookie_form);
    mark_device(&parts, &mut response, &signed, transport, context.cookie_form);
    limits::tell(told, &mut response);
    Ok(response)
}
