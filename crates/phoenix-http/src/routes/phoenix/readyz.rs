//! `GET /readyz`

use axum::extract::State;
use http::StatusCode;

use crate::introspection::NotReady;
use crate::settings::HttpParts;

/// Whether requests should be sent here: 200, or 503 while shutting down or without a database.
#[utoipa::path(get, path = "/readyz", tag = "phoenix",
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(crate) async fn handle(State(parts): State<HttpParts>) -> (StatusCode, &'static str) {
    match parts.introspection.readiness().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(NotReady::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        Err(NotReady::Database) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
