//! What each tier gives: L1 as a ratio to a bare hyper server, L2 and L3 as latencies at a fixed rate.

use std::time::Duration;

use anyhow::{Result, ensure};
use phoenix_testkit::process::PhoenixProcess;

use super::{Stage, block_on, counter, me, millis, seed, status};
use crate::bench::load::{self, Expect, Outcome, Plan, Requests};
use crate::bench::reference::ReferenceServer;
use crate::bench::report::{Bar, interleaved, median};

/// Of the bare server's throughput.
const RATIO: f64 = 0.80;
/// Rounds of the comparison.
const ROUNDS: usize = 5;
/// Sessions in memory in the comparison.
const WORKING_SET: usize = 100_000;
/// Requests a second for the latencies of L2 and L3.
const RATE: f64 = 1000.0;
/// Sessions kept apart for each of these.
const COLD: usize = 40_000;

fn plan(stage: &Stage, server: &PhoenixProcess, tokens: &[String], tier: &str) -> Plan {
    Plan {
        connections: 64,
        expect: Expect::status(200).with_header("x-cache-hit", tier),
        core: stage.cores.load,
        ..Plan::new(server.address(), Requests::Cycle(tokens.iter().map(|token| me(token)).collect()))
    }
}

/// Asks for every session once, so that it is in memory.
fn warm(stage: &Stage, server: &PhoenixProcess, tokens: &[String]) -> Result<()> {
    let requests = Requests::Cycle(tokens.iter().map(|token| me(token)).collect());
    let plan =
        Plan { core: stage.cores.load, warm_up: Duration::ZERO, ..Plan::new(server.address(), requests) };
    // Each reading of the counters leaves a session of the administrator's in memory too.
    for readings in 1..=600 {
        load::closed_loop(&Plan { duration: Duration::from_secs(1), ..plan.clone() })?.ensure_clean()?;
        let entries = block_on(async { counter(&status(&server.client()).await?, "l1Entries") })?;
        if entries >= (tokens.len() + readings) as f64 {
            return Ok(());
        }
    }
    anyhow::bail!("the sessions did not get into memory")
}

/// L1 against a bare hyper server that answers a constant, in turn, on the same core.
pub(super) fn throughput(stage: &Stage) -> Result<Vec<Bar>> {
    let server = stage.start(&[])?;
    let tokens = &stage.tokens[..WORKING_SET.min(stage.tokens.len())];
    warm(stage, &server, tokens)?;
    let reference = ReferenceServer::start_self(&stage.cores.server_prefix())?;
    let phoenix = Plan { duration: stage.seconds(5), ..plan(stage, &server, tokens, "l1") };
    // The same requests, so that reading them costs both the same.
    let bare = Plan { address: reference.address(), expect: Expect::status(200), ..phoenix.clone() };
    let before = block_on(async { status(&server.client()).await })?;
    let (mut p99, mut answered) = (Vec::new(), 0);
    let rounds = interleaved(
        ROUNDS,
        || {
            let outcome = load::closed_loop(&phoenix)?;
            outcome.ensure_clean()?;
            p99.push(millis(outcome.quantile(0.99)));
            answered += outcome.completed;
            Ok(outcome.per_second())
        },
        || {
            let outcome = load::closed_loop(&bare)?;
            outcome.ensure_clean()?;
            Ok(outcome.per_second())
        },
    )?;
    let after = block_on(async { status(&server.client()).await })?;
    let l1 = counter(&after, "l1Hits")? - counter(&before, "l1Hits")?;
    let reads = counter(&after, "databaseReads")? - counter(&before, "databaseReads")?;
    ensure!(l1 >= answered as f64, "{answered} answers say L1, the counter says {l1}");
    Ok(vec![
        Bar::info("L1: sessions in memory", tokens.len() as f64, ""),
        Bar::info("L1: throughput on one core", median(rounds.iter().map(|(ours, _)| *ours)), "1/s"),
        Bar::info("L1: bare hyper server", median(rounds.iter().map(|(_, bare)| *bare)), "1/s"),
        Bar::at_least(
            "L1: ratio to the bare server",
            median(rounds.iter().map(|(ours, bare)| ours / bare)),
            "",
            RATIO,
        ),
        Bar::at_most("L1: p99, 64 saturating connections", median(p99), "ms", 2.0),
        // Each reading of the counters is a login and a request of the administrator's.
        Bar::at_most("L1: database reads meanwhile", reads, "", 1.0),
    ])
}

/// Sessions nobody has asked for yet, at a fixed rate.
pub(super) fn database(stage: &Stage) -> Result<Vec<Bar>> {
    let server = stage.start(&[])?;
    let duration = stage.seconds(10);
    let outcome = cold(stage, &server, "l3", untouched(stage, 1), duration)?;
    let reads = block_on(async { counter(&status(&server.client()).await?, "l3Hits") })?;
    ensure!(
        reads >= outcome.completed as f64,
        "{} answers say L3, the counter says {reads}",
        outcome.completed
    );
    Ok(vec![
        Bar::info("L3: rate", outcome.per_second(), "1/s"),
        Bar::info("L3: p50", millis(outcome.quantile(0.5)), "ms"),
        Bar::at_most("L3: p99 at 1000/s", millis(outcome.quantile(0.99)), "ms", 5.0),
    ])
}

/// Sessions that another node has left in Redis, at a fixed rate.
pub(super) fn redis(stage: &Stage) -> Result<Vec<Bar>> {
    let url = stage.redis.url();
    let duration = stage.seconds(10);
    let first = stage.start(&[("REDIS_URL", &url), ("PHOENIX_L2_TTL", "1h")])?;
    // A little more than the second node will ask for.
    cold(stage, &first, "l3", untouched(stage, 2), duration + Duration::from_secs(2))?;
    let second = stage.start(&[("REDIS_URL", &url), ("PHOENIX_L2_TTL", "1h")])?;
    let outcome = cold(stage, &second, "l2", untouched(stage, 2), duration)?;
    let hits = block_on(async { counter(&status(&second.client()).await?, "l2Hits") })?;
    ensure!(
        hits >= outcome.completed as f64,
        "{} answers say L2, the counter says {hits}",
        outcome.completed
    );
    Ok(vec![
        Bar::info("L2: rate", outcome.per_second(), "1/s"),
        Bar::info("L2: p50", millis(outcome.quantile(0.5)), "ms"),
        Bar::at_most("L2: p99 at 1000/s", millis(outcome.quantile(0.99)), "ms", 2.0),
    ])
}

/// Sessions that no other part of the benchmark asks for: `part` 1 or 2 of the last ones.
fn untouched(stage: &Stage, part: usize) -> &[String] {
    let all = seed::count(stage.quick);
    &stage.tokens[all - part * COLD..all - (part - 1) * COLD]
}

/// Asks for sessions that `server` has not seen, each once, at a fixed rate. Eight connections start at eight places
/// and must not get as far as the next one's.
fn cold(
    stage: &Stage,
    server: &PhoenixProcess,
    tier: &str,
    tokens: &[String],
    duration: Duration,
) -> Result<Outcome> {
    ensure!(RATE * duration.as_secs_f64() < tokens.len() as f64 * 0.8, "there are too few sessions");
    let plan =
        Plan { connections: 8, warm_up: Duration::ZERO, duration, ..plan(stage, server, tokens, tier) };
    let outcome = load::open_loop(&plan, RATE)?;
    outcome.ensure_clean()?;
    Ok(outcome)
}
