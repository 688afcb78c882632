//! Parts `overhead` and `latency`: requests a second through Phoenix beside nginx and HAProxy, and the latency it adds.
//!
//! The proxies have one core; application and load share the other. So a throughput is the proxy's only while the proxy
//! has its core busy, which is shown; processor time per request does not depend on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::contenders::Contenders;
use super::{millis, origin};
use crate::bench::cpu;
use crate::bench::load::{self, Plan, Requests};
use crate::bench::pin::{self, Cores};
use crate::bench::reference::ReferenceServer;
use crate::bench::report::{Bar, interleaved, median};
use crate::dist;

const CONNECTIONS: usize = 64;
/// Of nginx's throughput, with everything off.
const PLAIN_RATIO: f64 = 1.0;
/// Of nginx's throughput, with authentication, identity and limits.
const PROTECTED_RATIO: f64 = 0.8;
/// Requests a second for the latency.
const RATE: f64 = 5000.0;
/// Most that Phoenix may add to the 99th percentile.
const ADDED_MS: f64 = 1.0;

/// One of those that are measured in turn.
struct Contender {
    name: &'static str,
    pid: u32,
    plan: Plan,
}

/// What one turn gave.
#[derive(Clone, Copy, Default)]
struct Turn {
    per_second: f64,
    /// Part of its core that the proxy used.
    busy: f64,
    cpu_us: f64,
}

/// All who take part, and the application behind them.
struct Field {
    cores: Cores,
    origin: ReferenceServer,
    contenders: Contenders,
}

impl Field {
    fn start() -> Result<Self> {
        // What users get.
        let program = dist::optimised()?;
        let cores = Cores::detect();
        let this = std::env::current_exe().context("find this program")?;
        // Beside the load, not beside the proxies.
        let origin = ReferenceServer::start_command(&this, &pin::prefix(cores.load), "bench-origin")?;
        let contenders = Contenders::start(&program, cores, origin.address())?;
        Ok(Self { cores, origin, contenders })
    }
}

/// The latency that Phoenix and nginx add.
pub(super) fn run_latency(quick: bool) -> Result<Vec<Bar>> {
    let field = Field::start()?;
    let Field { cores, origin, contenders } = &field;
    // All sessions are in memory, as they are after the throughput of the other part. A few at a time: many unknown tokens
    // at once from one address are made up, as far as Phoenix can tell.
    let asked = signed_in(origin::SMALL, &contenders.tokens);
    let first = Plan { connections: 8, core: cores.load, ..Plan::new(contenders.protected.address(), asked) };
    load::closed_loop(&first)?.ensure_clean()?;
    latency(contenders, origin.address(), *cores, quick)
}

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let field = Field::start()?;
    let Field { cores, origin, contenders } = &field;
    let mut bars = Vec::new();
    for (name, path) in [("1 KB", origin::SMALL), ("64 KB", origin::LARGE)] {
        let seconds = if quick { 2 } else { 5 };
        let plan = |address, requests| Plan {
            connections: CONNECTIONS,
            duration: Duration::from_secs(seconds),
            core: cores.load,
            shares_core: true,
            ..Plan::new(address, requests)
        };
        let direct = load::closed_loop(&plan(origin.address(), plain(path)))?;
        direct.ensure_clean()?;
        bars.push(Bar::info(format!("{name}: the application alone"), direct.per_second(), "1/s"));
        let all = line_up(contenders, path, plan)?;
        bars.extend(throughput(name, &all, if quick { 3 } else { 7 })?);
    }
    Ok(bars)
}

/// Requests of nobody.
#[must_use]
pub fn plain(path: &str) -> Requests {
    Requests::Same(load::request("GET", path, &[("host", "127.0.0.1"), ("accept", "*/*")], b""))
}

/// The same request with the cookie of each session in turn.
#[must_use]
pub fn signed_in(path: &str, tokens: &[String]) -> Requests {
    let request = |token: &String| {
        let cookie = format!("phoenix_session={token}");
        load::request("GET", path, &[("host", "127.0.0.1"), ("accept", "*/*"), ("cookie", &cookie)], b"")
    };
    Requests::Cycle(tokens.iter().map(request).collect())
}

/// nginx is the first: the others are compared with it.
fn line_up(
    contenders: &Contenders,
    path: &str,
    plan: impl Fn(SocketAddr, Requests) -> Plan,
) -> Result<[Contender; 5]> {
    let runs = "a proxy that has been started runs";
    let Contenders { nginx, haproxy, bare, plain: open, protected, tokens, .. } = contenders;
    let contender = |name, pid: Option<u32>, address, requests| {
        anyhow::Ok(Contender { name, pid: pid.context(runs)?, plan: plan(address, requests) })
    };
    Ok([
        contender("nginx", nginx.pid(), nginx.address(), plain(path))?,
        contender("HAProxy", haproxy.pid(), haproxy.address(), plain(path))?,
        contender("bare hyper", Some(bare.pid()), bare.address(), plain(path))?,
        contender("Phoenix, all off", open.pid(), open.address(), plain(path))?,
        contender(
            "Phoenix, identity and limits",
            protected.pid(),
            protected.address(),
            signed_in(path, tokens),
        )?,
    ])
}

