//! Limiters that share one Redis, with their background work: what an owner of the library writes.
#![expect(
    clippy::disallowed_methods,
    reason = "here is the owner of the library, who has the clock and the tasks"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use phoenix_limit::{
    CHANNEL, Decision, Key, Keyer, Limiter, Link, LinkError, Memory, Rule, SharedHealth, SharedOptions,
    SingleServer, Source, Window,
};
use phoenix_testkit::wait;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).unwrap_or_default()
    }
}

pub(crate) fn rule(windows: &[(u32, u64)], block_ms: u64) -> Rule {
    let windows: Vec<Window> =
        windows.iter().map(|&(limit, ms)| Window { limit, span: Duration::from_millis(ms) }).collect();
    let block = (block_ms > 0).then(|| Duration::from_millis(block_ms));
    Rule::new(&windows, block).expect("the rule is good")
}

pub(crate) fn key(name: u64) -> Key {
    Keyer::new([9; 16]).key("test", &[&name.to_le_bytes()], b"")
}

/// One node: limiter, its ticks, its subscription. Dropped, it ends without saying so.
pub(crate) struct Node {
    pub(crate) limiter: Arc<Limiter>,
    start: Instant,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn health(&self) -> SharedHealth {
        self.limiter.health(self.now()).shared.expect("limits are shared")
    }

    pub(crate) async fn until(&self, source: Source) {
        wait::until(BOUND, "the source of decisions to change", || async { self.health().source == source })
            .await;
    }
}

/// The way to Redis of one node, with the deadline of the product.
pub(crate) fn link(url: &str) -> Arc<dyn Link> {
    Arc::new(SingleServer::new(url, Duration::from_millis(50)).expect("the address is good"))
}

/// Starts a node; returns when Redis decides.
pub(crate) async fn start(url: &str, number: u64, change: impl FnOnce(&mut SharedOptions)) -> Node {
    let node = launch(url, link(url), number, change);
    node.until(Source::Redis).await;
    node
}

/// Starts a node over this link.
pub(crate) fn launch(
    url: &str,
    link: Arc<dyn Link>,
    number: u64,
    change: impl FnOnce(&mut SharedOptions),
) -> Node {
    let mut options = SharedOptions::new(number, Duration::from_secs(1_000_000));
    options.node_timeout = Duration::from_secs(2);
    change(&mut options);
    let limiter = Arc::new(Limiter::shared(Memory::new(16 << 20), link, options));
    let start = Instant::now();
    let ticking = Arc::clone(&limiter);
    let tick = tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            ticking.tick(start.elapsed()).await;
        }
    });
    let listen = tokio::spawn(listen(url.to_owned(), Arc::clone(&limiter), start));
    Node { limiter, start, tasks: vec![tick, listen] }
}

async fn listen(url: String, limiter: Arc<Limiter>, start: Instant) {
    let client = redis::Client::open(format!("{url}?protocol=resp3")).expect("the address is good");
    let mut retry = tokio::time::interval(Duration::from_millis(100));
    loop {
        retry.tick().await;
        let (pushes, mut received) = mpsc::channel(1_024);
        let config = redis::AsyncConnectionConfig::new().set_push_sender(move |push| pushes.try_send(push));
        let Ok(mut connection) = client.get_multiplexed_async_connection_with_config(&config).await else {
            continue;
        };
        if connection.subscribe(CHANNEL).await.is_err() {
            continue;
        }
        while let Some(push) = received.recv().await {
            if push.kind == redis::PushKind::Disconnection {
                break;
            }
            if let (redis::PushKind::Message, Some(redis::Value::BulkString(payload))) =
                (push.kind, push.data.get(1))
            {
                limiter.message(payload, start.elapsed());
            }
        }
    }
}

/// A decision and what it was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) cost: u32,
    /// From the question to the answer.
    pub(crate) took: Duration,
    pub(crate) decision: Decision,
}

/// Most units of a key in any window of this length, by the times of the decisions.
pub(crate) fn most_in(span: Duration, seen: &[Seen]) -> u32 {
    let mut admitted: Vec<(u64, u32)> =
        seen.iter().filter(|s| s.decision.is_admitted()).map(|s| (s.decision.at, s.cost)).collect();
    admitted.sort_unstable();
    let span = u64::try_from(span.as_micros()).expect("short");
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for &(at, cost) in &admitted {
        sum += cost;
        while admitted[first].0 + span <= at {
            sum -= admitted[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Sends one command to Redis over a link.
pub(crate) async fn command(link: &Arc<dyn Link>, words: &[&str]) -> Result<redis::Value, LinkError> {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    link.send(vec![command]).await.remove(0)
}

/// Pauses of a client, without a sleep that something could be waited for instead.
pub(crate) async fn pause(time: Duration) {
    tokio::time::timeout(time, std::future::pending::<()>()).await.expect_err("nothing happens");
}
