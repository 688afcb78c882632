//! Redis goes away under signed-in traffic: nobody is refused, nobody gets an error, and the database is asked at
//! most once for each session that a node did not have in memory.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use phoenix_testkit::redis::Redis;

use super::cluster::{Cluster, Ground, Inspector, NODES, me, real, sum};
use crate::bench::load::{self, Outcome, Plan, Requests};
use crate::bench::me::block_on;
use crate::bench::report::Bar;

/// Requests a second, over all nodes.
const RATE: f64 = 2000.0;
/// Sessions of each outage. Only a part of them is in the memory of every node when it begins.
const SESSIONS: usize = 3000;
/// Connections to each node.
const CONNECTIONS: usize = 16;
/// Traffic before the outage begins.
const BEFORE: Duration = Duration::from_millis(1500);
/// Distance of two readings of the counters while it lasts.
const READING: Duration = Duration::from_millis(250);

/// A way to lose Redis.
struct Outage {
    name: &'static str,
    begin: fn(&Redis) -> Result<()>,
    end: fn(&Redis) -> Result<()>,
}

const OUTAGES: [Outage; 4] = [
    Outage { name: "killed", begin: Redis::kill, end: Redis::restart },
    Outage { name: "hung", begin: Redis::pause, end: Redis::resume },
    Outage { name: "wiped", begin: |redis| redis.command(&["FLUSHALL"]).map(drop), end: |_| Ok(()) },
    Outage { name: "restarted empty", begin: Redis::restart, end: |_| Ok(()) },
];

/// One outage after another, on the same nodes, each with sessions of its own.
pub(super) fn run(ground: &Ground, tokens: &[String], quick: bool) -> Result<Vec<Bar>> {
    // So that nothing gets into memory but what is asked for here.
    let cluster = ground.cluster(&[("PHOENIX_WARM_ENTRIES", "0")])?;
    let lasting = Duration::from_secs(if quick { 3 } else { 8 });
    ensure!(tokens.len() >= SESSIONS * OUTAGES.len(), "there are too few sessions");
    let inspector = block_on(cluster.inspector())?;
    let mut bars = vec![Bar::info("outages: rate", RATE, "1/s")];
    eprintln!("\noutages of Redis");
    for (outage, tokens) in OUTAGES.iter().zip(tokens.chunks_exact(SESSIONS)) {
        let seen = survive(&cluster, &inspector, outage, tokens, lasting);
        bars.extend(seen.with_context(|| format!("Redis {}", outage.name))?.bars(outage.name));
        block_on(cluster.recover())?;
    }
    Ok(bars)
}

/// What was seen.
struct Seen {
    outcomes: Vec<Outcome>,
    /// (node, session) pairs that were not in memory when it began.
    cold: f64,
    /// Reads of the database from then on.
    reads: f64,
    /// Most reads a second.
    most: f64,
}

impl Seen {
    fn bars(&self, name: &str) -> Vec<Bar> {
        let failed: u64 = self.outcomes.iter().map(Outcome::failed).sum();
        let completed: u64 = self.outcomes.iter().map(|outcome| outcome.completed).sum();
        let slowest = self.outcomes.iter().map(|outcome| outcome.quantile(0.99)).max().unwrap_or_default();
        let first = self.outcomes.iter().find_map(|outcome| outcome.failures.first.as_deref());
        eprintln!(
            "{name}: {completed} requests answered, {failed} failed (first: {}), {} sessions to look up, {} reads",
            first.unwrap_or("none"),
            self.cold,
            self.reads,
        );
        vec![
            Bar::at_most(format!("Redis {name}: not answered 200"), real(failed), "", 0.0),
            Bar::at_most(
                format!("Redis {name}: database reads per session to look up"),
                self.reads / self.cold.max(1.0),
                "",
                1.0,
            ),
            Bar::info(format!("Redis {name}: database reads, most"), self.most, "1/s"),
            Bar::info(format!("Redis {name}: p99"), slowest.as_secs_f64() * 1e3, "ms"),
        ]
    }
}

fn survive(
    cluster: &Cluster,
    inspector: &Inspector,
    outage: &Outage,
    tokens: &[String],
    lasting: Duration,
) -> Result<Seen> {
    let entries = block_on(inspector.sum("l1Entries"))?;
    prime(cluster, tokens)?;
    // As long again after the outage as before it.
    let duration = BEFORE + lasting + BEFORE;
    let requests: Vec<Vec<u8>> = tokens.iter().map(|token| me(token)).collect();
    let pairs = real(u64::try_from(tokens.len() * NODES)?);
    let rate = RATE / real(u64::try_from(NODES)?);
    thread::scope(|scope| {
        let loads: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| {
                let plan = Plan {
                    connections: CONNECTIONS,
                    warm_up: Duration::ZERO,
                    duration,
                    ..Plan::new(node.address(), Requests::Cycle(requests.clone()))
                };
                scope.spawn(move || load::open_loop(&plan, rate))
            })
            .collect();
        thread::sleep(BEFORE);
        let before = block_on(inspector.reports())?;
        let warm = sum(&before, "l1Entries")? - entries;
        (outage.begin)(&cluster.ground.redis)?;
        let most = watch(inspector, lasting, sum(&before, "databaseReads")?)?;
        (outage.end)(&cluster.ground.redis)?;
        let joined = loads.into_iter().map(|load| load.join().map_err(|_| anyhow!("the load panicked"))?);
        let outcomes = joined.collect::<Result<Vec<_>>>()?;
        let reads = block_on(inspector.sum("databaseReads"))? - sum(&before, "databaseReads")?;
        Ok(Seen { outcomes, cold: pairs - warm, reads, most })
    })
}

/// Has the first node load every session, so that Redis has them all.
fn prime(cluster: &Cluster, tokens: &[String]) -> Result<()> {
    let mut asker = load::Asker::new(cluster.nodes[0].address(), Duration::from_secs(5));
    block_on(async {
        for token in tokens {
            let answer = asker.ask(&me(token), &load::Expect::status(200)).await?;
            ensure!(answer.good, "status {}", answer.status);
        }
        Ok(())
    })
}

/// The most database reads a second while the outage lasts.
fn watch(inspector: &Inspector, lasting: Duration, mut reads: f64) -> Result<f64> {
    let (start, mut most) = (Instant::now(), 0.0_f64);
    while start.elapsed() < lasting {
        let since = Instant::now();
        thread::sleep(READING);
        let now = block_on(inspector.sum("databaseReads"))?;
        most = most.max((now - reads) / since.elapsed().as_secs_f64());
        reads = now;
    }
    Ok(most)
}
