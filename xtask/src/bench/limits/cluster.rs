//! Part `cluster`: one of three masters of a Redis Cluster hangs, with its replica. Keys of the others notice nothing;
//! its own are decided by the nodes' memory. In real time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use phoenix_auth::model::{Moment, Timestamp};
use phoenix_auth::ports::Clock;
use phoenix_limit::{Key, Keyer, Link, LinkError, Rule, SharedOptions, Window};
use phoenix_store::redis::{CommandError, RedisCommands, RedisConfig};
use phoenix_testkit::redis::Cluster;
use redis::{Cmd, Value};

use super::oracle::{excess, micros};
use super::trio::{Answer, Ask, DEADLINE, NODES, Trio, runtime, unix_micros};
use super::{SECRET, real};
use crate::bench::report::Bar;
use crate::bench::zipf::Random;

/// Parts of the keys that can be lost by themselves, as in the product.
const PARTITIONS: u32 = 64;
/// The master that hangs. Its replica started three later; subscriptions are at the first node.
const LOST: usize = 2;
const WINDOW: Window = Window { limit: 30, span: Duration::from_secs(2) };
/// Clients that keep to half the limit, and as many that ask for three times of it.
const CLIENTS: u32 = 60;
/// Time before, while it hangs, and after.
const BEFORE: Duration = Duration::from_secs(6);
const HANGING: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(6);
/// Longest p99 of a decision on a lost key.
const P99_MS: f64 = 60.0;

/// The way to the cluster that the product takes.
struct Lanes(RedisCommands);

#[async_trait]
impl Link for Lanes {
    async fn send(&self, commands: Vec<Cmd>) -> Vec<Result<Value, LinkError>> {
        let results = self.0.send(commands).await;
        let translate = |error| match error {
            CommandError::Unreachable => LinkError::Unreachable,
            CommandError::Refused { code } => LinkError::Refused { code },
        };
        results.into_iter().map(|result| result.map_err(translate)).collect()
    }
}

/// This machine's clocks.
struct MachineClock(Instant);

impl Clock for MachineClock {
    fn now(&self) -> Moment {
        let unix_ms = unix_micros().unwrap_or_default() / 1_000;
        Moment { wall: Timestamp::from_millis(i64::try_from(unix_ms).unwrap_or_default()), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        self.0.elapsed()
    }
}

/// One client.
struct Client {
    key: Key,
    /// Whether its key is on the master that hangs.
    lost: bool,
    behaves: bool,
}

pub(super) fn run(_quick: bool) -> Result<Vec<Bar>> {
    let cluster = Cluster::start()?;
    for node in cluster.nodes() {
        // Masters that live go on when one is lost for good.
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"])?;
    }
    let clients = clients(&cluster)?;
    let (asks, whose) = schedule(&clients)?;
    let (answers, from) = live_through(&cluster, &asks)?;
    let mut bars = Vec::new();
    for lost in [false, true] {
        let name =
            if lost { "cluster, keys of the lost master" } else { "cluster, keys of the other masters" };
        let mine: Vec<(usize, &Answer)> =
            whose.iter().copied().zip(&answers).filter(|(client, _)| clients[*client].lost == lost).collect();
        bars.extend(judge(name, &clients, &mine, from, lost)?);
    }
    Ok(bars)
}

fn clients(cluster: &Cluster) -> Result<Vec<Client>> {
    let keyer = Keyer::new(SECRET);
    let owners: Vec<bool> = (0..PARTITIONS)
        .map(|partition| Ok(cluster.master_of(&format!("phl:{{p{partition}}}:x"), 0)? == LOST))
        .collect::<Result<_>>()?;
    (0..2 * CLIENTS)
        .map(|number| {
            let key = keyer.key("cluster", &[&number.to_le_bytes()], b"");
            let partition = usize::try_from(key.name() % u128::from(PARTITIONS))?;
            Ok(Client { key, lost: owners[partition], behaves: number % 2 == 0 })
        })
        .collect()
}

/// Requests in order, and whose they are.
fn schedule(clients: &[Client]) -> Result<(Vec<Ask>, Vec<usize>)> {
    let rule = Arc::new(Rule::new(&[WINDOW], None)?);
    let mut random = Random::new(17);
    let mut all = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        let part = if client.behaves { 0.5 } else { 3.0 };
        let gap = WINDOW.span.as_secs_f64() / f64::from(WINDOW.limit) / part;
        let mut due = gap * random.unit();
        let mut nth = number;
        while due < (BEFORE + HANGING + AFTER).as_secs_f64() {
            let ask = Ask {
                due: Duration::from_secs_f64(due),
                node: nth % NODES,
                key: client.key,
                rule: Arc::clone(&rule),
                cost: 1,
            };
            all.push((ask, number));
            nth += 1;
            due += gap * (0.95 + 0.1 * random.unit());
        }
    }
    all.sort_by_key(|(ask, _)| ask.due);
    Ok(all.into_iter().unzip())
}

