//! `DELETE /api/auth/sessions?scope=others|all`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{ended, set_cookie};
use crate::credentials::Carrier;
use crate::extract::{Caller, RequestContext};
use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

/// Which sessions end.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// All but the one of this request.
    Others,
    /// All.
    All,
}

/// Query of the request. The scope has no default: ending sessions is said, not guessed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Which sessions end.
    scope: Scope,
}

/// End one's other sessions, or all of them.
#[utoipa::path(delete, path = "/api/auth/sessions", tag = "auth", params(Parameters),
    responses((status = 200, body = super::EndedView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    Caller(caller, carrier): Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Parameters { scope }) = parameters.map_err(|_| {
        Problem::new(Kind::InvalidParameter).detail("Say which: ?scope=others or ?scope=all.")
    })?;
    match scope {
        Scope::Others => Ok(ended(parts.auth.end_other_sessions(&caller).await?)),
        Scope::All => {
            let mut response = ended(parts.auth.end_all_sessions(caller.active.user.id).await?);
            if carrier == Carrier::Cookie {
                set_cookie(&mut response, context.cookie_form.clear());
            }
            Ok(response)
        }
    }
}
