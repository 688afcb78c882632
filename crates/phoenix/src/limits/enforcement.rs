//! The limits of this process, put together: where they are kept, whom they block, and what of them people see.
//!
//! Does not own the rules, nor how blocks are written down and read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, BlockSubject, KeyRing};
use phoenix_auth::ports::{Clock, Entropy};
use phoenix_config::Config;
use phoenix_http::LimitSubject;
use phoenix_http::limits::{
    BegunBlock, BlockObserver, LimitedAddress, Limits, LimitsParts, LiveRules, Subject,
};
use phoenix_limit::{Key, Keyer, Limiter, Memory, SharedOptions, Source};
use phoenix_store::redis::{RedisCommands, RedisConfig};

use super::admin::{CountedAs, LimitKeys};
use super::block_queue::BlockQueue;
use super::blocks::BlockSink;
use super::link::{self, RedisLink};
use crate::app::World;
use crate::entropy;
use crate::lifecycle::Lifecycle;

/// Parts into which the keys of a Redis Cluster are divided, each of which can be lost by itself.
const CLUSTER_PARTITIONS: u32 = 64;
/// What a shared limiter does beside requests is done this often.
const TICK: Duration = Duration::from_millis(100);
/// Most such steps before the first request. One is enough for 64 MiB of memory.
const START_TICKS: usize = 256;
/// Reservations of requests that were broken off are settled this often.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a lock-out to be in the database. The request that caused it waits.
const LOCK_OUT_WAIT: Duration = Duration::from_millis(250);

/// The limiter and its way to Redis, if limits are shared. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) commands: Option<Arc<RedisCommands>>,
}

impl Store {
    /// Does not connect.
    pub(crate) fn new(
        config: &Config,
        redis: Option<&RedisConfig>,
        keys: &KeyRing,
        world: &World,
    ) -> anyhow::Result<Self> {
        let memory = Memory::new(config.limits.memory.bytes());
        let Some(redis) = redis else {
            return Ok(Self { limiter: Arc::new(Limiter::in_memory(memory)), commands: None });
        };
        let commands = Arc::new(RedisCommands::new(redis, Arc::clone(&world.clock))?);
        let now = world.clock.now();
        let unix = Duration::from_millis(u64::try_from(now.wall.as_millis()).unwrap_or_default());
        let partitions = if commands.is_cluster() { CLUSTER_PARTITIONS } else { 1 };
        let options = SharedOptions {
            partitions,
            installation: Keyer::new(keys.limited_keys()).fingerprint(),
            ..SharedOptions::new(entropy::number(&*world.entropy), unix.saturating_sub(now.mono))
        };
        let link = Arc::new(RedisLink::new(Arc::clone(&commands)));
        Ok(Self { limiter: Arc::new(Limiter::shared(memory, link, options)), commands: Some(commands) })
    }

    /// Joins the other nodes before the first request, and does from then on what goes on beside requests.
    pub(crate) async fn start(&self, limits: &Arc<Limits>, lifecycle: &Lifecycle, world: &World) {
        lifecycle.spawn("broken off reservations", settle(lifecycle.clone(), Arc::clone(limits)));
        let Some(commands) = &self.commands else { return };
        for _ in 0..START_TICKS {
            self.limiter.tick(world.clock.mono()).await;
            let health = self.limiter.health(world.clock.mono()).shared;
            // A large memory is told to Redis in several steps, and until then each node decides by itself.
            if health.is_none_or(|health| health.source != Source::Merging) {
                break;
            }
        }
        let (limiter, clock) = (Arc::clone(&self.limiter), Arc::clone(&world.clock));
        let (stopping, receiver) =
            (lifecycle.stopping().clone(), commands.receiver(entropy::number(&*world.entropy)));
        lifecycle.spawn("limits of other nodes", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = link::listen(receiver, &limiter, &*clock) => {}
            }
        });
        let ticking = tick(lifecycle.clone(), Arc::clone(&self.limiter), Arc::clone(&world.clock));
        lifecycle.spawn("shared limits", ticking);
    }
}

async fn tick(lifecycle: Lifecycle, limiter: Arc<Limiter>, clock: Arc<dyn Clock>) {
    while lifecycle.pause(TICK).await {
        limiter.tick(clock.mono()).await;
    }
    limiter.leave(clock.mono()).await;
}

async fn settle(lifecycle: Lifecycle, limits: Arc<Limits>) {
    while lifecycle.pause(SETTLE_INTERVAL).await {
        limits.settle_abandoned().await;
    }
}

