//! `POST /api/auth/register`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::Profile;
use phoenix_auth::ops::RegisterRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Transport, mark_device, signed_in};
use crate::extract::{Json, RequestContext};
use crate::problem::Problem;
use crate::settings::HttpParts;

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// At most 254 bytes. Unique regardless of case.
    email: String,
    /// At most 256 characters; at least 15 unless configured otherwise; not a common one.
    password: String,
    /// Name to show.
    username: Option<String>,
    /// Given name.
    first_name: Option<String>,
    /// Family name.
    last_name: Option<String>,
    /// `https` address of a picture.
    image_url: Option<String>,
    /// IANA time zone.
    timezone: Option<String>,
    /// BCP 47 language tag.
    locale: Option<String>,
    /// How the token is handed over.
    #[serde(default)]
    transport: Transport,
}

/// Make an account and sign in.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = Body,
    responses((status = 201, body = super::SignedInView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let Body { email, password, username, first_name, last_name, image_url, timezone, locale, transport } =
        body;
    let profile = Profile { username, first_name, last_name, image_url, timezone, locale };
    let request = RegisterRequest { email, password, profile, client: context.client };
    let signed = parts.auth.register(request).await?;
    let mut response = signed_in(&parts, StatusCode::CREATED, &signed, transport, context.cookie_form);
    mark_device(&parts, &mut response, &signed, transport, context.cookie_form);
    Ok(response)
}
