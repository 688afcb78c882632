//! `POST /api/phoenix/webhooks/stack`

use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;

use crate::extract::read_body;
use crate::problem::{Kind, Problem};
use crate::routes::auth::done;
use crate::settings::HttpParts;
use crate::webhooks::{Delivery, WebhookError};

/// Longest body in bytes. A user's event is a few kilobytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Take an event of Stack Auth: users that were changed or deleted there. Signed as Svix and Standard Webhooks do.
#[utoipa::path(post, path = "/api/phoenix/webhooks/stack", tag = "phoenix",
    request_body(content = Object, content_type = "application/json"),
    params(("svix-id" = String, Header), ("svix-timestamp" = String, Header), ("svix-signature" = String, Header)),
    responses((status = 200, body = crate::routes::auth::DoneView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(State(parts): State<HttpParts>, request: Request) -> Result<Response, Problem> {
    let Some(webhooks) = &parts.webhooks else { return Err(Kind::NotFound.into()) };
    let headers = request.headers().clone();
    let header = |name| header(&headers, name).ok_or_else(|| Problem::from(Kind::InvalidSignature));
    let (id, timestamp, signatures) = (header("id")?, header("timestamp")?, header("signature")?);
    let body = read_body(request, MAX_BODY_BYTES, parts.settings.body_timeout).await?;
    let delivery = Delivery { id, timestamp, signatures, body: &body };
    match webhooks.take(delivery).await {
        Ok(_taken_or_repeated) => Ok(done()),
        Err(WebhookError::Signature) => Err(Kind::InvalidSignature.into()),
        Err(WebhookError::Body) => Err(Kind::InvalidJson.into()),
        Err(WebhookError::Failed(error)) => Err(error.into()),
    }
}

/// Both spellings: Svix' own, and that of Standard Webhooks.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let find = |family: &str| headers.get(format!("{family}-{name}")).and_then(|value| value.to_str().ok());
    find("svix").or_else(|| find("webhook"))
}
