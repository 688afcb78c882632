//! Benchmark `proxy`: what it costs to stand in front of an application, and what a restart, long-lived connections
//! and large bodies do.
//!
//! Progress goes to standard error. Each of `PARTS` starts what it needs: PostgreSQL, nginx, HAProxy and npm as the
//! tests have them.

mod bare;
mod bodies;
mod contenders;
mod origin;
mod overhead;
mod programs;
mod restart;
mod versions;
mod websocket;

use std::time::Duration;

use anyhow::Result;

pub use bare::serve as serve_bare;
pub use contenders::{OPEN, PROTECTED};
pub use origin::{LARGE, SMALL, serve as serve_origin};
pub use overhead::{plain, signed_in};

use super::report::Bar;
use super::{Bench, Context};

/// The entry of the list.
pub(super) const BENCH: Bench = Bench {
    name: "proxy",
    about: "the gateway: overhead beside nginx, WebSockets, large bodies, restart, versions, the example app",
    run,
};

/// What can be run alone.
pub(super) const PARTS: &[&str] =
    &["overhead", "latency", "websocket", "upload", "restart", "versions", "app", "conformance"];

/// Measures, in the quick form or the full one.
type Part = fn(bool) -> Result<Vec<Bar>>;

fn run(context: Context) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    let parts: [Part; 8] = [
        overhead::run,
        overhead::run_latency,
        websocket::run,
        bodies::run,
        restart::run,
        versions::run,
        programs::app,
        programs::conformance,
    ];
    for (part, run) in PARTS.iter().zip(parts) {
        if context.part.is_none_or(|only| only == *part) {
            bars.extend(run(context.quick)?);
        }
    }
    Ok(bars)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
const fn real(count: u64) -> f64 {
    count as f64
}
