//! Three limiters in this process that share one Redis, as three processes of the product do: each has a connection, a
//! clock and a subscription of its own, and is called at the times of a schedule.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use phoenix_limit::{
    CHANNEL, Decision, Key, Limiter, Link, Memory, Mode, Rule, SharedHealth, SharedOptions, SingleServer,
    Source,
};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use super::CAPACITY;
use super::oracle::micros;

/// Nodes that share a Redis.
pub(super) const NODES: usize = 3;
/// Longest wait for Redis, as in the product.
pub(super) const DEADLINE: Duration = Duration::from_millis(50);
/// How often a limiter does what runs by the clock.
const TICK: Duration = Duration::from_millis(100);
/// Pause before a lost subscription is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest time until all nodes are shared again.
const SHARED_BOUND: Duration = Duration::from_secs(30);
/// Pause between two looks at how the nodes are.
const LOOK: Duration = Duration::from_millis(20);
/// Nodes' clocks begin at different times, and their guesses of Redis' clock are wrong by as much.
const SKEW: Duration = Duration::from_millis(300);

/// One node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) limiter: Arc<Limiter>,
    origin: Instant,
}

impl Node {
    /// Time of this node's own clock.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// How sharing goes.
    ///
    /// # Errors
    /// When limits are not shared, which they are.
    pub(super) fn health(&self) -> Result<SharedHealth> {
        self.limiter.health(self.now()).shared.context("limits are shared")
    }
}

/// Nodes and what runs for them. Dropping it ends that.
pub(super) struct Trio {
    pub(super) nodes: Vec<Node>,
    tasks: JoinSet<()>,
}

/// A request of a schedule.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Since the begin of the schedule.
    pub(super) due: Duration,
    /// Which node is asked.
    pub(super) node: usize,
    pub(super) key: Key,
    pub(super) rule: Arc<Rule>,
    pub(super) cost: u32,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) decision: Decision,
    /// From the moment it was asked.
    pub(super) took: Duration,
    /// Whether it took no I/O.
    pub(super) at_once: bool,
    /// When it was asked, on this machine's clock, which is that of Redis, in microseconds.
    pub(super) asked: u64,
}

impl Trio {
    /// Nodes on the server at `url`; `change` changes their options. To be called in a runtime.
    pub(super) fn on(url: &str, change: impl Fn(SharedOptions) -> SharedOptions) -> Result<Self> {
        Self::with(NODES, url, change)
    }

    /// So many nodes on the server at `url`.
    pub(super) fn with(
        nodes: usize,
        url: &str,
        change: impl Fn(SharedOptions) -> SharedOptions,
    ) -> Result<Self> {
        Self::linked(nodes, url, || Ok(Arc::new(SingleServer::new(url, DEADLINE)?)), change)
    }

    /// So many nodes, each with a link of its own, and a subscription at `url`.
    pub(super) fn linked(
        nodes: usize,
        url: &str,
        link: impl Fn() -> Result<Arc<dyn Link>>,
        change: impl Fn(SharedOptions) -> SharedOptions,
    ) -> Result<Self> {
        let mut trio = Self { nodes: Vec::new(), tasks: JoinSet::new() };
        let client = redis::Client::open(url)?;
        for number in 0..nodes {
            let skew = SKEW * u32::try_from(number)?;
            let begin = Instant::now();
            let origin = begin.checked_sub(skew).context("a clock older than the benchmark")?;
            let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            let options = change(SharedOptions::new(number as u64 + 1, unix));
            let limiter = Arc::new(Limiter::shared(Memory::new(CAPACITY), link()?, options));
            let node = Node { limiter, origin };
            trio.tasks.spawn(tick(node.clone()));
            trio.tasks.spawn(listen(node.clone(), client.clone()));
            trio.nodes.push(node);
        }
        Ok(trio)
    }

    /// Waits until every node knows of the others and is decided by Redis.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn until_shared(&self) -> Result<()> {
        let begin = Instant::now();
        for node in &self.nodes {
            loop {
                let health = node.health()?;
                if health.source == Source::Redis && health.nodes as usize == self.nodes.len() {
                    break;
                }
                ensure!(begin.elapsed() < SHARED_BOUND, "after {SHARED_BOUND:?} a node still is {health:?}");
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Ends what runs by the clock and the subscriptions, so that only decisions ask Redis.
    pub(super) fn be_quiet(&mut self) {
        self.tasks.abort_all();
    }

    /// Sends the requests, which are in the order of their times, and returns the answers in the same order.
    pub(super) async fn drive(&self, asks: &[Ask]) -> Result<Vec<Answer>> {
        let start = tokio::time::Instant::now();
        let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
        let mut waiting: JoinSet<(usize, Answer)> = JoinSet::new();
        for (index, ask) in asks.iter().enumerate() {
            if start.elapsed() < ask.due {
                sleep_until(start + ask.due).await;
            }
            let (node, begin, asked) = (&self.nodes[ask.node], Instant::now(), unix_micros()?);
            let now = node.now();
            if let Some(decision) = node.limiter.decide_now(ask.key, &ask.rule, ask.cost, Mode::Count, now) {
                answers[index] = Some(Answer { decision, took: begin.elapsed(), at_once: true, asked });
            } else {
                let (node, ask) = (node.clone(), ask.clone());
                waiting.spawn(async move {
                    let decision = node.limiter.decide(ask.key, &ask.rule, ask.cost, Mode::Count, now).await;
                    (index, Answer { decision, took: begin.elapsed(), at_once: false, asked })
                });
            }
            while let Some(done) = waiting.try_join_next() {
                let (index, answer) = done.context("a decision panicked")?;
                answers[index] = Some(answer);
            }
        }
        while let Some(done) = waiting.join_next().await {
            let (index, answer) = done.context("a decision panicked")?;
            answers[index] = Some(answer);
        }
        answers.into_iter().collect::<Option<_>>().context("a request was left unanswered")
    }
}

async fn tick(node: Node) {
    let mut interval = interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        node.limiter.tick(node.now()).await;
    }
}

/// Passes on what other nodes say, and subscribes again when the connection is lost.
async fn listen(node: Node, client: redis::Client) {
    loop {
        if let Ok(mut subscription) = client.get_async_pubsub().await
            && subscription.subscribe(CHANNEL).await.is_ok()
        {
            let mut messages = subscription.on_message();
            while let Some(message) = messages.next().await {
                node.limiter.message(message.get_payload_bytes(), node.now());
            }
        }
        sleep(PAUSE).await;
    }
}

/// Time since the Unix epoch.
///
/// # Errors
/// When the clock is wrong by half a century.
pub(super) fn unix_micros() -> Result<u64> {
    Ok(micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("a clock after 1970")?))
}

/// A runtime like the product's, for limiters and load together.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
