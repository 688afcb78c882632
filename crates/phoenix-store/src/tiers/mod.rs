//! Sessions through the tiers: L1 memory, L2 Redis, L3 the database.
//!
//! Owns the order in which tiers are asked, what fills what, and the counters. When an answer may be given from a
//! cache is decided by [`phoenix_cache::Freshness`]; what a session means, by `phoenix-auth`.

mod activity;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{self, ActiveSession, Moment, SessionId, TokenHash, UserId};
use phoenix_auth::ports::{
    Activity, Clock, Invalidation, Lookup, SessionCache, Stale, Store, StoreError, Tier,
};
use phoenix_cache::{Freshness, Key, Memory, MemoryStats, Negatives, Seq, SingleFlight, Tag};
use tokio::sync::{Notify, mpsc};

use crate::redis::RedisSessions;
use activity::ActivityQueue;
use stats::Counters;

pub use stats::TierStats;

/// Entries waiting to be written to Redis. At the bound new ones are dropped: Redis is a hint.
const L2_QUEUE: usize = 8192;
/// Entries written to Redis in one round trip.
const L2_BATCH: usize = 128;
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
    /// How long an entry stays in L1.
    pub l1_ttl: Duration,
    /// Most tokens remembered as unknown.
    pub negative_entries: usize,
    /// How long a token is remembered as unknown.
    pub negative_ttl: Duration,
    /// No node uses a session longer than this after its revocation was acknowledged.
    pub revocation_bound: Duration,
    /// A token replaced by its successor is found for this long.
    pub refresh_grace: Duration,
    /// Most sessions whose last-seen waits to be written.
    pub activity_entries: usize,
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
    negatives: Negatives,
    freshness: Freshness,
    flights: SingleFlight<Result<Loaded, StoreError>>,
    truth_flights: SingleFlight<Result<Loaded, StoreError>>,
    activity: ActivityQueue,
    /// One flush at a time: the last one, before the database is closed, must not meet another.
    flushing: tokio::sync::Mutex<()>,
    to_redis: mpsc::Sender<Fill>,
    fills: tokio::sync::Mutex<mpsc::Receiver<Fill>>,
    gap: Notify,
    counters: Counters,
}

type Fill = (TokenHash, Arc<ActiveSession>, Seq);

/// What a load found, shared by all who waited for it.
#[derive(Clone)]
struct Loaded {
    found: Option<Arc<ActiveSession>>,
    tier: Tier,
    stamp: Seq,
}

impl TieredSessions {
    /// Empty tiers. Nothing is answered from a cache before the first [`TieredSessions::renew_lease`].
    #[must_use]
    pub fn new(parts: TierParts) -> Self {
        let limits = parts.limits;
        let (to_redis, fills) = mpsc::channel(L2_QUEUE);
        Self {
            inner: Arc::new(Inner {
                memory: Memory::new(limits.l1_max_bytes, TYPICAL_BYTES),
                negatives: Negatives::new(limits.negative_entries, limits.negative_ttl),
                freshness: Freshness::new(limits.revocation_bound, LOG_CAPACITY),
                flights: SingleFlight::new(),
                truth_flights: SingleFlight::new(),
                activity: ActivityQueue::new(limits.activity_entries),
                flushing: tokio::sync::Mutex::default(),
                to_redis,
                fills: tokio::sync::Mutex::new(fills),
                gap: Notify::new(),
                counters: Counters::default(),
                parts,
            }),
        }
    }

    /// Reads what became stale since the last read, and renews the lease. To be called every quarter of the bound,
    /// and whenever [`TieredSessions::gap_noticed`] returns.
    ///
    /// # Errors
    /// When the database did not answer; the lease then runs out by itself.
    pub async fn renew_lease(&self) -> Result<(), StoreError> {
        let Inner { parts, freshness, .. } = &*self.inner;
        let started = parts.clock.mono();
        let last = seq(parts.store.last_seq().await?);
        if last < freshness.applied() {
            // The database is an older one than we knew: restored from a backup, or another.
            tracing::warn!("the invalidation log went back; every cached session is dropped");
            self.inner.memory.clear();
            freshness.reset();
        }
        while freshness.applied() < last {
            let after = freshness.applied();
            let page = parts.store.invalidations_after(model::Seq(after.0), LOG_PAGE).await?;
            let entries: Vec<_> = page.iter().map(|entry| (seq(entry.seq), tag(entry.stale))).collect();
            let first = entries.first().map_or(Seq(last.0 + 1), |(first, _)| *first);
            if first.0 > after.0 + 1 {
                // Entries in between were trimmed, long after any copy they name had expired, unless somebody puts
                // old copies back.
                freshness.starts_at(first);
            }
            freshness.extend(&entries);
            if page.len() < LOG_PAGE as usize {
                break;
            }
        }
        freshness.renew(started, &[], last);
        Ok(())
    }

    /// Returns when an invalidation became known whose predecessors are not.
    pub async fn gap_noticed(&self) {
        self.inner.gap.notified().await;
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
        let mut fills = self.inner.fills.lock().await;
        let mut batch = Vec::with_capacity(L2_BATCH);
        while fills.recv_many(&mut batch, L2_BATCH).await > 0 {
            redis.put(&batch).await;
            batch.clear();
        }
    }

    /// How full L1 is.
    #[must_use]
    pub fn memory_stats(&self) -> MemoryStats {
        self.inner.memory.stats()
    }

