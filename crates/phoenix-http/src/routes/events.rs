//! What the two lists of security events share: their query and their answer.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::model::{EventId, SecurityEvent};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::json;
use super::page_limit;
use crate::json::EventView;
use crate::problem::{Kind, Problem};

/// Query of the request.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// `next` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    before: Option<String>,
    /// Most events of a page, 1 to 200, 50 if absent.
    limit: Option<u32>,
}

/// A page of security events.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventsView<'a> {
    /// The latest first.
    events: Vec<EventView<'a>>,
    /// `before` of the next page; absent on the last.
    next: Option<String>,
}

/// The place of a page and its length.
pub(crate) fn page(
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<(Option<EventId>, u32), Problem> {
    let wrong = |detail: &str| Problem::new(Kind::InvalidParameter).detail(detail);
    let Query(Parameters { before, limit }) =
        parameters.map_err(|_| wrong("Only before and limit are known, and limit is a number."))?;
    let limit = page_limit(limit)?;
    let before =
        before.map(|id| id.parse()).transpose().map_err(|_| wrong("before must be an event's id."))?;
    Ok((before, limit))
}

/// The answer.
pub(crate) fn answer(events: &[SecurityEvent], limit: u32) -> Response {
    let full = events.len() == limit as usize;
    let next = events.last().filter(|_| full).map(|event| event.id.to_string());
    json(StatusCode::OK, &EventsView { events: events.iter().map(EventView::of).collect(), next })
}