/// Answers, and when the master began to hang.
fn live_through(cluster: &Cluster, asks: &[Ask]) -> Result<(Vec<Answer>, u64)> {
    let config = RedisConfig {
        url: cluster.url(),
        trusted: phoenix_store::tls::Authorities::none(),
        command_timeout: DEADLINE,
        connect_timeout: DEADLINE,
        lifetime: Duration::from_mins(1),
    };
    let link = || -> Result<Arc<dyn Link>> {
        let clock = Arc::new(MachineClock(Instant::now()));
        Ok(Arc::new(Lanes(RedisCommands::new(&config, clock)?)))
    };
    let change = |options| SharedOptions { partitions: PARTITIONS, ..options };
    let hanging = [LOST, LOST + 3].map(|number| &cluster.nodes()[number]);
    runtime()?.block_on(async {
        let trio = Trio::linked(NODES, &cluster.nodes()[0].url(), link, change)?;
        trio.until_shared().await?;
        let start = tokio::time::Instant::now();
        let breaking = async {
            tokio::time::sleep_until(start + BEFORE).await;
            let from = unix_micros()?;
            tokio::task::block_in_place(|| hanging.iter().try_for_each(|node| node.pause()))?;
            tokio::time::sleep_until(start + BEFORE + HANGING).await;
            tokio::task::block_in_place(|| hanging.iter().try_for_each(|node| node.resume()))?;
            anyhow::Ok(from)
        };
        let (answers, from) = tokio::join!(trio.drive(asks), breaking);
        for node in &trio.nodes {
            eprintln!("cluster: {:?}", node.health()?);
        }
        Ok((answers?, from?))
    })
}

fn judge(
    name: &str,
    clients: &[Client],
    mine: &[(usize, &Answer)],
    from: u64,
    lost: bool,
) -> Result<Vec<Bar>> {
    let rule = Rule::new(&[WINDOW], None)?;
    let mut worst = 0;
    for number in 0..clients.len() {
        let admitted =
            mine.iter().filter(|(client, answer)| *client == number && answer.decision.is_admitted());
        let mut times: Vec<u64> = admitted.map(|(_, answer)| answer.decision.at).collect();
        worst = worst.max(excess(&rule, &mut times));
    }
    let refused = mine
        .iter()
        .filter(|(client, answer)| clients[*client].behaves && !answer.decision.is_admitted())
        .count();
    let p99 = |from: u64, until: u64| {
        let mut times: Vec<Duration> = mine
            .iter()
            .filter(|(_, answer)| (from..until).contains(&answer.asked))
            .map(|(_, answer)| answer.took)
            .collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let before = p99(0, from);
    let during = p99(from, from + micros(HANGING));
    let mut bars = vec![
        Bar::info(format!("{name}: decisions"), real(mine.len() as u64), ""),
        Bar::at_most(format!("{name}: most above a limit"), f64::from(worst), "units", 0.0),
        Bar::at_most(format!("{name}: refused, at half the limit"), real(refused as u64), "", 0.0),
        Bar::info(format!("{name}: p99 before"), before, "ms"),
        Bar::at_most(format!("{name}: p99 while one hangs"), during, "ms", P99_MS),
    ];
    if !lost {
        let alone = mine.last().context("decisions were made")?.1.asked > from;
        anyhow::ensure!(alone, "nothing was asked after the master hung");
        bars.push(Bar::at_most(format!("{name}: p99, of that before"), during / before.max(0.001), "", 1.5));
    }
    Ok(bars)
}