/// Limits by these rules, kept in `store`; blocks that begin go to `queue`.
pub(crate) fn limits(
    store: &Store,
    rules: &Arc<LiveRules>,
    keys: &KeyRing,
    queue: &Arc<BlockQueue>,
    lifecycle: &Lifecycle,
    world: &World,
) -> Arc<Limits> {
    let (clock, entropy) = (Arc::clone(&world.clock), Arc::clone(&world.entropy));
    Limits::new(LimitsParts {
        limiter: Arc::clone(&store.limiter),
        rules: Arc::clone(rules),
        keyer: Keyer::new(keys.limited_keys()),
        clock: Arc::clone(&clock),
        blocks: Arc::new(Writer { queue: Arc::clone(queue), clock, entropy }),
        tasks: lifecycle.tracker().clone(),
    })
}

/// Has blocks written down.
struct Writer {
    queue: Arc<BlockQueue>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Writer {
    fn block(&self, begun: BegunBlock) -> Block {
        let since = self.clock.now().wall;
        Block {
            id: BlockId::generate(since, &*self.entropy),
            key: block_key(begun.key),
            class: begun.class,
            subject: BlockSubject::bounded(begun.subject.to_string()),
            cause: BlockCause::Limit,
            reason: String::new(),
            since,
            until: since.plus(begun.length),
            by: None,
        }
    }
}

#[async_trait]
impl BlockObserver for Writer {
    fn began(&self, block: BegunBlock) {
        self.queue.note(self.block(block));
    }

    async fn began_lasting(&self, block: BegunBlock) {
        if !self.queue.put(self.block(block), LOCK_OUT_WAIT).await {
            tracing::warn!(
                "a lock-out is not in the database yet; it counts all the same and is written later"
            );
        }
    }
}

/// The limiter's key without what only a full memory needs.
fn block_key(key: Key) -> BlockKey {
    BlockKey::from_bytes(key.name().to_be_bytes())
}

#[expect(clippy::cast_possible_truncation, reason = "any part of the name will do")]
fn limited_key(key: BlockKey) -> Key {
    let name = u128::from_be_bytes(*key.as_bytes());
    Key::from_parts(name, name as u64)
}

/// The limiter, obeying blocks.
pub(crate) struct Obedient {
    pub(crate) limiter: Arc<Limiter>,
    /// Whether all nodes count together. If not, each has to forget a client whose block was lifted.
    pub(crate) is_shared: bool,
}

#[async_trait]
impl BlockSink for Obedient {
    async fn block(&self, key: BlockKey, length: Duration, cause: BlockCause, now: Duration) {
        if cause == BlockCause::Administrator && !self.is_shared {
            return self.replace(key, length, now).await;
        }
        self.limiter.block(limited_key(key), length, now).await;
    }

    async fn replace(&self, key: BlockKey, length: Duration, now: Duration) {
        let key = limited_key(key);
        self.limiter.lift(key, now).await;
        self.limiter.block(key, length, now).await;
    }

    async fn lift(&self, key: BlockKey, now: Duration) {
        if self.is_shared {
            self.limiter.lift(limited_key(key), now).await;
        } else {
            self.limiter.reset(limited_key(key), now).await;
        }
    }

    async fn reset(&self, key: BlockKey, now: Duration) {
        self.limiter.reset(limited_key(key), now).await;
    }

    async fn reset_all(&self, now: Duration) {
        self.limiter.reset_all(now).await;
    }
}

/// How the rules in force count clients.
pub(crate) struct Counted(pub(crate) Arc<Limits>);

impl LimitKeys for Counted {
    fn classes(&self) -> Vec<String> {
        self.0.counts().into_iter().map(|counts| counts.class).collect()
    }

    fn keys_of(&self, subject: LimitSubject, class: &str) -> Vec<CountedAs> {
        let (subject, shown) = match subject {
            LimitSubject::Address(address) => {
                let prefix = self.0.rules().load().options().ipv6_prefix;
                let address = LimitedAddress::of(address, prefix);
                (Subject::Address(address), BlockSubject::address(address))
            }
            LimitSubject::User(id) => (Subject::User(id), BlockSubject::user(id)),
        };
        let counted = |key| CountedAs { key: block_key(key), subject: shown.clone() };
        self.0.key_of(&subject, class).map(counted).into_iter().collect()
    }
}
