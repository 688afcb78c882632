//! Benchmark `limits`: what the limiter promises. Exactness against an oracle and beside other limiters, the loss of
//! Redis, cost, floods of addresses, connections, a Redis cluster.
//!
//! Progress and tables go to standard error. The limiter is called as the product calls it, in this process; only
//! `connections` needs a server. Each of `PARTS` starts what it needs.

mod accuracy;
mod approximate;
mod cluster;
mod connections;
mod cost;
mod flood;
mod oracle;
mod outage;
mod peers;
mod traffic;
mod trio;

use std::time::Duration;

use anyhow::Result;
use phoenix_limit::{Rule, Window};

use super::report::Bar;
use super::{Bench, Context};

/// The entry of the list.
pub(super) const BENCH: Bench = Bench {
    name: "limits",
    about: "rate limits: exactness beside other limiters, loss of Redis, cost, a flood of addresses",
    run,
};

/// What can be run alone.
pub(super) const PARTS: &[&str] = &["accuracy", "outage", "cost", "flood", "connections", "cluster"];

/// Measures, in the quick form or the full one.
type Part = fn(bool) -> Result<Vec<Bar>>;

/// Memory of a limiter, the product's default.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// Names of keys are hashed with this.
const SECRET: [u8; 16] = *b"only a benchmark";

fn run(context: Context) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    let parts: [Part; 6] =
        [accuracy::run, outage::run, cost::run, flood::run, connections::run, cluster::run];
    for (part, run) in PARTS.iter().zip(parts) {
        if context.part.is_none_or(|only| only == *part) {
            bars.extend(run(context.quick)?);
        }
    }
    Ok(bars)
}

/// A class of endpoints, with its default of the specification (R2).
struct Class {
    name: &'static str,
    limit: u32,
    span: Duration,
    block: Duration,
}

const fn class(name: &'static str, limit: u32, span_minutes: u64, block_minutes: u64) -> Class {
    Class { name, limit, span: Duration::from_mins(span_minutes), block: Duration::from_mins(block_minutes) }
}

const CLASSES: [Class; 5] = [
    class("auth", 5, 15, 30),
    class("api", 100, 1, 5),
    class("upload", 10, 1, 10),
    class("search", 30, 1, 2),
    class("ai", 20, 1, 5),
];

impl Class {
    /// Its rule; `block` makes the block from the default one.
    fn rule(&self, block: impl FnOnce(Duration) -> Option<Duration>) -> Result<Rule> {
        let window = Window { limit: self.limit, span: self.span };
        Ok(Rule::new(&[window], block(self.block))?)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the ways to make a block")]
const fn keep_blocks(block: Duration) -> Option<Duration> {
    Some(block)
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
const fn real(count: u64) -> f64 {
    count as f64
}
