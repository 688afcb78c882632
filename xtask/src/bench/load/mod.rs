//! A load generator for HTTP/1.1 on one thread: raw non-blocking sockets, requests that were encoded beforehand, and
//! no more parsing than checking needs. It must cost clearly less per request than the server it measures, or it
//! would measure itself; `cargo xtask bench generator` holds it to that.
//!
//! - [`closed_loop`]: every connection sends its next request when the answer to the last has come. Finds the
//!   throughput of a saturated server.
//! - [`open_loop`]: requests are due at a fixed rate, whether or not the server keeps up, and latency counts from the
//!   moment a request was due. That is the latency a user sees; a closed loop hides every stall (coordinated
//!   omission, G. Tene, "How NOT to Measure Latency").
//!
//! - [`Asker`]: one request at a time, for benchmarks that look at every answer.
//!
//! Every answer is checked against [`Expect`]; a connection that fails is replaced and counted. Answers need a
//! `content-length` (or the status 204 or 304); chunked bodies count as failures.
//!
//! ```no_run
//! # use std::time::Duration;
//! use xtask::bench::load::{self, Expect, Plan, Requests};
//! # fn measure(address: std::net::SocketAddr, tokens: &[String]) -> anyhow::Result<f64> {
//! let requests = tokens.iter().map(|token| {
//!     load::request("GET", "/api/auth/me", &[("host", "x"), ("authorization", &format!("Bearer {token}"))], b"")
//! });
//! let plan = Plan {
//!     connections: 64,
//!     expect: Expect::status(200).with_header("x-cache-hit", "l1"),
//!     duration: Duration::from_secs(10),
//!     ..Plan::new(address, Requests::Cycle(requests.collect()))
//! };
//! let outcome = load::closed_loop(&plan)?;
//! outcome.ensure_clean()?;
//! # Ok(outcome.per_second())
//! # }
//! ```

mod alarm;
mod asker;
mod batches;
mod closed;
mod connection;
mod open;
mod outcome;
mod response;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

pub use asker::{Answer, Asker};
pub use outcome::{Failures, Outcome};
pub use response::Expect;

use super::pin;

/// Which request a connection sends next. All are complete, encoded requests, see [`request`].
#[derive(Clone, Debug)]
pub enum Requests {
    /// Always this one.
    Same(Vec<u8>),
    /// Connection `n` always sends item `n` (modulo their number).
    PerConnection(Vec<Vec<u8>>),
    /// Every connection goes round through all of them, each from another place.
    Cycle(Vec<Vec<u8>>),
}

/// What to send, where, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// What to send.
    pub requests: Requests,
    /// Connections, all driven by one thread.
    pub connections: usize,
    /// Closed loop only: requests sent at once on a connection. More than 1 spares both sides most of the kernel's
    /// work, which at 1 is the larger part of the cost, and so shows what the server itself costs; it is not how
    /// clients behave. The latency of each counts from when all were sent.
    pub pipeline: usize,
    /// What a good answer is.
    pub expect: Expect,
    /// Time before anything is counted.
    pub warm_up: Duration,
    /// Time that is counted.
    pub duration: Duration,
    /// The core to which the generator's thread is bound.
    pub core: Option<usize>,
    /// Others work on that core, too: while it waits the generator sleeps, where it would poll on a core of its own.
    pub shares_core: bool,
}

impl Plan {
    /// 64 connections, no pipelining, status 200, one second of warm-up, five seconds, not bound to a core.
    #[must_use]
    pub fn new(address: SocketAddr, requests: Requests) -> Self {
        Self {
            address,
            requests,
            connections: 64,
            pipeline: 1,
            expect: Expect::status(200),
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            core: None,
            shares_core: false,
        }
    }
}

/// Encodes one request. `content-length` is added when there is a body.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() {
        head.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Loads the server as hard as its answers allow.
///
/// # Errors
/// When the server cannot be reached at all. Failed requests are in the outcome, see [`Outcome::ensure_clean`].
pub fn closed_loop(plan: &Plan) -> Result<Outcome> {
    on_own_thread(plan, closed::run)
}

/// Sends `per_second` requests a second at even distances. Keep it below what the connections can carry.
///
/// # Errors
/// As [`closed_loop`].
pub fn open_loop(plan: &Plan, per_second: f64) -> Result<Outcome> {
    ensure!(per_second > 0.0 && per_second.is_finite(), "a rate of {per_second} is no rate");
    on_own_thread(plan, |plan| open::run(plan, per_second))
}

fn on_own_thread(plan: &Plan, run: impl FnOnce(&Plan) -> Result<Outcome> + Send) -> Result<Outcome> {
    ensure!(plan.connections > 0 && plan.pipeline > 0, "a load needs a connection and a request on it");
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, || {
            pin::this_thread(plan.core);
            run(plan)
        });
        let joined = thread.context("start the generator's thread")?.join();
        joined.map_err(|_| anyhow::anyhow!("the load generator panicked"))?
    })
}