fn throughput(size: &str, all: &[Contender; 5], rounds: usize) -> Result<Vec<Bar>> {
    let mut turns: Vec<[Turn; 5]> = Vec::new();
    for round in 0..rounds {
        let mut results = [Turn::default(); 5];
        for (contender, result) in all.iter().zip(&mut results) {
            *result = turn(contender).with_context(|| contender.name)?;
        }
        let shown = results.map(|turn| format!("{:.0} ({:.1} us)", turn.per_second, turn.cpu_us));
        eprintln!("overhead, {size}, round {}: {}", round + 1, shown.join(", "));
        turns.push(results);
    }
    let middle = |of: &dyn Fn(&[Turn; 5]) -> f64| median(turns.iter().map(of));
    let mut bars = Vec::new();
    for (number, contender) in all.iter().enumerate() {
        let name = format!("{size}: {}", contender.name);
        bars.push(Bar::info(name.clone(), middle(&|turn| turn[number].per_second), "1/s"));
        bars.push(Bar::info(format!("{name}, per request"), middle(&|turn| turn[number].cpu_us), "us"));
        bars.push(Bar::info(format!("{name}, use of its core"), middle(&|turn| turn[number].busy), ""));
    }
    let ratio = |number: usize| middle(&|turn| turn[number].per_second / turn[0].per_second);
    bars.push(Bar::info(format!("{size}: HAProxy, ratio to nginx"), ratio(1), ""));
    bars.push(Bar::info(format!("{size}: bare hyper, ratio to nginx"), ratio(2), ""));
    bars.push(Bar::at_least(format!("{size}: Phoenix, all off, ratio to nginx"), ratio(3), "", PLAIN_RATIO));
    let name = format!("{size}: Phoenix, identity and limits, ratio to nginx");
    bars.push(Bar::at_least(name, ratio(4), "", PROTECTED_RATIO));
    Ok(bars)
}

fn turn(contender: &Contender) -> Result<Turn> {
    // The load's own warm-up is not in what it counts; here it comes before the clock is read.
    let warm_up =
        Plan { warm_up: Duration::ZERO, duration: Duration::from_millis(500), ..contender.plan.clone() };
    load::closed_loop(&warm_up)?.ensure_clean()?;
    let (start, before) = (Instant::now(), cpu::used_by(contender.pid)?);
    let outcome = load::closed_loop(&Plan { warm_up: Duration::ZERO, ..contender.plan.clone() })?;
    let used = cpu::used_by(contender.pid)?.saturating_sub(before).as_secs_f64();
    let elapsed = start.elapsed().as_secs_f64();
    outcome.ensure_clean()?;
    let cpu_us = used * 1e6 / super::real(outcome.completed);
    Ok(Turn { per_second: outcome.per_second(), busy: used / elapsed, cpu_us })
}

/// The open loop: the 99th percentile with each proxy less that of the application alone.
fn latency(contenders: &Contenders, origin: SocketAddr, cores: Cores, quick: bool) -> Result<Vec<Bar>> {
    let seconds = if quick { 2 } else { 10 };
    let p99 = |address: SocketAddr, requests: &Requests| {
        let plan = Plan {
            connections: CONNECTIONS,
            duration: Duration::from_secs(seconds),
            core: cores.load,
            shares_core: true,
            ..Plan::new(address, requests.clone())
        };
        let outcome = load::open_loop(&plan, RATE)?;
        outcome.ensure_clean()?;
        anyhow::Ok(millis(outcome.quantile(0.99)))
    };
    let requests = plain(origin::SMALL);
    let cookies = signed_in(origin::SMALL, &contenders.tokens);
    let mut bars = Vec::new();
    let subjects = [
        ("nginx", contenders.nginx.address(), &requests),
        ("Phoenix, identity and limits", contenders.protected.address(), &cookies),
    ];
    for (name, address, asked) in subjects {
        let rounds =
            interleaved(if quick { 3 } else { 5 }, || p99(origin, &requests), || p99(address, asked))?;
        let alone = median(rounds.iter().map(|(alone, _)| *alone));
        let added = median(rounds.iter().map(|(alone, with)| with - alone));
        bars.push(Bar::info(format!("5,000/s: p99 of the application alone, beside {name}"), alone, "ms"));
        let title = format!("5,000/s: p99 added by {name}");
        bars.push(match name {
            "nginx" => Bar::info(title, added, "ms"),
            _ => Bar::at_most(title, added, "ms", ADDED_MS),
        });
    }
    Ok(bars)
}
