//! Remove what time has ended, in bounded batches.

use std::time::Duration;

use super::Auth;
use crate::error::AuthError;

/// Bounds of one clean-up.
#[derive(Clone, Copy, Debug)]
pub struct CleanUp {
    /// Most rows removed in one statement.
    pub batch: u32,
    /// Most statements in one run.
    pub max_batches: u32,
    /// Invalidations older than this are no longer needed by any cache.
    pub invalidation_age: Duration,
}

impl Auth {
    /// Removes expired sessions and old invalidations. Returns how many sessions were removed.
    ///
    /// # Errors
    /// `Store`.
    pub async fn clean_up(&self, bounds: CleanUp) -> Result<u64, AuthError> {
        let now = self.now();
        let limits = self.parts.policy.sessions;
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
        Ok(removed)
    }
}
