//! The one line that is logged about a request, and the span of what is logged on its way. Does not own when.

use std::time::Duration;

use http::{Method, StatusCode};
use tracing::{Level, Span};

use crate::answer::Trace;

/// What is logged about a request carries its id.
pub(crate) fn span(trace: &Trace) -> Span {
    tracing::info_span!("request", id = trace.id.as_str())
}

/// Routine reads at debug, changes at info, our own failures at error, at warn an application's, and what was too much at
/// once: `is_no_defect`.
pub(crate) fn level(method: &Method, status: StatusCode, is_no_defect: bool) -> Level {
    let is_no_defect =
        is_no_defect || matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
    match (status.is_server_error(), method.is_safe()) {
        (true, _) if is_no_defect => Level::WARN,
        (true, _) => Level::ERROR,
        (false, true) => Level::DEBUG,
        (false, false) => Level::INFO,
    }
}

/// One line a request.
pub(crate) fn write(level: Level, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
    let status = status.as_u16();
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    match level {
        Level::ERROR => tracing::error!(%method, route, status, elapsed_us, "request"),
        Level::WARN => tracing::warn!(%method, route, status, elapsed_us, "request"),
        Level::INFO => tracing::info!(%method, route, status, elapsed_us, "request"),
        _ => tracing::debug!(%method, route, status, elapsed_us, "request"),
    }
}
