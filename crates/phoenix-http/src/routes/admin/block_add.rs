//! `POST /api/admin/blocks`

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::AuthError;
use phoenix_auth::error::FieldError;
use phoenix_auth::model::{MAX_BLOCK_REASON_BYTES, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Administrator, Caller, Json, RequestContext};
use crate::json::BlockView;
use crate::limit_admin::{LimitAdminError, LimitSubject, WantedBlock};
use crate::limits::LimitedAddress;
use crate::problem::Problem;
use crate::routes::auth::json;
use crate::routes::subject::subject;
use crate::settings::HttpParts;

/// Longest block in seconds: 31 days.
const MAX_SECONDS: u64 = 31 * 24 * 3600;

const NO_SUBJECT: &str = "Give an address or a userId.";

/// Whom to block, and for how long. Exactly one of `address` and `userId`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// IPv4 or IPv6 address of a client.
    address: Option<String>,
    /// Id of a user, where they are signed in.
    #[schema(value_type = Option<uuid::Uuid>)]
    user_id: Option<String>,
    /// Class of endpoints; all that count such clients if absent.
    class: Option<String>,
    /// How long from now, 1 to 2678400 (31 days).
    // Without it 0, which is refused by name.
    #[serde(default)]
    #[schema(required = true)]
    seconds: u64,
    /// For other administrators, at most 200 bytes.
    reason: Option<String>,
}

/// The blocks that were made.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlocksMadeView<'a> {
    /// One for each class that is meant.
    blocks: Vec<BlockView<'a>>,
}

/// Block a client. Takes the place of blocks of the same client that run.
#[utoipa::path(post, path = "/api/admin/blocks", tag = "admin", request_body = Body,
    responses((status = 201, body = BlocksMadeView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    Caller(caller, _): Caller,
    State(parts): State<HttpParts>,
    context: RequestContext,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let limits = &parts.limit_admin;
    check(&body, &limits.classes())?;
    let by = caller.active.user.id;
    let subject = subject(&parts.auth, body.address.as_deref(), body.user_id.as_deref()).await?;
    let subject = subject.ok_or_else(|| Problem::field("address", NO_SUBJECT))?;
    let prefix = parts.limits.rules().load().options().ipv6_prefix;
    let own = context.client.ip.map(|ip| LimitedAddress::of(ip, prefix));
    not_oneself(subject, by, |address| own == Some(LimitedAddress::of(address, prefix)))?;
    let wanted = WantedBlock {
        subject,
        class: body.class,
        length: Duration::from_secs(body.seconds),
        reason: body.reason.unwrap_or_default(),
        by,
    };
    let blocks = limits.block(&wanted).await.map_err(|error| match error {
        LimitAdminError::NotCounted => not_counted(subject),
        LimitAdminError::Store(error) => error.into(),
    })?;
    Ok(json(StatusCode::CREATED, &BlocksMadeView { blocks: blocks.iter().map(BlockView::of).collect() }))
}

/// Looks at all fields that need no look-up, so that one answer names everything that is wrong.
fn check(body: &Body, classes: &[String]) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    let mut say = |field, reason: String| wrong.push(FieldError { field, reason });
    if body.address.is_none() && body.user_id.is_none() {
        say("address", NO_SUBJECT.to_owned());
    }
    if body.class.as_ref().is_some_and(|class| !classes.contains(class)) {
        say("class", format!("Must be one of {}.", classes.join(", ")));
    }
    if !(1..=MAX_SECONDS).contains(&body.seconds) {
        say("seconds", format!("Must be 1 to {MAX_SECONDS}."));
    }
    let bad = |reason: &String| reason.len() > MAX_BLOCK_REASON_BYTES || reason.chars().any(char::is_control);
    if body.reason.as_ref().is_some_and(bad) {
        say("reason", format!("Must be at most {MAX_BLOCK_REASON_BYTES} bytes on one line."));
    }
    if wrong.is_empty() { Ok(()) } else { Err(AuthError::Invalid(wrong).into()) }
}

/// Who blocks themselves can no longer lift the block.
fn not_oneself(subject: LimitSubject, by: UserId, is_own: impl Fn(IpAddr) -> bool) -> Result<(), Problem> {
    match subject {
        LimitSubject::User(id) if id == by => {
            Err(Problem::field("userId", "This is you. You could not lift the block."))
        }
        LimitSubject::Address(address) if is_own(address) => {
            Err(Problem::field("address", "This is your own address. You could not lift the block."))
        }
        LimitSubject::User(_) | LimitSubject::Address(_) => Ok(()),
    }
}

fn not_counted(subject: LimitSubject) -> Problem {
    match subject {
        LimitSubject::Address(_) => {
            Problem::field("class", "Clients of this class are not counted by address.")
        }
        LimitSubject::User(_) => Problem::field("class", "Clients of this class are not counted by user."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_is_missing_is_named() {
        let body: Body = serde_json::from_str("{}").expect("missing fields are told apart by name");
        let Err(problem) = check(&body, &[]) else { unreachable!("nobody is blocked for no time") };
        let answer: serde_json::Value = serde_json::from_slice(problem.rendered().body()).expect("JSON");
        let named: Vec<_> =
            answer["errors"].as_array().into_iter().flatten().map(|e| e["field"].as_str()).collect();
        assert_eq!((answer["status"].as_u64(), named), (Some(422), vec![Some("address"), Some("seconds")]));
    }
}
