//! `GET /api/phoenix/status`

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::{Identity, RequestContext};
use crate::introspection::{StatusReport, SystemStatus};
use crate::routes::auth::json;
use crate::settings::HttpParts;

/// What everybody may know.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShortStatus {
    /// In one word.
    status: SystemStatus,
    /// Version of the binary.
    version: &'static str,
}

/// How the server does: in one word for everybody, in full for administrators.
#[utoipa::path(get, path = "/api/phoenix/status", tag = "phoenix",
    responses((status = 200, description = "For administrators; others see status and version only.", body = StatusReport)))]
pub(crate) async fn handle(
    State(parts): State<HttpParts>,
    context: RequestContext,
    identity: Identity,
) -> Response {
    match identity {
        Identity::Known(caller, _)
            if caller.active.user.role.is_admin() && context.may_administrate(&parts) =>
        {
            json(StatusCode::OK, &parts.introspection.report().await)
        }
        Identity::Known(..) | Identity::Anonymous | Identity::Rejected(_) => {
            let status = parts.introspection.system_status();
            json(StatusCode::OK, &ShortStatus { status, version: parts.settings.version })
        }
    }
}
