//! Retry budget (Brooker, "Fixing retries with token buckets and circuit breakers", 2022): successes earn retries, so
//! that retries stay a fraction of the load, and a dependency that fails altogether is not asked twice as often.

use std::sync::atomic::{AtomicU32, Ordering};

/// A retry costs this much.
const RETRY: u32 = 10;
/// A success earns this much: a tenth of a retry.
const SUCCESS: u32 = 1;
/// Most that is saved: ten retries. A new budget is full.
const MOST: u32 = 10 * RETRY;

/// A token bucket that successes fill and retries empty.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl RetryBudget {
    /// Full: ten retries.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(MOST))
    }

    /// A call succeeded: earns a tenth of a retry.
    pub fn succeeded(&self) {
        // Full nearly always; then nothing is written, and no core waits for another.
        if self.0.load(Ordering::Relaxed) < MOST {
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                Some((saved + SUCCESS).min(MOST))
            });
        }
    }

    /// Takes one retry, if there is one.
    #[must_use]
    pub fn try_retry(&self) -> bool {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(RETRY));
        taken.is_ok()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dead_dependency_is_retried_ten_times_and_no_more() {
        let budget = RetryBudget::new();
        assert_eq!((0..1000).filter(|_| budget.try_retry()).count(), 10);
    }

    proptest! {
        #[test]
        fn retries_are_at_most_ten_and_a_tenth_of_the_successes(calls in proptest::collection::vec(any::<bool>(), 0..500)) {
            let budget = RetryBudget::new();
            let (mut successes, mut retries, mut saved) = (0_u32, 0_u32, 10.0_f64);
            for success in calls {
                if success {
                    budget.succeeded();
                    successes += 1;
                    saved = (saved + 0.1).min(10.0);
                } else {
                    let expected = saved > 1.0 - 1e-6;
                    saved -= if expected { 1.0 } else { 0.0 };
                    prop_assert_eq!(budget.try_retry(), expected);
                    retries += u32::from(expected);
                }
                prop_assert!(retries * 10 <= 100 + successes);
            }
        }
    }
}
