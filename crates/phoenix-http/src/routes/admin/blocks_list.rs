//! `GET /api/admin/blocks`

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use phoenix_auth::ports::BlockFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::Administrator;
use crate::json::BlockView;
use crate::problem::{Kind, Problem};
use crate::routes::auth::json;
use crate::routes::page_limit;
use crate::settings::HttpParts;

/// Query of the request.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Only blocks in this class of endpoints.
    class: Option<String>,
    /// `next` of the page before.
    #[param(value_type = Option<uuid::Uuid>)]
    cursor: Option<String>,
    /// Most blocks of a page, 1 to 200, 50 if absent.
    limit: Option<u32>,
}

/// A page of blocks.
#[derive(Serialize, ToSchema)]
pub(crate) struct BlocksView<'a> {
    /// Those that run, the latest first.
    blocks: Vec<BlockView<'a>>,
    /// `cursor` of the next page; absent on the last.
    next: Option<String>,
}

/// List the clients that are blocked.
#[utoipa::path(get, path = "/api/admin/blocks", tag = "admin", params(Parameters),
    responses((status = 200, body = BlocksView), (status = "4XX", body = crate::problem::ProblemBody),
        (status = 503, body = crate::problem::ProblemBody)))]
pub(crate) async fn handle(
    _: Administrator,
    State(parts): State<HttpParts>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let limits = &parts.limit_admin;
    let wrong = |detail: String| Problem::new(Kind::InvalidParameter).detail(detail);
    let known = |_| wrong("Only class, cursor and limit are known, and limit is a number.".to_owned());
    let Query(Parameters { class, cursor, limit }) = parameters.map_err(known)?;
    let limit = page_limit(limit)?;
    let classes = limits.classes();
    if class.as_ref().is_some_and(|class| !classes.contains(class)) {
        return Err(wrong(format!("class must be one of {}.", classes.join(", "))));
    }
    let before = cursor.map(|id| id.parse()).transpose();
    let before = before.map_err(|_| wrong("cursor must be next of the page before.".to_owned()))?;
    let blocks = limits.blocks(&BlockFilter { class, before }, limit).await?;
    let full = blocks.len() == limit as usize;
    let next = blocks.last().filter(|_| full).map(|block| block.id.to_string());
    Ok(json(StatusCode::OK, &BlocksView { blocks: blocks.iter().map(BlockView::of).collect(), next }))
}
