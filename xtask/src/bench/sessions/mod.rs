//! Benchmark `sessions`: what a cluster of three nodes promises about sessions. Revocation under faults, outages of
//! Redis, how seldom the database and the identity provider are asked, and that authenticated requests write nothing.
//!
//! Progress and tables go to standard error. Each of `PARTS` has one `PostgreSQL` and one Redis, and what it is made
//! of starts nodes of its own.

mod cluster;
mod fault;
mod mix;
mod outage;
mod provider;
mod statements;
mod storm;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::stack_auth::FakeStackAuth;

use super::report::Bar;
use super::{Bench, Context, build};
use crate::bench::me::{block_on, seed};
use cluster::{Cluster, Ground, stack_variables};
use storm::{Everywhere, OneSession, ROUNDS_AT_ONCE, StackSession};

pub use storm::Tally;

/// The entry of the list.
pub(super) const BENCH: Bench = Bench {
    name: "sessions",
    about: "three nodes: revocation under faults, outages of Redis, cache hits, writes, a slow provider",
    run,
};

/// What can be run alone.
pub(super) const PARTS: &[&str] = &["storms", "steady", "provider"];

/// Bound that the nodes of the storms are configured with: short, so that rounds are.
const STORM_BOUND: Duration = Duration::from_secs(1);
/// Rounds of each storm.
const ROUNDS: usize = 500;
/// The same in the quick form.
const QUICK_ROUNDS: usize = 36;
/// The seed is last seen an hour from now.
const ACTIVITY: &str = "UPDATE phoenix.session_activity \
    SET last_seen_ms = last_seen_ms - 7200000, ip = '127.0.0.1', last_ip = '127.0.0.1'";

fn run(context: Context) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let wanted = |part| context.part.is_none_or(|only| only == part);
    let mut bars = Vec::new();
    if wanted("storms") {
        bars.extend(storms(&program, if context.quick { QUICK_ROUNDS } else { ROUNDS })?);
    }
    if wanted("steady") {
        bars.extend(steady(&program, context.quick)?);
    }
    if wanted("provider") {
        bars.extend(provider::run(&program, if context.quick { &provider::QUICK } else { &provider::FULL })?);
    }
    Ok(bars)
}

/// What needs a database with many users: each of them has one open session, opened from here and last seen an hour
/// ago. Were it opened elsewhere, its first use at each node would be a change of network, and an event.
fn steady(program: &Path, quick: bool) -> Result<Vec<Bar>> {
    let ground = Ground::set_up(program)?;
    let tokens = seed::fill(&ground.database_url(), usize::try_from(seed::USERS)?)?;
    for statement in [ACTIVITY, "VACUUM ANALYZE"] {
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
    let provider = FakeStackAuth::start()?;
    let cluster = storm_cluster(program, &provider)?;
    block_on(async {
        let node = cluster.nodes[0].client();
        let one = OneSession::prepare(&node, ROUNDS_AT_ONCE).await?;
        let everywhere = Everywhere::prepare(&node, ROUNDS_AT_ONCE).await?;
        let stack = StackSession::prepare(&provider, ROUNDS_AT_ONCE);
        let subjects: [&dyn storm::Subject; 3] = [&one, &everywhere, &stack];
        for subject in subjects {
            bars.extend(storm::run(&cluster, subject, rounds, STORM_BOUND).await?.bars(subject.name()));
        }
        Ok(bars)
    })
}

/// Short storms of a session of ours and of one of Stack Auth, for a test of the storm itself: `rounds` rounds each
/// against the nodes of `program`.
///
/// # Errors
/// When a round cannot be held.
pub fn short_storms(program: &Path, rounds: usize) -> Result<[Tally; 2]> {
    let provider = FakeStackAuth::start()?;
    let cluster = storm_cluster(program, &provider)?;
    block_on(async {
        let one = OneSession::prepare(&cluster.nodes[0].client(), ROUNDS_AT_ONCE).await?;
        let stack = StackSession::prepare(&provider, ROUNDS_AT_ONCE);
        Ok([
            storm::run(&cluster, &one, rounds, STORM_BOUND).await?,
            storm::run(&cluster, &stack, rounds, STORM_BOUND).await?,
        ])
    })
}

/// What needs a provider, with so few requests that it is no measurement, for a test of the part itself.
///
/// # Errors
/// When it cannot be run.
pub fn short_provider(program: &Path) -> Result<Vec<Bar>> {
    provider::run(program, &provider::SHORT)
}

fn storm_cluster(program: &Path, provider: &FakeStackAuth) -> Result<Arc<Cluster>> {
    let [project, server, client, address] = stack_variables(provider);
    let variables = [("PHOENIX_REVOCATION_BOUND", "1s"), project, server, client, address];
    Ok(Arc::new(Ground::set_up(program)?.cluster(&variables)?))
}
