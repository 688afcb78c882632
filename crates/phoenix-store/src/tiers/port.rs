//! What the domain asks of the tiers.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{self, ActiveSession, Moment, TokenHash};
use phoenix_auth::ports::{
    Activity, ExternalOpened, Invalidation, Lookup, NewExternalSession, PooledToken, SessionCache,
    StoreError, Tier,
};

use super::load::From;
use super::{Inner, Opening, TieredSessions, key, seq, tag, tags};

#[async_trait]
impl SessionCache for TieredSessions {
    fn peek(&self, hash: &TokenHash, now: Moment) -> Option<Lookup> {
        let Inner { memory, negatives, freshness, lifetime, refresh, .. } = &*self.inner;
        let key = key(hash);
        lifetime.observe(&key, now.mono);
        if let Some(hit) = memory.hit(&key, now.mono, freshness) {
            if refresh.due(&key, now.mono, hit.expires_at, lifetime.current()) {
                // When the queue is full the entry ends, and is loaded when it is asked for.
                let _queued = self.inner.to_refresh.sender.try_send(*hash);
            }
            return Some(Lookup { found: Some(hit.value), tier: Tier::L1 });
        }
        if negatives.contains(&key, now.mono) {
            return Some(Lookup { found: None, tier: Tier::L1 });
        }
        // Neither the database nor another node can be asked: nobody waits for what is known not to answer.
        if self.inner.is_database_lost()
            && !freshness.is_fresh(now.mono)
            && let Some(active) = self.inner.in_grace(hash, now.mono)
        {
            return Some(Lookup { found: Some(active), tier: Tier::L1 });
        }
        None
    }

    fn used(&self, tier: Tier, found: bool) {
        self.inner.counters.answered(tier, found);
    }

    async fn look_up(&self, hash: &TokenHash, _now: Moment) -> Result<Lookup, StoreError> {
        self.load(*hash, From::Memory).await
    }

    async fn look_up_truth(&self, hash: &TokenHash, _now: Moment) -> Result<Lookup, StoreError> {
        self.load(*hash, From::Truth).await
    }

    fn seen(
        &self,
        hash: &TokenHash,
        active: &Arc<ActiveSession>,
        now: Moment,
        ip: Option<IpAddr>,
    ) -> Arc<ActiveSession> {
        let updated = Arc::new(active.seen_at(now.wall, ip));
        let activity = Activity {
            session_id: active.session.id,
            user_id: active.user.id,
            at: updated.session.last_seen_at,
            ip,
        };
        if self.inner.activity.record(activity) {
            self.inner.memory.update(&key(hash), active, Arc::clone(&updated));
        }
        updated
    }

    fn stamp(&self) -> model::Seq {
        self.applied()
    }

    fn opened(&self, hash: &TokenHash, active: ActiveSession, stamp: model::Seq) {
        let (active, stamp) = (Arc::new(active), seq(stamp));
        self.inner.keep(hash, &active, stamp, self.inner.parts.clock.mono());
        self.inner.share(hash, &active, stamp);
    }

    async fn open_external(&self, new: NewExternalSession) -> Result<Arc<ExternalOpened>, StoreError> {
        let (key, inner) = (key(&new.token_hash), Arc::clone(&self.inner));
        let alone = new.clone();
        let (opened, stamp) = self.inner.opening.run(key, || inner.open_external(new)).await?;
        // Another's attempt may have begun before what this caller knows of: it ended since, or the other's token was
        // older than a sign-out and this one's is not. Then this caller tries by itself.
        let is_final = match &*opened {
            ExternalOpened::Opened { active, .. } => !self.inner.freshness.is_stale(stamp, tags(active)),
            ExternalOpened::Ended => false,
            ExternalOpened::Disabled | ExternalOpened::CapReached => true,
        };
        if is_final {
            return Ok(opened);
        }
        Ok(Arc::clone(&self.inner).open_external(alone).await?.0)
    }

    fn pooled_token(&self, hash: &TokenHash) -> Option<PooledToken> {
        self.inner.tokens.get(hash)
    }

    fn over(&self, hash: &TokenHash, now: Moment) {
        let key = key(hash);
        self.inner.memory.remove(&key);
        self.inner.negatives.insert(key, now.mono);
    }

    fn pool_token(&self, hash: &TokenHash, token: PooledToken) {
        self.inner.tokens.insert(hash, token);
    }

    async fn invalidate(&self, invalidations: &[Invalidation]) {
        if invalidations.is_empty() {
            return;
        }
        let Inner { freshness, lag, gap, to_push, .. } = &*self.inner;
        for entry in invalidations {
            lag.own(entry.seq);
            freshness.note(seq(entry.seq), tag(entry.stale));
        }
        if invalidations.iter().any(|entry| seq(entry.seq) > freshness.applied()) {
            gap.notify_one();
        }
        // When the queue is full the others learn of it when they read the log.
        let _queued = to_push.sender.try_send(invalidations.to_vec());
    }
}

impl Inner {
    async fn open_external(self: Arc<Self>, new: NewExternalSession) -> Result<Opening, StoreError> {
        let stamp = self.freshness.applied();
        let opened = self.parts.store.open_external(&new).await?.acknowledge();
        if let ExternalOpened::Opened { active, .. } = &opened {
            self.negatives.remove(&key(&new.token_hash));
            self.keep(&new.token_hash, active, stamp, self.parts.clock.mono());
            self.share(&new.token_hash, active, stamp);
        }
        Ok((Arc::new(opened), stamp))
    }
}
