//! Sessions: create, list, delete, and sign out.

use serde_json::{Value, json};

use super::super::Shared;
use super::super::encoding::is_uuid;
use super::super::errors::{self, Failure};
use super::super::reply::Reply;
use super::super::request::{AccessType, Auth, Incoming, parse_auth};
use super::super::state::{SESSION_LIFETIME_MS, Session};

/// Longest life of a session: 367 days.
const MOST_LIFETIME_MS: i64 = 367 * 24 * 60 * 60 * 1000;

/// `POST /auth/sessions`.
pub(super) fn create(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let body = request.object()?;
    let auth = parse_auth(shared, request)?;
    if auth.access == AccessType::Client {
        return Err(errors::insufficient_access_type("client", &["server", "admin"]));
    }
    let user = user_id(&auth, body.get("user_id").and_then(Value::as_str))?;
    let lifetime_ms = match body.get("expires_in_millis") {
        None => SESSION_LIFETIME_MS,
        Some(value) => value
            .as_i64()
            .filter(|millis| *millis <= MOST_LIFETIME_MS)
            .ok_or_else(|| errors::schema("body.expires_in_millis must be at most 367 days"))?,
    };
    let is_impersonation = body.get("is_impersonation").and_then(Value::as_bool).unwrap_or(false);
    let session = {
        let mut state = shared.state();
        let tenancy =
            state.tenancy_mut(&auth.project).ok_or_else(|| errors::project_not_found(&auth.project))?;
        tenancy.create_session(&user, shared.now_s(), lifetime_ms, is_impersonation)
    };
    let session = session.ok_or_else(|| errors::user_id_does_not_exist(&user))?;
    let access =
        shared.access_token(&auth.project, &session).ok_or_else(|| errors::user_id_does_not_exist(&user))?;
    Ok(Reply::json(&json!({ "refresh_token": session.refresh_token, "access_token": access })))
}

/// `GET /auth/sessions?user_id=`. Sessions of administrators who act as the user are shown to administrators only;
/// expired sessions are shown to everybody.
pub(super) fn list(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let auth = parse_auth(shared, request)?;
    let user = user_id(&auth, request.query("user_id"))?;
    if auth.access == AccessType::Client {
        let own = auth.user.as_ref().ok_or_else(errors::no_own_user)?;
        if own.id != user {
            return Err(Failure::Plain(403, "Client can only list sessions for their own user."));
        }
    }
    let state = shared.state();
    let sessions = state.tenancy(&auth.project).map(|tenancy| tenancy.sessions_of(&user)).unwrap_or_default();
    let shown = |session: &&Session| !session.is_impersonation || auth.access == AccessType::Admin;
    let items: Vec<Value> = sessions.iter().filter(shown).map(|session| item(session, &auth)).collect();
    Ok(Reply::json(&json!({ "items": items, "is_paginated": false })))
}

fn item(session: &Session, auth: &Auth) -> Value {
    json!({
        "id": session.id,
        "user_id": session.user_id,
        "created_at": session.created_at_ms,
        "last_used_at": session.last_used_at_ms,
        "is_impersonation": session.is_impersonation,
        "is_current_session": auth.session.as_ref() == Some(&session.id),
        "last_used_at_end_user_ip_info": {
            "ip": "127.0.0.1", "countryCode": "DE", "regionCode": "BE", "cityName": "Berlin",
            "latitude": 52.52, "longitude": 13.405, "tzIdentifier": "Europe/Berlin",
        },
    })
}

/// `DELETE /auth/sessions/{id}?user_id=`.
pub(super) fn delete(shared: &Shared, id: &str, request: &Incoming) -> Result<Reply, Failure> {
    let auth = parse_auth(shared, request)?;
    if !is_uuid(id) {
        return Err(errors::schema("params.id must be a valid UUID"));
    }
    user_id(&auth, request.query("user_id"))?;
    let mut state = shared.state();
    let tenancy = state.tenancy_mut(&auth.project).ok_or_else(|| errors::project_not_found(&auth.project))?;
    let own = auth.user.as_ref().map(|user| &user.id);
    let may = |session: &Session| auth.access > AccessType::Client || own == Some(&session.user_id);
    if !tenancy.session(id).is_some_and(may) {
        return Err(Failure::Plain(404, "Session not found."));
    }
    if auth.session.as_deref() == Some(id) {
        return Err(errors::cannot_delete_current_session());
    }
    tenancy.delete_session(id);
    Ok(Reply::success())
}

/// `DELETE /auth/sessions/current`: ends the session that the access token names.
pub(super) fn delete_current(shared: &Shared, request: &Incoming) -> Result<Reply, Failure> {
    let auth = parse_auth(shared, request)?;
    let now_s = shared.now_s();
    let session = auth.session.ok_or_else(|| errors::access_token_expired(now_s, &auth.project, "", ""))?;
    let mut state = shared.state();
    let is_deleted = state.tenancy_mut(&auth.project).is_some_and(|tenancy| tenancy.delete_session(&session));
    if is_deleted { Ok(Reply::success()) } else { Err(errors::refresh_token_not_found()) }
}

/// The user that a `user_id` means.
fn user_id(auth: &Auth, given: Option<&str>) -> Result<String, Failure> {
    match given {
        Some("me") => auth.user.as_ref().map(|user| user.id.clone()).ok_or_else(errors::no_own_user),
        Some(id) if is_uuid(id) => Ok(id.to_owned()),
        Some(_) => Err(errors::schema("user_id must be a valid UUID")),
        None => Err(errors::schema("user_id must be defined")),
    }
}
