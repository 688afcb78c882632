//! `GET /api/phoenix/openapi.json`

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

/// This description.
#[utoipa::path(get, path = "/api/phoenix/openapi.json", tag = "phoenix", responses((status = 200, body = Object)))]
pub(crate) async fn handle() -> Response {
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, crate::openapi::json()).into_response()
}
