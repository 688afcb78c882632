//! Sessions through the tiers: L1 memory, L2 Redis, L3 the database.
//!
//! Owns the order in which tiers are asked, what fills what, and the counters. When an answer may be given from a
//! cache is decided by [`phoenix_cache::Freshness`]; what a session means, by `phoenix-auth`. How nodes tell each
//! other what became stale is in [`crate::bus`].

mod activity;
mod lag;
mod lease;
mod load;
mod pool;
mod port;
mod stats;
mod warm;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use phoenix_auth::model::{self, ActiveSession, SessionId, TokenHash, UserId};
use phoenix_auth::ports::{Clock, ExternalOpened, Invalidation, Stale, Store, StoreError};
use phoenix_cache::{
    Freshness, Key, Lifetime, Memory, MemoryStats, Negatives, RefreshAhead, Seq, SingleFlight, Tag,
};
use tokio::sync::{Notify, mpsc, watch};

use crate::redis::RedisSessions;
use activity::ActivityQueue;
use lag::Lag;
use load::Loaded;
use pool::TokenPool;
use stats::Counters;

pub use lag::LagStats;
pub use lease::LeasePage;
pub use phoenix_cache::Adjustment;
pub use stats::TierStats;

/// Entries waiting to be written to Redis. At the bound new ones are dropped: Redis is a hint.
const L2_QUEUE: usize = 8192;
/// Entries written to Redis in one round trip.
const L2_BATCH: usize = 128;
/// Sessions waiting to be refreshed ahead of their end. At the bound new ones are dropped: they are loaded when asked for.
const REFRESH_QUEUE: usize = 1024;
/// Sessions remembered as being refreshed, 24 bytes each.
const REFRESHING: usize = 8192;
/// Messages to the other nodes that wait to be sent. At the bound new ones are dropped: every node reads the log too.
const PUSH_QUEUE: usize = 1024;
/// Log entries read at once.
const LOG_PAGE: u32 = 1000;
/// Log entries held in memory, about 100 bytes each.
const LOG_CAPACITY: usize = 65_536;
/// Size of a usual session, for the first guess of how many fit.
const TYPICAL_BYTES: usize = 1400;

/// Bounds of the tiers.
#[derive(Clone, Copy, Debug)]
pub struct TierLimits {
    /// Most bytes in L1.
    pub l1_max_bytes: u64,
    /// How long an entry stays in L1 at most.
    pub l1_ttl: Duration,
    /// How far that time is shortened when sessions are used again sooner.
    pub l1_min_ttl: Duration,
    /// Most tokens remembered as unknown.
    pub negative_entries: usize,
    /// How long a token is remembered as unknown.
    pub negative_ttl: Duration,
    /// No node uses a session longer than this after its revocation was acknowledged.
    pub revocation_bound: Duration,
    /// How long sessions in memory are used when neither the database nor another node can be asked.
    pub outage_grace: Duration,
    /// A token replaced by its successor is found for this long.
    pub refresh_grace: Duration,
    /// Most sessions whose last-seen waits to be written.
    pub activity_entries: usize,
    /// Most verified tokens of outside providers.
    pub token_pool_entries: usize,
}

/// What the tiers are made of.
pub struct TierParts {
    /// L3.
    pub store: Arc<dyn Store>,
    /// L2, if there is one.
    pub redis: Option<Arc<RedisSessions>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub limits: TierLimits,
}

/// Sessions by token hash, through the tiers. Cheap to clone.
#[derive(Clone)]
pub struct TieredSessions {
    inner: Arc<Inner>,
}

struct Inner {
    parts: TierParts,
    memory: Memory<ActiveSession>,
    lifetime: Lifetime,
    refresh: RefreshAhead,
    negatives: Negatives,
    tokens: TokenPool,
    freshness: Freshness,
    /// Held while a page of the log is taken in.
    taking_page: Mutex<()>,
    /// Whether the last tries to read the log from the database failed.
    database_lost: watch::Sender<bool>,
    flights: SingleFlight<Result<Loaded, StoreError>>,
    truth_flights: SingleFlight<Result<Loaded, StoreError>>,
    refreshing: SingleFlight<Result<Loaded, StoreError>>,
    opening: SingleFlight<Result<Opening, StoreError>>,
    renewals: SingleFlight<Result<(), StoreError>>,
    activity: ActivityQueue,
    /// One flush at a time: the last one, before the database is closed, must not meet another.
    flushing: tokio::sync::Mutex<()>,
    to_redis: Queue<Fill>,
    to_refresh: Queue<TokenHash>,
    to_push: Queue<Vec<Invalidation>>,
    gap: Notify,
    lag: Lag,
    counters: Counters,
}

/// A bounded queue and its one reader.
struct Queue<T> {
    sender: mpsc::Sender<T>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<T>>,
}

impl<T> Queue<T> {
    fn new(bound: usize) -> Self {
        let (sender, receiver) = mpsc::channel(bound);
        Self { sender, receiver: tokio::sync::Mutex::new(receiver) }
    }
}

/// What became of opening an outside session, and what was known before.
type Opening = (Arc<ExternalOpened>, Seq);

type Fill = (TokenHash, Arc<ActiveSession>, Seq);

