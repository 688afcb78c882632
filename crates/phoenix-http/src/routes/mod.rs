//! The routes: one file per operation. A handler extracts, calls one use case, and maps.

mod admin;
mod auth;
mod events;
mod phoenix;
mod subject;

use axum::Extension;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::HeaderMap;
use http::header::ALLOW;

use crate::problem::{Kind, Problem};
use crate::settings::HttpParts;

pub(crate) use self::admin::{
    block_add, block_lift, blocks_list, events_list, sessions_end, sessions_list, user_events, user_get,
    user_patch, user_session_end, users_list,
};
pub(crate) use self::auth::{
    login, logout, me, own_events, own_session_end, own_sessions_end, own_sessions_list, password, refresh,
    register,
};
pub(crate) use self::phoenix::{healthz, jwks, openapi, readyz, stack_webhook, status, status_post, whoami};

/// Path of the hot route.
pub(crate) const ME: &str = "/api/auth/me";
/// Paths of the routes that look at a password.
pub(crate) const LOGIN: &str = "/api/auth/login";
pub(crate) const PASSWORD: &str = "/api/auth/password";

/// The route a path belongs to, for logs and metrics: never what the client wrote (invariant 11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Template(&'static str);

impl Template {
    pub(crate) const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether a session means anything to the route.
    pub(crate) fn uses_sessions(self) -> bool {
        self.0.starts_with("/api/") && self.0 != "/api/phoenix/webhooks/stack"
    }

    /// Whether the route looks at a password, and has its own gate before that.
    pub(crate) fn looks_at_passwords(self) -> bool {
        matches!(self.0, LOGIN | PASSWORD)
    }

    /// Whether the route opens a session for a caller who may have none.
    pub(crate) fn opens_sessions(self) -> bool {
        matches!(self.0, "/api/auth/login" | "/api/auth/register")
    }
}

/// The template of a path.
pub(crate) fn template(path: &str) -> Template {
    const FIXED: [&str; 21] = [
        "/api/auth/register",
        "/api/auth/login",
        "/api/auth/logout",
        "/api/auth/signout",
        "/api/auth/password",
        "/api/auth/refresh",
        "/api/auth/me",
        "/api/auth/sessions",
        "/api/auth/security-events",
        "/api/admin/users",
        "/api/admin/security-events",
        "/api/admin/blocks",
        "/api/phoenix/webhooks/stack",
        "/api/phoenix/status",
        "/api/phoenix/whoami",
        "/api/phoenix/openapi.json",
        "/.well-known/jwks.json",
        "/healthz",
        "/readyz",
        "/api/auth/sessions/{id}",
        "/api/admin/users/{id}",
    ];
    if let Some(fixed) = FIXED.iter().find(|fixed| **fixed == path) {
        return Template(fixed);
    }
    let mut parts = path.strip_prefix("/api/").unwrap_or("").split('/');
    let shape = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
    Template(match shape {
        [Some("auth"), Some("sessions"), Some(_), None, ..] => "/api/auth/sessions/{id}",
        [Some("admin"), Some("blocks"), Some(_), None, ..] => "/api/admin/blocks/{id}",
        [Some("admin"), Some("users"), Some(_), None, ..] => "/api/admin/users/{id}",
        [Some("admin"), Some("users"), Some(_), Some("sessions"), None, _] => {
            "/api/admin/users/{id}/sessions"
        }
        [Some("admin"), Some("users"), Some(_), Some("security-events"), None, _] => {
            "/api/admin/users/{id}/security-events"
        }
        [Some("admin"), Some("users"), Some(_), Some("sessions"), Some(_), None] => {
            "/api/admin/users/{id}/sessions/{sessionId}"
        }
        _ => "other",
    })
}

/// All routes.
pub(crate) fn router(parts: HttpParts) -> Router {
    Router::new()
        .route("/api/auth/register", post(register::handle))
        .route("/api/auth/login", post(login::handle))
        .route("/api/auth/logout", post(logout::handle))
        .route("/api/auth/signout", post(logout::handle))
        .route("/api/auth/password", post(password::handle))
        .route("/api/auth/refresh", post(refresh::handle))
        .route(ME, get(me::handle))
        .route("/api/auth/sessions", get(own_sessions_list::handle).delete(own_sessions_end::handle))
        .route("/api/auth/sessions/{id}", delete(own_session_end::handle))
        .route("/api/auth/security-events", get(own_events::handle))
        .route("/api/admin/security-events", get(events_list::handle))
        .route("/api/admin/users/{id}/security-events", get(user_events::handle))
        .route("/api/phoenix/webhooks/stack", post(stack_webhook::handle))
        .route("/api/admin/users", get(users_list::handle))
        .route("/api/admin/users/{id}", get(user_get::handle).patch(user_patch::handle))
        .route("/api/admin/users/{id}/sessions", get(sessions_list::handle).delete(sessions_end::handle))
        .route("/api/admin/users/{id}/sessions/{sessionId}", delete(user_session_end::handle))
        .route("/api/admin/blocks", get(blocks_list::handle).post(block_add::handle))
        .route("/api/admin/blocks/{id}", delete(block_lift::handle))
        .route("/api/phoenix/status", get(status::handle).post(status_post::handle))
        .route("/api/phoenix/whoami", get(whoami::handle))
        .route("/api/phoenix/openapi.json", get(openapi::handle))
        .route("/.well-known/jwks.json", get(jwks::handle))
        .route("/healthz", get(healthz::handle))
        .route("/readyz", get(readyz::handle))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        .with_state(parts)
}

/// In the extensions of an answer: no route took the request, so nobody looked at what was in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRoute;

/// Entries of a page, if a request does not say how many.
const DEFAULT_PAGE: u32 = 50;
/// Most entries of a page.
const MAX_PAGE: u32 = 200;

/// The length of a page that a list is asked for.
fn page_limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::new(Kind::InvalidParameter).detail("limit must be 1 to 200."))
    }
}

async fn nothing_here() -> (Extension<NoRoute>, Problem) {
    (Extension(NoRoute), Kind::NotFound.into())
}

async fn wrong_method(headers: HeaderMap) -> Response {
    // The router adds `Allow` itself to whatever this returns.
    let problem = Problem::from(Kind::MethodNotAllowed).allow(headers.get(ALLOW).cloned());
    (Extension(NoRoute), problem).into_response()
}

impl From<PathRejection> for Problem {
    fn from(_cause: PathRejection) -> Self {
        Kind::NotFound.into()
    }
}

impl From<QueryRejection> for Problem {
    fn from(_cause: QueryRejection) -> Self {
        Kind::InvalidParameter.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_never_repeat_what_the_client_wrote() {
        assert_eq!(template("/api/auth/me").as_str(), "/api/auth/me");
        assert_eq!(template("/api/admin/blocks/0198").as_str(), "/api/admin/blocks/{id}");
        assert_eq!(template("/api/auth/sessions/0198").as_str(), "/api/auth/sessions/{id}");
        assert_eq!(
            template("/api/admin/users/1/sessions/2").as_str(),
            "/api/admin/users/{id}/sessions/{sessionId}"
        );
        for path in [
            "/api/auth/me/x",
            "/../etc/passwd",
            "",
            "/api/admin/users/1/sessions/2/3",
            "/api/admin/blocks/1/2",
            "/api/auth/me?x",
        ] {
            assert_eq!(template(path).as_str(), "other", "{path}");
        }
    }
}
