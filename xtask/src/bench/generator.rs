//! Benchmark `generator`: is the load generator itself light enough to measure others with? Two questions: does it
//! keep the server's core busy to the end, so that the throughput is the server's and not its own; and does it need
//! clearly less per request than the server. Without pipelining nearly all of its time is the kernel's TCP, of which
//! both sides need the same, so there the second question is decided by the machine more than by this program.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::load::{self, Outcome, Plan, Requests};
use super::pin::Cores;
use super::reference::ReferenceServer;
use super::report::Bar;
use super::{Bench, Context, cpu};

/// The entry of the list.
pub(super) const BENCH: Bench =
    Bench { name: "generator", about: "the load generator against a bare hyper server", run };

/// Part of its core that the server must have used.
const BUSY: f64 = 0.95;
/// Of the time the server needs per request, the generator may need at most this part.
const SHARE: f64 = 0.8;
/// Most processor time of the generator per request.
const COST_US: f64 = 3.0;
/// Requests sent at once in the second run.
const PIPELINE: usize = 16;

fn run(context: Context) -> Result<Vec<Bar>> {
    let cores = Cores::detect();
    let server = ReferenceServer::start_self(&cores.server_prefix())?;
    let seconds = if context.quick { 2 } else { 10 };
    let plan = Plan {
        connections: 32,
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(seconds),
        core: cores.load,
        ..Plan::new(
            server.address(),
            Requests::Same(load::request("GET", "/", &[("host", "reference")], b"")),
        )
    };
    let (single, mut bars) = saturate("plain", &plan, &server)?;
    bars.extend(saturate("pipelined", &Plan { pipeline: PIPELINE, ..plan.clone() }, &server)?.1);
    // At a fifth of what the server can do, waiting in line is rare, so the latency is the server's own.
    let rate = single.per_second() / 5.0;
    let open = load::open_loop(&plan, rate)?;
    open.ensure_clean()?;
    bars.push(Bar::at_least("open loop, part of the rate reached", open.per_second() / rate, "", 0.99));
    bars.push(Bar::info("open loop, p50", microseconds(open.quantile(0.5)), "us"));
    bars.push(Bar::info("open loop, p99", microseconds(open.quantile(0.99)), "us"));
    Ok(bars)
}

/// One closed loop and its bars.
fn saturate(name: &str, plan: &Plan, server: &ReferenceServer) -> Result<(Outcome, Vec<Bar>)> {
    let (start, used) = (Instant::now(), cpu::used_by(server.pid())?);
    let outcome = load::closed_loop(plan)?;
    let used = cpu::used_by(server.pid())?.saturating_sub(used);
    let busy = used.as_secs_f64() / start.elapsed().as_secs_f64();
    outcome.ensure_clean()?;
    let generator_us = microseconds(outcome.cpu_per_request());
    let server_us = 1e6 / outcome.per_second();
    let bars = vec![
        Bar::info(format!("{name}, throughput"), outcome.per_second(), "1/s"),
        Bar::info(format!("{name}, p99"), microseconds(outcome.quantile(0.99)), "us"),
        Bar::info(format!("{name}, server per request"), server_us, "us"),
        Bar::at_least(format!("{name}, server's use of its core"), busy, "", BUSY),
        Bar::at_most(format!("{name}, generator per request"), generator_us, "us", COST_US),
        Bar::at_most(
            format!("{name}, generator's part of the server's time"),
            generator_us / server_us,
            "",
            SHARE,
        ),
    ];
    Ok((outcome, bars))
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
