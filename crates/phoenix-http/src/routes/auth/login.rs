//! `POST /api/auth/login`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::ops::LoginRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Transport, signed_in};
use crate::extract::{Identity, Json, RequestContext};
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
    let signed = parts.auth.login(LoginRequest { email, password, client: context.client, replaces }).await?;
    let limits = parts.auth.policy().sessions.of(&signed.active.user.role);
    Ok(signed_in(StatusCode::OK, &signed, transport, context.cookie_form, limits))
}
