//! Fills caches before they are asked: memory at start, Redis when it is back.

use std::sync::Arc;

use phoenix_auth::model::TokenHash;
use phoenix_auth::ports::StoreError;

use super::{TieredSessions, tags};

impl TieredSessions {
    /// Loads the sessions used last into memory, at most `limit`. Returns how many.
    ///
    /// # Errors
    /// When the database did not answer; the caches then fill as they are used.
    pub async fn warm_memory(&self, limit: u32) -> Result<usize, StoreError> {
        let inner = &*self.inner;
        if limit == 0 {
            return Ok(0);
        }
        let stamp = inner.freshness.applied();
        let sessions = inner.parts.store.recently_used(limit).await?;
        let now = inner.parts.clock.mono();
        let count = sessions.len();
        // The last used go in last: where memory is short, they stay.
        for (hash, active) in sessions.into_iter().rev() {
            inner.keep(&hash, &Arc::new(active), stamp, now);
        }
        inner.counters.warmed(count);
        Ok(count)
    }

    /// Hands what memory holds to Redis, at most `limit` entries, waiting for room in its queue. For a Redis that is
    /// back, perhaps empty. Returns how many.
    pub async fn warm_redis(&self, limit: usize) -> usize {
        let inner = &*self.inner;
        if inner.parts.redis.is_none() {
            return 0;
        }
        let mut count = 0;
        for (key, active, stamp) in inner.memory.sample(limit) {
            if inner.freshness.is_stale(stamp, tags(&active)) {
                continue;
            }
            let hash = TokenHash::from_bytes(*key.as_bytes());
            // Whoever reads it judges it by its stamp; no need to do so here.
            if inner.to_redis.sender.send((hash, active, stamp)).await.is_err() {
                break;
            }
            count += 1;
        }
        count
    }
}
