//! Which route a path is, and the route's answer. One file for each subject.

mod jwks;
mod sessions;
mod sign_in;
mod users;

use http::Method;

use super::Shared;
use super::errors::Failure;
use super::faults::Route;
use super::forgery::attacker_jwks;
use super::reply::Reply;
use super::request::Incoming;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A route without a parameter.
    Fixed(Route),
    /// The key set of this project.
    Jwks(String),
    /// The redirect to the key set of this project.
    JwksAlias(String),
    /// This session.
    DeleteSession(String),
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// Nothing.
    NotFound,
}

impl Target {
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Fixed(route) => *route,
            Self::Jwks(_) => Route::Jwks,
            Self::JwksAlias(_) => Route::JwksAlias,
            Self::DeleteSession(_) => Route::DeleteSession,
            Self::MethodNotAllowed | Self::NotFound => Route::Unknown,
        }
    }
}

/// What a request with this method and path is for.
pub(super) fn target(method: &Method, path: &str) -> Target {
    if path == "/attacker/jwks.json" {
        return Target::Fixed(Route::AttackerJwks);
    }
    let Some(path) = path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/api/latest/")) else {
        return Target::NotFound;
    };
    let segments: Vec<&str> = path.split('/').collect();
    let (target, needed) = match segments.as_slice() {
        ["projects", project, ".well-known", "jwks.json"] => {
            (Target::Jwks((*project).to_owned()), Method::GET)
        }
        ["projects-anonymous-users", project, ".well-known", "jwks.json"] => {
            (Target::JwksAlias((*project).to_owned()), Method::GET)
        }
        ["users", "me"] => (Target::Fixed(Route::UsersMe), Method::GET),
        ["auth", "oauth", "token"] => (Target::Fixed(Route::OauthToken), Method::POST),
        ["auth", "password", "sign-in"] => (Target::Fixed(Route::PasswordSignIn), Method::POST),
        ["auth", "sessions"] if method == Method::POST => (Target::Fixed(Route::CreateSession), Method::POST),
        ["auth", "sessions"] => (Target::Fixed(Route::ListSessions), Method::GET),
        ["auth", "sessions", "current"] => (Target::Fixed(Route::DeleteCurrentSession), Method::DELETE),
        ["auth", "sessions", "current", "refresh"] => (Target::Fixed(Route::RefreshSession), Method::POST),
        ["auth", "sessions", id] => (Target::DeleteSession((*id).to_owned()), Method::DELETE),
        _ => return Target::NotFound,
    };
    if method == needed { target } else { Target::MethodNotAllowed }
}

/// The answer of `target`.
pub(super) fn dispatch(shared: &Shared, target: &Target, request: &Incoming) -> Result<Reply, Failure> {
    match target {
        Target::Jwks(project) => jwks::get(shared, project, request),
        Target::JwksAlias(project) => Ok(jwks::alias(shared, project)),
        Target::DeleteSession(id) => sessions::delete(shared, id, request),
        Target::MethodNotAllowed => Err(Failure::Plain(405, "Method not allowed")),
        Target::NotFound => Err(Failure::Plain(404, "Not found")),
        Target::Fixed(route) => match route {
            Route::UsersMe => users::me(shared, request),
            Route::RefreshSession => sign_in::refresh(shared, request),
            Route::OauthToken => sign_in::oauth_token(shared, request),
            Route::PasswordSignIn => sign_in::password(shared, request),
            Route::DeleteCurrentSession => sessions::delete_current(shared, request),
            Route::ListSessions => sessions::list(shared, request),
            Route::CreateSession => sessions::create(shared, request),
            Route::AttackerJwks => Ok(Reply::json(&attacker_jwks())),
            Route::Jwks | Route::JwksAlias | Route::DeleteSession | Route::Unknown => {
                Err(Failure::Plain(404, "Not found"))
            }
        },
    }
}
