//! Looks a session up behind L1: one load for all callers, in the order Redis, database, and in an outage memory again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::model::{ActiveSession, Moment, TokenHash};
use phoenix_auth::ports::{FoundSession, Lookup, StoreError, StoreErrorKind, Tier};
use phoenix_cache::{Key, Seq};

use super::{Inner, TieredSessions, key, tags};

/// While the database is known not to answer, a look-up waits this long to see whether it does again.
const LOST_DATABASE_TIMEOUT: Duration = Duration::from_millis(250);

/// A look-up waits this long for a lapsed lease to be renewed, before it asks for its session itself.
const LAPSED_LEASE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a load found, shared by all who waited for it.
#[derive(Clone)]
pub(super) struct Loaded {
    found: Option<Arc<ActiveSession>>,
    tier: Tier,
    stamp: Seq,
    /// It was used though nobody could say whether it still counts.
    in_grace: bool,
}

/// Where a load begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// In memory.
    Memory,
    /// Behind memory, which still has the entry: it is refreshed ahead of its end.
    Redis,
    /// In the database.
    Truth,
}

impl TieredSessions {
    pub(super) async fn load(&self, hash: TokenHash, from: From) -> Result<Lookup, StoreError> {
        let inner = &self.inner;
        let mut loaded = self.join_load(hash, from).await?;
        if inner.is_outdated(&loaded) {
            // It was invalidated while it was loaded, perhaps before this request began. Another load may be under way
            // that began before, too; one that begins now sees the truth as of now.
            loaded = self.join_load(hash, From::Truth).await?;
            if inner.is_outdated(&loaded) {
                loaded = Arc::clone(inner).load(hash, From::Truth).await?;
            }
        }
        inner.counters.answered(loaded.tier, loaded.found.is_some());
        Ok(Lookup { found: loaded.found, tier: loaded.tier })
    }

    async fn join_load(&self, hash: TokenHash, from: From) -> Result<Loaded, StoreError> {
        let flights = match from {
            From::Memory => &self.inner.flights,
            From::Redis => &self.inner.refreshing,
            From::Truth => &self.inner.truth_flights,
        };
        flights.run(key(&hash), || Arc::clone(&self.inner).load(hash, from)).await
    }

    /// Loads sessions again whose entries end soon, until the process ends.
    pub async fn run_refresher(&self) {
        let mut due = self.inner.to_refresh.receiver.lock().await;
        while let Some(hash) = due.recv().await {
            // Not counted as an answer: nobody asked. When it fails the entry ends, and whoever asks then loads it.
            let _refreshed = self.join_load(hash, From::Redis).await;
        }
    }
}