    /// Counters of all tiers.
    #[must_use]
    pub fn stats(&self) -> TierStats {
        let Inner { counters, activity, negatives, freshness, parts, .. } = &*self.inner;
        let lease_remaining = freshness.remaining(parts.clock.mono());
        counters.read(activity.dropped(), activity.len(), negatives.len(), lease_remaining)
    }

    async fn load(&self, hash: TokenHash, past_caches: bool) -> Result<Lookup, StoreError> {
        let inner = &self.inner;
        let mut loaded = self.join_load(hash, past_caches).await?;
        if loaded.found.as_deref().is_some_and(|active| inner.freshness.is_stale(loaded.stamp, tags(active)))
        {
            // It was invalidated while it was loaded, perhaps before this request began. A load that starts now
            // sees the truth as of now.
            loaded = self.join_load(hash, true).await?;
        }
        inner.counters.answered(loaded.tier, loaded.found.is_some());
        Ok(Lookup { found: loaded.found, tier: loaded.tier })
    }

    async fn join_load(&self, hash: TokenHash, past_caches: bool) -> Result<Loaded, StoreError> {
        let flights = if past_caches { &self.inner.truth_flights } else { &self.inner.flights };
        flights.run(key(&hash), || Arc::clone(&self.inner).load(hash, past_caches)).await
    }
}

impl Inner {
    /// Asks L2 and L3, and fills what is in front of the one that knew.
    async fn load(self: Arc<Self>, hash: TokenHash, past_caches: bool) -> Result<Loaded, StoreError> {
        let now = self.parts.clock.now();
        if !past_caches && let Some(active) = self.memory.get(&key(&hash), now.mono, &self.freshness) {
            // The caller looked just before the load ahead of this one filled the memory.
            return Ok(Loaded { found: Some(active), tier: Tier::L1, stamp: self.freshness.applied() });
        }
        let may_use_redis = !past_caches && self.freshness.is_fresh(now.mono);
        if may_use_redis && let Some(loaded) = self.load_from_redis(&hash, now).await {
            return Ok(loaded);
        }
        let stamp = self.freshness.applied();
        self.counters.database_read();
        let superseded_after = now.wall.minus(self.parts.limits.refresh_grace);
        let Some(found) = self.parts.store.find_session(&hash, superseded_after).await? else {
            self.negatives.insert(key(&hash), now.mono);
            return Ok(Loaded { found: None, tier: Tier::L3, stamp });
        };
        let active = Arc::new(found.active);
        if !found.superseded {
            self.keep(&hash, &active, stamp, now);
            if self.parts.redis.is_some()
                && self.to_redis.try_send((hash, Arc::clone(&active), stamp)).is_err()
            {
                self.counters.fill_dropped();
            }
        }
        Ok(Loaded { found: Some(active), tier: Tier::L3, stamp })
    }

    async fn load_from_redis(&self, hash: &TokenHash, now: Moment) -> Option<Loaded> {
        let (active, stamp) = self.parts.redis.as_ref()?.get(hash).await?;
        // A copy from the future was made on a database that no longer is, or by a node that knows more than we do.
        if stamp > self.freshness.applied() || self.freshness.is_stale(stamp, tags(&active)) {
            return None;
        }
        let active = Arc::new(active);
        self.keep(hash, &active, stamp, now);
        Some(Loaded { found: Some(active), tier: Tier::L2, stamp })
    }

    fn keep(&self, hash: &TokenHash, active: &Arc<ActiveSession>, stamp: Seq, now: Moment) {
        let expires_at = now.mono.saturating_add(self.parts.limits.l1_ttl);
        self.memory.insert(key(hash), Arc::clone(active), active.weight(), tags(active), stamp, expires_at);
    }
}

#[async_trait]
impl SessionCache for TieredSessions {
    fn peek(&self, hash: &TokenHash, now: Moment) -> Option<Lookup> {
        let Inner { memory, negatives, freshness, counters, .. } = &*self.inner;
        let key = key(hash);
        if let Some(active) = memory.get(&key, now.mono, freshness) {
            counters.answered(Tier::L1, true);
            return Some(Lookup { found: Some(active), tier: Tier::L1 });
        }
        if negatives.contains(&key, now.mono) {
            counters.answered(Tier::L1, false);
            return Some(Lookup { found: None, tier: Tier::L1 });
        }
        None
    }

    async fn look_up(&self, hash: &TokenHash, _now: Moment) -> Result<Lookup, StoreError> {
        self.load(*hash, false).await
    }

    async fn look_up_truth(&self, hash: &TokenHash, _now: Moment) -> Result<Lookup, StoreError> {
        self.load(*hash, true).await
    }

    fn seen(&self, hash: &TokenHash, active: &Arc<ActiveSession>, now: Moment) -> Arc<ActiveSession> {
        let updated = Arc::new(active.seen_at(now.wall));
        let activity = Activity {
            session_id: active.session.id,
            user_id: active.user.id,
            at: updated.session.last_seen_at,
        };
        if self.inner.activity.record(activity) {
            self.inner.memory.update(&key(hash), active, Arc::clone(&updated));
        }
        updated
    }

    async fn invalidate(&self, invalidations: &[Invalidation]) {
        let freshness = &self.inner.freshness;
        for entry in invalidations {
            freshness.note(seq(entry.seq), tag(entry.stale));
        }
        if invalidations.iter().any(|entry| seq(entry.seq) > freshness.applied()) {
            self.inner.gap.notify_one();
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