impl TieredSessions {
    /// Empty tiers. Nothing is answered from a cache before the first [`TieredSessions::renew_lease`].
    #[must_use]
    pub fn new(parts: TierParts) -> Self {
        let limits = parts.limits;
        Self {
            inner: Arc::new(Inner {
                memory: Memory::new(limits.l1_max_bytes, TYPICAL_BYTES),
                lifetime: Lifetime::new(limits.l1_min_ttl, limits.l1_ttl),
                refresh: RefreshAhead::new(REFRESHING),
                negatives: Negatives::new(limits.negative_entries, limits.negative_ttl),
                tokens: TokenPool::new(limits.token_pool_entries),
                freshness: Freshness::new(limits.revocation_bound, LOG_CAPACITY),
                taking_page: Mutex::default(),
                database_lost: watch::Sender::new(false),
                refreshing: SingleFlight::new(),
                flights: SingleFlight::new(),
                truth_flights: SingleFlight::new(),
                opening: SingleFlight::new(),
                renewals: SingleFlight::new(),
                activity: ActivityQueue::new(limits.activity_entries),
                flushing: tokio::sync::Mutex::default(),
                to_redis: Queue::new(L2_QUEUE),
                to_refresh: Queue::new(REFRESH_QUEUE),
                to_push: Queue::new(PUSH_QUEUE),
                gap: Notify::new(),
                lag: Lag::default(),
                counters: Counters::default(),
                parts,
            }),
        }
    }

    /// Writes waiting last-seens, at most `batch` at a time, until none is left. Returns how many were written.
    ///
    /// # Errors
    /// When the database did not answer; what was not written waits for the next time.
    pub async fn flush_activity(&self, batch: usize) -> Result<u64, StoreError> {
        let _alone = self.inner.flushing.lock().await;
        let mut written = 0;
        loop {
            let activities = self.inner.activity.take(batch);
            if activities.is_empty() {
                return Ok(written);
            }
            match self.inner.parts.store.record_activity(&activities).await {
                Ok(count) => written += count.into_inner(),
                Err(error) => {
                    self.inner.activity.put_back(activities);
                    return Err(error);
                }
            }
        }
    }

    /// Writes to Redis what was loaded from the database, until the process ends. Returns at once without Redis.
    pub async fn run_l2_writer(&self) {
        let Some(redis) = &self.inner.parts.redis else { return };
        let mut fills = self.inner.to_redis.receiver.lock().await;
        let mut batch = Vec::with_capacity(L2_BATCH);
        while fills.recv_many(&mut batch, L2_BATCH).await > 0 {
            redis.put(&batch).await;
            batch.clear();
        }
    }

    /// The next revocations that the other nodes should be told of at once.
    pub async fn next_to_push(&self) -> Option<Vec<Invalidation>> {
        self.inner.to_push.receiver.lock().await.recv().await
    }

    /// Adapts the lifetime of entries in memory to how soon they were used again. To be called once a minute.
    #[must_use]
    pub fn adapt_lifetime(&self) -> Option<Adjustment> {
        self.inner.lifetime.adapt(self.inner.parts.clock.mono())
    }

    /// How full L1 is.
    #[must_use]
    pub fn memory_stats(&self) -> MemoryStats {
        self.inner.memory.stats()
    }

    /// Counters of all tiers.
    #[must_use]
    pub fn stats(&self) -> TierStats {
        let Inner { counters, activity, negatives, freshness, parts, tokens, lifetime, lag, .. } =
            &*self.inner;
        TierStats {
            activity_dropped: activity.dropped(),
            activity_waiting: activity.len(),
            negatives: negatives.len(),
            pooled_tokens: tokens.len(),
            l1_lifetime: lifetime.current(),
            lease_remaining: freshness.remaining(parts.clock.mono()),
            revocation_bound: freshness.bound(),
            apply_lag: lag.read(),
            ..counters.read()
        }
    }
}

impl Inner {
    fn is_database_lost(&self) -> bool {
        *self.database_lost.borrow()
    }

    fn keep(&self, hash: &TokenHash, active: &Arc<ActiveSession>, stamp: Seq, now: Duration) {
        if stamp > self.freshness.applied() {
            // Loaded before the log was found to have gone back.
            return;
        }
        let expires_at = now.saturating_add(self.lifetime.current());
        let (weight, tags) = (active.weight(), tags(active));
        self.memory.insert(key(hash), Arc::clone(active), weight, tags, stamp, expires_at);
    }

    /// Hands an entry to the one who writes to Redis.
    fn share(&self, hash: &TokenHash, active: &Arc<ActiveSession>, stamp: Seq) {
        if self.parts.redis.is_some()
            && self.to_redis.sender.try_send((*hash, Arc::clone(active), stamp)).is_err()
        {
            self.counters.fill_dropped();
        }
    }
}

fn key(hash: &TokenHash) -> Key {
    Key::new(*hash.as_bytes())
}

fn seq(seq: model::Seq) -> Seq {
    Seq(seq.0)
}

fn tags(active: &ActiveSession) -> [Tag; 2] {
    [session_tag(active.session.id), user_tag(active.user.id)]
}

fn tag(stale: Stale) -> Tag {
    match stale {
        Stale::Session(id) => session_tag(id),
        Stale::User(id) => user_tag(id),
    }
}

fn session_tag(id: SessionId) -> Tag {
    Tag(id.as_uuid().as_u128())
}

fn user_tag(id: UserId) -> Tag {
    Tag(id.as_uuid().as_u128())
}
