//! `GET /healthz`

/// The process answers. Says nothing of its dependencies.
#[utoipa::path(get, path = "/healthz", tag = "phoenix", responses((status = 200, body = String)))]
pub(crate) async fn handle() -> &'static str {
    "ok\n"
}
