//! Authenticated requests write nothing: transactions of the database for each thousand of them, at full speed.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::cluster::{Cluster, Ground, me, real};
use super::statements::Statements;
use crate::bench::load::{self, Outcome, Plan, Requests};
use crate::bench::me::block_on;
use crate::bench::report::Bar;

/// Transactions for each thousand requests.
const MOST: f64 = 1.0;
/// Sessions that go round.
pub(super) const SESSIONS: usize = 2000;
/// With the default, a minute, no last-seen would be due before this is over.
const STEP: &str = "5s";
/// Connections to each node.
const CONNECTIONS: usize = 16;
/// An idle server process of `PostgreSQL` reports its transactions at most 10 s late (`PGSTAT_IDLE_INTERVAL`).
const SETTLE: Duration = Duration::from_secs(11);

/// The transactions of the nodes' clocks while the counters settle are in the count too, and so is writing the
/// last-seens: every session is due for one again and again.
pub(super) fn run(ground: &Ground, tokens: &[String], quick: bool) -> Result<Vec<Bar>> {
    let cluster = ground.cluster(&[("PHOENIX_LAST_SEEN_STEP", STEP)])?;
    let requests: Vec<Vec<u8>> = tokens[..SESSIONS].iter().map(|token| me(token)).collect();
    let inspector = block_on(cluster.inspector())?;
    // So that every session is in the memory of every node.
    saturate(&cluster, &requests, Duration::from_secs(2))?;
    thread::sleep(SETTLE);
    let (before, counted) = (commits(ground)?, block_on(inspector.reports())?);
    let outcomes = saturate(&cluster, &requests, Duration::from_secs(if quick { 10 } else { 40 }))?;
    thread::sleep(SETTLE);
    let transactions = commits(ground)? - before;
    let statements = Statements::of(&block_on(inspector.reports())?)?.since(&Statements::of(&counted)?);
    let mut answered = 0;
    for outcome in &outcomes {
        outcome.ensure_clean()?;
        answered += outcome.completed;
    }
    ensure!(transactions > 0.0, "the counter of transactions does not move, although the nodes renew leases");
    let per_second: f64 = outcomes.iter().map(Outcome::per_second).sum();
    eprintln!("\nwrites: {answered} requests at {per_second:.0}/s, {transactions} transactions; statements:");
    statements.show();
    Ok(vec![
        Bar::info("writes: requests", per_second, "1/s"),
        Bar::at_most(
            "writes: transactions per 1,000 requests",
            transactions * 1000.0 / real(answered),
            "",
            MOST,
        ),
    ])
}

/// Loads all nodes at once, as hard as their answers allow.
fn saturate(cluster: &Cluster, requests: &[Vec<u8>], duration: Duration) -> Result<Vec<Outcome>> {
    thread::scope(|scope| {
        let plans = cluster.nodes.iter().map(|node| Plan {
            connections: CONNECTIONS,
            warm_up: Duration::ZERO,
            duration,
            ..Plan::new(node.address(), Requests::Cycle(requests.to_vec()))
        });
        let loads: Vec<_> = plans.map(|plan| scope.spawn(move || load::closed_loop(&plan))).collect();
        loads.into_iter().map(|load| load.join().map_err(|_| anyhow!("the load panicked"))?).collect()
    })
}

/// Transactions committed in the database so far, of any kind: a single SELECT is one too.
fn commits(ground: &Ground) -> Result<f64> {
    let question = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{}'", ground.database);
    // Asked in another database, so that asking is not counted.
    let rows = ground.postgres.query("postgres", &question)?;
    let value = rows.first().and_then(|row| row.first()?.as_deref()).context("the database has counters")?;
    Ok(value.parse()?)
}
