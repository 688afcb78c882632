//! The published keys of a project.

use http::header;
use serde_json::json;

use super::super::Shared;
use super::super::errors::Failure;
use super::super::faults::JwksMode;
use super::super::keys::UserType;
use super::super::reply::Reply;
use super::super::request::Incoming;

/// `GET /projects/{id}/.well-known/jwks.json`.
pub(super) fn get(shared: &Shared, project: &str, request: &Incoming) -> Result<Reply, Failure> {
    let asks = |name: &str| request.query(name) == Some("true");
    let types = match (asks("include_anonymous"), asks("include_restricted")) {
        (true, _) => &UserType::ALL[..],
        (false, true) => &UserType::ALL[..2],
        (false, false) => &UserType::ALL[..1],
    };
    let mut state = shared.state();
    if state.tenancy(project).is_none() {
        return Err(Failure::Plain(404, "Project not found"));
    }
    let mut body = json!({ "keys": state.jwks(project, types) });
    if let JwksMode::Oversized(bytes) = state.jwks {
        body["padding"] = json!("x".repeat(bytes));
    }
    Ok(Reply::json(&body).with(header::CACHE_CONTROL, "public, max-age=3600"))
}

/// `GET /projects-anonymous-users/{id}/.well-known/jwks.json`: the issuer of anonymous users, with the path that is
/// usual for key sets, leads to the set that has their keys.
pub(super) fn alias(shared: &Shared, project: &str) -> Reply {
    let url = &shared.own_url;
    let target = format!("{url}/api/v1/projects/{project}/.well-known/jwks.json?include_anonymous=true");
    Reply::text(307, "").with(header::LOCATION, &target)
}
