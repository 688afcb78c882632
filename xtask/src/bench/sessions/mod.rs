//! Benchmark `sessions`: what a cluster of three nodes promises about sessions. Revocation under faults, outages of
//! Redis, how seldom the database is asked, and that authenticated requests write nothing.
//!
//! Progress and tables go to standard error. The parts share one `PostgreSQL` and one Redis, and each starts nodes of
//! its own.

mod cluster;
mod fault;
mod mix;
mod outage;
mod statements;
mod storm;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::report::Bar;
use super::{Bench, Context, build};
use crate::bench::me::{block_on, seed};
use cluster::Ground;
use storm::{Everywhere, OneSession, ROUNDS_AT_ONCE};

pub use storm::Tally;

/// The entry of the list.
pub(super) const BENCH: Bench = Bench {
    name: "sessions",
    about: "three nodes: revocation under faults, outages of Redis, cache hits, writes",
    run,
};

/// Bound that the nodes of the storms are configured with: short, so that rounds are.
const STORM_BOUND: Duration = Duration::from_secs(1);
/// Rounds of each storm.
const ROUNDS: usize = 500;
/// The same in the quick form.
const QUICK_ROUNDS: usize = 36;

fn run(context: Context) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let mut bars = storms(&program, if context.quick { QUICK_ROUNDS } else { ROUNDS })?;
    bars.extend(steady(&program, context.quick)?);
    Ok(bars)
}

/// What needs a database with many users: each of them has one open session, last seen an hour ago.
fn steady(program: &Path, quick: bool) -> Result<Vec<Bar>> {
    let ground = Ground::set_up(program)?;
    let tokens = seed::fill(&ground.database_url(), usize::try_from(seed::USERS)?)?;
    for statement in
        ["UPDATE phoenix.session_activity SET last_seen_ms = last_seen_ms - 7200000", "VACUUM ANALYZE"]
    {
        ground.postgres.execute(&ground.database, statement)?;
    }
    let mut bars = writes::run(&ground, &tokens, quick)?;
    bars.extend(outage::run(&ground, &tokens[writes::SESSIONS..], quick)?);
    bars.extend(mix::run(&ground, &tokens, quick)?);
    Ok(bars)
}

/// One storm after another, on the same nodes.
fn storms(program: &Path, rounds: usize) -> Result<Vec<Bar>> {
    let mut bars = vec![Bar::info("storms: revocation bound", STORM_BOUND.as_secs_f64(), "s")];
    let ground = Ground::set_up(program)?;
    let cluster = Arc::new(ground.cluster(&storm_variables())?);
    block_on(async {
        let node = cluster.nodes[0].client();
        let one = OneSession::prepare(&node, ROUNDS_AT_ONCE).await?;
        let everywhere = Everywhere::prepare(&node, ROUNDS_AT_ONCE).await?;
        let subjects: [&dyn storm::Subject; 2] = [&one, &everywhere];
        for subject in subjects {
            bars.extend(storm::run(&cluster, subject, rounds, STORM_BOUND).await?.bars(subject.name()));
        }
        Ok(bars)
    })
}

/// A short storm of one session, for a test of the storm itself: `rounds` rounds against the nodes of `program`.
///
/// # Errors
/// When a round cannot be held.
pub fn short_storm(program: &Path, rounds: usize) -> Result<Tally> {
    let ground = Ground::set_up(program)?;
    let cluster = Arc::new(ground.cluster(&storm_variables())?);
    block_on(async {
        let one = OneSession::prepare(&cluster.nodes[0].client(), ROUNDS_AT_ONCE).await?;
        storm::run(&cluster, &one, rounds, STORM_BOUND).await
    })
}

fn storm_variables() -> [(&'static str, &'static str); 1] {
    [("PHOENIX_REVOCATION_BOUND", "1s")]
}
