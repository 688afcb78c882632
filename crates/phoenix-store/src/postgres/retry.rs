//! When to try again: full jitter, doubling, capped, and only so many at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Operations that may be between two attempts at the same moment. One more fails at once: when the database is
/// down, retries of everybody would only keep it down.
const RETRYING_AT_ONCE: usize = 64;
/// The pause grows at most to this many times the configured delay.
const MAX_GROWTH: u32 = 8;

/// Decides about retries of one store.
#[derive(Debug)]
pub(super) struct Retries {
    max: u32,
    delay: Duration,
    jitter: Jitter,
    budget: Semaphore,
}

impl Retries {
    pub(super) fn new(max: u32, delay: Duration, seed: u64) -> Self {
        Self { max, delay, jitter: Jitter::new(seed), budget: Semaphore::new(RETRYING_AT_ONCE) }
    }

    /// Waits before attempt number `attempt` + 1. `None` when there shall be none.
    #[expect(
        clippy::disallowed_methods,
        reason = "the pause between two attempts of one operation, bounded by the operation's own time-out"
    )]
    pub(super) async fn pause(&self, attempt: u32) -> Option<()> {
        if attempt >= self.max {
            return None;
        }
        let _permit: SemaphorePermit<'_> = self.budget.try_acquire().ok()?;
        tokio::time::sleep(self.jitter.below(backoff(self.delay, attempt))).await;
        Some(())
    }
}

/// Upper bound of the pause after attempt number `attempt` (the first is 0).
pub(super) fn backoff(delay: Duration, attempt: u32) -> Duration {
    delay.saturating_mul(1_u32.checked_shl(attempt).map_or(MAX_GROWTH, |growth| growth.min(MAX_GROWTH)))
}

/// Random numbers that need not be secret (`SplitMix64`, Steele and others 2014).
#[derive(Debug)]
pub(super) struct Jitter(AtomicU64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A random duration below `bound`.
    pub(super) fn below(&self, bound: Duration) -> Duration {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        part(bound, mix(state))
    }
}

/// The part of `whole` that `random`, of the full range of 64 bits, stands for.
pub(super) fn part(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Spreads a number over all 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_its_cap() {
        let bounds: Vec<u64> =
            (0..6).map(|attempt| backoff(Duration::from_secs(1), attempt).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 8, 8]);
        assert_eq!(backoff(Duration::from_secs(1), u32::MAX).as_secs(), 8);
    }

    #[test]
    fn jitter_covers_its_range_and_never_exceeds_it() {
        let jitter = Jitter::new(7);
        let bound = Duration::from_secs(1);
        let drawn: Vec<Duration> = (0..1000).map(|_| jitter.below(bound)).collect();
        assert!(drawn.iter().all(|pause| *pause < bound));
        let mean = drawn.iter().sum::<Duration>() / 1000;
        assert!(mean > bound.mul_f64(0.4) && mean < bound.mul_f64(0.6), "{mean:?}");
    }

    #[tokio::test]
    async fn no_more_retries_than_allowed() {
        let retries = Retries::new(2, Duration::ZERO, 1);
        assert!(retries.pause(0).await.is_some());
        assert!(retries.pause(1).await.is_some());
        assert!(retries.pause(2).await.is_none());
    }
}
