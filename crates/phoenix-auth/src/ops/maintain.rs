//! Remove what time has ended, in bounded batches.

use std::time::Duration;

use super::Auth;
use crate::error::AuthError;
use crate::model::Timestamp;

/// A delivery of a webhook is remembered this long: longer than its signature counts.
const DELIVERY_AGE: Duration = Duration::from_hours(24);
/// A session of an outside provider stays ended this long: longer than any provider we know keeps one.
const ENDING_AGE: Duration = Duration::from_hours(24 * 400);

/// Bounds of one clean-up.
#[derive(Clone, Copy, Debug)]
pub struct CleanUp {
    /// Most rows removed in one statement.
    pub batch: u32,
    /// Most statements in one run.
    pub max_batches: u32,
    /// Invalidations older than this are no longer needed by any cache.
    pub invalidation_age: Duration,
    /// Security events are kept this long.
    pub event_age: Duration,
}

impl Auth {
    /// Removes expired sessions and old invalidations. Returns how many sessions were removed.
    ///
    /// # Errors
    /// `Store`.
    pub async fn clean_up(&self, bounds: CleanUp) -> Result<u64, AuthError> {
        let now = self.now();
        let limits = self.parts.policy.sessions.default;
        // A step later than sessions end: the last use of one may still wait to be written.
        let idle_before = now.minus(limits.idle_timeout).minus(limits.last_seen_step * 2);
        let mut removed = 0;
        for _ in 0..bounds.max_batches {
            let batch = self.parts.store.remove_expired(now, idle_before, bounds.batch).await?.into_inner();
            removed += batch;
            if batch < u64::from(bounds.batch) {
                break;
            }
        }
        let before = now.minus(bounds.invalidation_age);
        for _ in 0..bounds.max_batches {
            let batch = self.parts.store.trim_invalidations(before, bounds.batch).await?.into_inner();
            if batch < u64::from(bounds.batch) {
                break;
            }
        }
        self.trim_records(now, bounds).await?;
        Ok(removed)
    }

    async fn trim_records(&self, now: Timestamp, bounds: CleanUp) -> Result<(), AuthError> {
        let store = &self.parts.store;
        for _ in 0..bounds.max_batches {
            let batch = store.trim_events(now.minus(bounds.event_age), bounds.batch).await?.into_inner();
            if batch < u64::from(bounds.batch) {
                break;
            }
        }
        store.trim_external(now.minus(DELIVERY_AGE), now.minus(ENDING_AGE), bounds.batch).await?;
        Ok(())
    }
}
