//! Remove what time has ended, in bounded batches.

use std::time::Duration;

use super::Auth;
use crate::error::AuthError;
use crate::model::Timestamp;
use crate::ports::{ExternalStore, StoreError};

/// A delivery of a webhook is remembered this long: longer than its signature counts.
const DELIVERY_AGE: Duration = Duration::from_hours(24);
/// A session of an outside provider stays ended this long: longer than any provider we know keeps one.
const ENDING_AGE: Duration = Duration::from_hours(24 * 400);

/// A block is kept this long after its end: longer than the clocks of two nodes differ.
const BLOCK_AGE: Duration = Duration::from_hours(1);

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
        let store = &*self.parts.store;
        let remove =
            || async move { Ok(store.remove_expired(now, idle_before, bounds.batch).await?.into_inner()) };
        let removed = batches(bounds, remove).await?;
        let before = now.minus(bounds.invalidation_age);
        let trim = || async move { Ok(store.trim_invalidations(before, bounds.batch).await?.into_inner()) };
        batches(bounds, trim).await?;
        let before = now.minus(bounds.event_age);
        let trim = || async move { Ok(store.trim_events(before, bounds.batch).await?.into_inner()) };
        batches(bounds, trim).await?;
        trim_external(store, now, bounds).await?;
        let before = now.minus(BLOCK_AGE);
        let trim = || async move { Ok(store.trim_blocks(before, bounds.batch).await?.into_inner()) };
        batches(bounds, trim).await?;
        Ok(removed)
    }
}

async fn trim_external<S: ExternalStore + ?Sized>(
    store: &S,
    now: Timestamp,
    bounds: CleanUp,
) -> Result<u64, StoreError> {
    let (deliveries, endings) = (now.minus(DELIVERY_AGE), now.minus(ENDING_AGE));
    let trim =
        || async move { Ok(store.trim_external(deliveries, endings, bounds.batch).await?.into_inner()) };
    batches(bounds, trim).await
}

/// Repeats `remove` until it removes less than a batch, within the bound. Returns how much it removed.
async fn batches<F: Future<Output = Result<u64, StoreError>> + Send>(
    bounds: CleanUp,
    remove: impl Fn() -> F + Send,
) -> Result<u64, StoreError> {
    let mut removed = 0;
    for _ in 0..bounds.max_batches {
        let batch = remove().await?;
        removed += batch;
        if batch < u64::from(bounds.batch) {
            break;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll, Waker};

    use async_trait::async_trait;

    use super::*;
    use crate::model::{Durable, Identity, Relaxed, User};
    use crate::ports::{ExternalOpened, ExternalProfile, Invalidation, NewExternalSession};

    /// Holds this many deliveries to forget, and nothing else.
    struct Deliveries(AtomicU64);

    #[async_trait]
    impl ExternalStore for Deliveries {
        async fn open_external(&self, _: &NewExternalSession) -> Result<Durable<ExternalOpened>, StoreError> {
            unreachable!("not a matter of cleaning up")
        }

        async fn user_of_identity(&self, _: &Identity) -> Result<Option<User>, StoreError> {
            unreachable!("not a matter of cleaning up")
        }

        async fn update_external(
            &self,
            _: &Identity,
            _: &ExternalProfile,
            _: Timestamp,
            _: Timestamp,
        ) -> Result<Durable<Option<Invalidation>>, StoreError> {
            unreachable!("not a matter of cleaning up")
        }

        async fn knows_delivery(&self, _: &str) -> Result<bool, StoreError> {
            unreachable!("not a matter of cleaning up")
        }

        async fn remember_delivery(&self, _: &str, _: Timestamp) -> Result<Durable<()>, StoreError> {
            unreachable!("not a matter of cleaning up")
        }

        async fn trim_external(
            &self,
            _: Timestamp,
            _: Timestamp,
            limit: u32,
        ) -> Result<Relaxed<u64>, StoreError> {
            let left = self.0.load(Ordering::Relaxed);
            let trimmed = left.min(limit.into());
            self.0.store(left - trimmed, Ordering::Relaxed);
            Ok(Relaxed::accepted(trimmed))
        }
    }

    /// What is left of `held` deliveries after one clean-up of at most 3 batches of 10.
    fn left_of(held: u64) -> u64 {
        let store = Deliveries(AtomicU64::new(held));
        let age = Duration::from_hours(1);
        let bounds = CleanUp { batch: 10, max_batches: 3, invalidation_age: age, event_age: age };
        let trimming = pin!(trim_external(&store, Timestamp::from_millis(0), bounds));
        // The store never waits.
        let Poll::Ready(trimmed) = trimming.poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("nothing to wait for")
        };
        let left = store.0.load(Ordering::Relaxed);
        assert_eq!(trimmed.expect("the store answers"), held - left);
        left
    }

    #[test]
    fn records_of_outside_providers_are_trimmed_in_several_batches_up_to_the_bound() {
        assert_eq!([0, 9, 10, 25, 30, 31, 100].map(left_of), [0, 0, 0, 0, 0, 1, 70]);
    }
}
