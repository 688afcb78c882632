//! Ways to an access token: a refresh token, in two forms, and a password.

use http::header;
use serde_json::{Value, json};

use super::super::Shared;
use super::super::encoding::refresh_token as random_code;
use super::super::errors::{self, Failure};
use super::super::reply::Reply;
use super::super::request::{Incoming, parse_auth};
use super::super::state::SESSION_LIFETIME_MS;
use super::super::token::ACCESS_TOKEN_LIFETIME_S;

/// The client secret of a project that does not require the publishable key.
const PUBLIC_CLIENT: &str = "__stack_public_client__";

/// `POST /auth/sessions/current/refresh`.
pub(super) fn refresh(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let auth = parse_auth(shared, request)?;
    let token = request.header("refresh-token");
    let token = token.ok_or_else(|| errors::schema("headers.x-stack-refresh-token must be defined"))?;
    let access = exchange(shared, &auth.project, token)?;
    Ok(Reply::json(&json!({ "access_token": access })))
}

/// `POST /auth/oauth/token` with `grant_type=refresh_token`. The refresh token stays the same.
pub(super) fn oauth_token(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let form = request.object()?;
    let text = |name: &str| form.get(name).and_then(Value::as_str);
    if text("grant_type") != Some("refresh_token") {
        return Err(errors::schema("body.grant_type must be one of the following values: refresh_token"));
    }
    let client = text("client_id");
    let invalid_client = || errors::invalid_oauth_client(client);
    // A branch may follow the id.
    let project = client.and_then(|client| client.split('#').next()).ok_or_else(invalid_client)?;
    let known =
        shared.state().tenancy(project).map(|tenancy| tenancy.project.clone()).ok_or_else(invalid_client)?;
    match text("client_secret") {
        Some(PUBLIC_CLIENT) if !known.requires_publishable_client_key => {}
        Some(key) if key == known.publishable_client_key => {}
        None | Some(PUBLIC_CLIENT) => return Err(errors::publishable_key_required(project)),
        Some(_) => return Err(invalid_client()),
    }
    let token = text("refresh_token").ok_or_else(errors::refresh_token_not_found)?;
    let access = exchange(shared, project, token)?;
    let body = json!({
        "access_token": access,
        "refresh_token": token,
        "token_type": "Bearer",
        "expires_in": ACCESS_TOKEN_LIFETIME_S,
        "scope": "legacy",
        "is_new_user": false,
    });
    Ok(Reply::json(&body).with(header::PRAGMA, "no-cache"))
}

fn exchange(shared: &Shared, project: &str, refresh_token: &str) -> Result<String, Failure> {
    let session = {
        let mut state = shared.state();
        state.tenancy_mut(project).and_then(|tenancy| tenancy.refresh(refresh_token, shared.now_s()))
    };
    let access = session.and_then(|session| shared.access_token(project, &session));
    access.ok_or_else(errors::refresh_token_not_found)
}

/// `POST /auth/password/sign-in`.
pub(super) fn password(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let body = request.object()?;
    let auth = parse_auth(shared, request)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(email), Some(password)) = (text("email"), text("password")) else {
        return Err(errors::schema("body.email and body.password must be defined"));
    };
    let session = {
        let mut state = shared.state();
        let tenancy =
            state.tenancy_mut(&auth.project).ok_or_else(|| errors::project_not_found(&auth.project))?;
        let user = tenancy.user_by_email(email).filter(|user| user.password.as_deref() == Some(password));
        let user = user.cloned().ok_or_else(errors::email_password_mismatch)?;
        if user.requires_mfa {
            return Err(errors::mfa_required(&random_code()));
        }
        tenancy.create_session(&user.id, shared.now_s(), SESSION_LIFETIME_MS, false)
    };
    let session = session.ok_or_else(errors::email_password_mismatch)?;
    let access = shared.access_token(&auth.project, &session).ok_or_else(errors::email_password_mismatch)?;
    let body = json!({
        "access_token": access, "refresh_token": session.refresh_token, "user_id": session.user_id,
    });
    Ok(Reply::json(&body))
}