impl Inner {
    /// Asks L2 and L3, and fills what is in front of the one that knew.
    async fn load(self: Arc<Self>, hash: TokenHash, from: From) -> Result<Loaded, StoreError> {
        let mut now = self.parts.clock.now();
        if !self.freshness.is_fresh(now.mono) && !self.is_database_lost() {
            // The one who keeps the lease comes too late, as on a machine that has too much to do. One read of the log
            // makes every copy count again; without it every session in use would be read from the database.
            self.renew_lapsed_lease().await;
            now = self.parts.clock.now();
        }
        if from == From::Memory
            && let Some(active) = self.memory.get(&key(&hash), now.mono, &self.freshness)
        {
            // The caller looked just before the load ahead of this one filled the memory.
            let stamp = self.freshness.applied();
            return Ok(Loaded { found: Some(active), tier: Tier::L1, stamp, in_grace: false });
        }
        let may_use_redis = from != From::Truth && self.freshness.is_fresh(now.mono);
        if may_use_redis && let Some(loaded) = self.load_from_redis(&hash, now).await {
            return Ok(loaded);
        }
        let stamp = self.freshness.applied();
        let found = match self.ask_database(&hash, now).await {
            Ok(found) => found,
            // Who asked for the truth has seen the copy in memory already, and did not believe it.
            Err(error) if is_outage(&error) && from != From::Truth => {
                return self.load_in_grace(&hash, self.parts.clock.mono()).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let Some(found) = found else {
            // Or a later outage could find the copy that has outlived its time.
            self.memory.remove(&key(&hash));
            self.negatives.insert(key(&hash), now.mono);
            return Ok(Loaded { found: None, tier: Tier::L3, stamp, in_grace: false });
        };
        let active = Arc::new(self.carry_on(&hash, found.active, now.mono));
        if !found.superseded {
            self.keep(&hash, &active, stamp, now.mono);
            self.share(&hash, &active, stamp);
        }
        Ok(Loaded { found: Some(active), tier: Tier::L3, stamp, in_grace: false })
    }

    /// Renews the lease, once for all who wait. When it fails, the database is asked for the session itself.
    async fn renew_lapsed_lease(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let renewing = || async move { inner.renew_lease().await };
        let renewed =
            tokio::time::timeout(LAPSED_LEASE_TIMEOUT, self.renewals.run(Key::new([0; 32]), renewing));
        if !matches!(renewed.await, Ok(Ok(()))) {
            tracing::debug!("a lapsed lease was not renewed at once");
        }
    }

    async fn ask_database(&self, hash: &TokenHash, now: Moment) -> Result<Option<FoundSession>, StoreError> {
        self.counters.database_read();
        let superseded_after = now.wall.minus(self.parts.limits.refresh_grace);
        let mut asked = pin!(self.parts.store.find_session(hash, superseded_after));
        let mut lost = self.database_lost.subscribe();
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            _ = lost.wait_for(|lost| *lost) => {}
        }
        let late =
            || StoreError::new("find a session", StoreErrorKind::TimedOut, "the database does not answer");
        tokio::time::timeout(LOST_DATABASE_TIMEOUT, asked).await.unwrap_or_else(|_elapsed| Err(late()))
    }

    /// Whether an invalidation later than its load names what was loaded.
    fn is_outdated(&self, loaded: &Loaded) -> bool {
        let is_stale = |active: &ActiveSession| self.freshness.is_stale(loaded.stamp, tags(active));
        !loaded.in_grace && loaded.found.as_deref().is_some_and(is_stale)
    }

    async fn load_from_redis(&self, hash: &TokenHash, now: Moment) -> Option<Loaded> {
        let (active, stamp) = self.parts.redis.as_ref()?.get(hash).await?;
        // Redis took its time: the lease must still hold now.
        if !self.freshness.is_fresh(self.parts.clock.mono()) {
            return None;
        }
        // A copy from the future was made on a database that no longer is, or by a node that knows more than we do.
        if stamp > self.freshness.applied() || self.freshness.is_stale(stamp, tags(&active)) {
            return None;
        }
        let active = Arc::new(self.carry_on(hash, active, now.mono));
        self.keep(hash, &active, stamp, now.mono);
        Some(Loaded { found: Some(active), tier: Tier::L2, stamp, in_grace: false })
    }

    /// The copy in memory, when the truth does not answer and nobody else can say either.
    fn load_in_grace(&self, hash: &TokenHash, now: Duration) -> Option<Loaded> {
        let active = self.in_grace(hash, now)?;
        Some(Loaded { found: Some(active), tier: Tier::L1, stamp: self.freshness.applied(), in_grace: true })
    }

    /// The copy in memory, if the lease has ended less than the grace ago.
    pub(super) fn in_grace(&self, hash: &TokenHash, now: Duration) -> Option<Arc<ActiveSession>> {
        let grace = self.parts.limits.outage_grace;
        let active = self.memory.get_in_grace(&key(hash), now, grace, &self.freshness)?;
        self.counters.served_in_grace();
        Some(active)
    }

    /// What only this process knows of a session goes on with its new copy.
    fn carry_on(&self, hash: &TokenHash, mut active: ActiveSession, now: Duration) -> ActiveSession {
        if let Some(held) = self.memory.get(&key(hash), now, &self.freshness)
            && held.session.id == active.session.id
        {
            active.environments = held.environments.clone();
            if held.session.last_seen_at > active.session.last_seen_at {
                active.session.last_seen_at = held.session.last_seen_at;
                active.session.last_ip = held.session.last_ip;
            }
        }
        active
    }
}

/// Whether the database could not be asked. What it answered wrongly is a defect, and no reason for grace.
fn is_outage(error: &StoreError) -> bool {
    match error.kind() {
        StoreErrorKind::Unavailable | StoreErrorKind::TimedOut => true,
        StoreErrorKind::ReadOnly | StoreErrorKind::StorageFull | StoreErrorKind::Internal => false,
    }
}
