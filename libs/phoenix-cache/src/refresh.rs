//! Refresh ahead: which hit should have its entry loaded again before it ends.
//!
//! Entries filled at the same moment would end at the same moment, and all their users would wait for the truth
//! together. So each has a moment of its own in the last 20 to 10 % of its lifetime, and the first hit after it is told
//! to refresh. Loading is not done here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::key::Key;

/// Entries that share a lock. At 24 bytes each they fit a few cache lines.
const SLOTS: usize = 8;

/// Which entries were found due, so that thousands of hits cause one refresh each.
///
/// Remembers a bounded number of entries, each until its lifetime ends. Beyond the bound an entry is not refreshed
/// ahead: it ends, and the next look-up loads it.
pub struct RefreshAhead {
    buckets: Box<[Mutex<[Slot; SLOTS]>]>,
}

/// An entry found due. Free again when `until` has passed.
#[derive(Clone, Copy, Default)]
struct Slot {
    mark: u64,
    until: Duration,
}

impl RefreshAhead {
    /// Remembers at most `capacity` entries, rounded up to a power of two and at least eight, of 24 bytes each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let buckets = capacity.div_ceil(SLOTS).max(1).next_power_of_two();
        Self { buckets: (0..buckets).map(|_| Mutex::default()).collect() }
    }

    /// Whether the caller, which hit an entry at `now`, is the one to refresh it: true once for each entry and
    /// lifetime. An entry that has ended is not due: it must be loaded, not refreshed.
    ///
    /// `lifetime` is how long the entry counts in all. Costs two comparisons while the entry is far from its end.
    #[must_use]
    pub fn due(&self, key: &Key, now: Duration, expires_at: Duration, lifetime: Duration) -> bool {
        if expires_at.saturating_sub(now) > lifetime / 5 {
            return false;
        }
        now >= refresh_at(key, expires_at, lifetime) && now < expires_at && self.claim(key, now, expires_at)
    }

    /// Takes a slot until `expires_at`, unless the entry has one or none is free.
    fn claim(&self, key: &Key, now: Duration, expires_at: Duration) -> bool {
        let mark = key.prefix();
        let index = usize::try_from(mark >> 32).unwrap_or(0) & (self.buckets.len() - 1);
        let Some(bucket) = self.buckets.get(index) else { return false };
        let mut slots = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match slots.iter().position(|slot| slot.mark == mark && slot.until > now) {
            // The entry itself, or the one it has replaced.
            Some(held) => slots.get_mut(held).filter(|slot| slot.until < expires_at),
            None => slots.iter_mut().find(|slot| slot.until <= now),
        };
        let claimed = slot.is_some();
        if let Some(slot) = slot {
            *slot = Slot { mark, until: expires_at };
        }
        claimed
    }
}

/// From when on an entry should be refreshed ahead: between 20 % and 10 % of its lifetime before its end, the same for
/// every caller, different for each key and end.
#[must_use]
pub fn refresh_at(key: &Key, expires_at: Duration, lifetime: Duration) -> Duration {
    let tenth = lifetime / 10;
    let nanos = u64::try_from(expires_at.as_nanos()).unwrap_or(u64::MAX);
    // The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): keys that are equal but for their end get
    // moments that have nothing to do with each other.
    let mut mixed = key.prefix() ^ nanos.rotate_left(32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let share = u32::try_from(mixed >> 48).unwrap_or(0);
    expires_at.saturating_sub(tenth).saturating_sub(tenth / (1 << 16) * share)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    fn key(n: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Key::new(bytes)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn moments_are_spread_over_the_last_fifth_but_leave_a_tenth() {
        let moments: Vec<_> = (0..10_000).map(|n| refresh_at(&key(n), secs(1000), LIFETIME)).collect();
        assert!(moments.iter().all(|at| (secs(980)..=secs(990)).contains(at)));
        for second in 980..990 {
            let count = moments.iter().filter(|at| at.as_secs() == second).count();
            assert!((900..1100).contains(&count), "{count} of 10 000 in second {second}");
        }
        let other_end = refresh_at(&key(1), secs(1100), LIFETIME);
        assert_ne!(other_end, refresh_at(&key(1), secs(1000), LIFETIME) + secs(100), "the end matters, too");
    }

    #[test]
    fn one_of_thousands_of_hits_from_many_threads_refreshes() {
        let refreshes = RefreshAhead::new(64);
        let due = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let is_due = refreshes.due(&key(1), secs(991), secs(1000), LIFETIME);
                        due.fetch_add(usize::from(is_due), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(due.into_inner(), 1);
    }

    #[test]
    fn an_entry_is_due_again_in_its_next_lifetime_and_never_after_its_end() {
        let refreshes = RefreshAhead::new(8);
        assert!(!refreshes.due(&key(1), secs(979), secs(1000), LIFETIME));
        assert!(refreshes.due(&key(1), secs(990), secs(1000), LIFETIME));
        assert!(refreshes.due(&key(1), secs(998), secs(1008), LIFETIME), "it was refreshed and lives on");
        assert!(!refreshes.due(&key(1), secs(998), secs(1000), LIFETIME), "a hit that began before that");
        assert!(!refreshes.due(&key(2), secs(1000), secs(1000), LIFETIME), "it has ended");
    }

    #[test]
    fn beyond_the_bound_entries_are_not_refreshed_until_others_end() {
        let refreshes = RefreshAhead::new(8);
        let due = |n, now, end| refreshes.due(&key(n), secs(now), secs(end), LIFETIME);
        assert_eq!((0..100).filter(|n| due(*n, 990, 1000)).count(), 8);
        assert_eq!((100..200).filter(|n| due(*n, 1000, 1010)).count(), 8);
    }

    #[test]
    fn extremes_do_not_panic() {
        let refreshes = RefreshAhead::new(0);
        assert!(!refreshes.due(&key(1), Duration::ZERO, Duration::ZERO, Duration::ZERO));
        assert!(!refreshes.due(&key(1), Duration::MAX, Duration::MAX, Duration::MAX));
        assert!(refreshes.due(&key(1), Duration::ZERO, Duration::from_nanos(1), Duration::MAX));
    }

    proptest! {
        /// Against a map that forgets nothing: true exactly at the first hit between moment and end.
        #[test]
        fn true_exactly_once_for_each_entry_and_lifetime(
            steps in prop::collection::vec((0_u64..5, 0_u64..15), 1..200),
        ) {
            let refreshes = RefreshAhead::new(1024);
            let mut ends: HashMap<u64, (Duration, bool)> = HashMap::new();
            let mut now = Duration::ZERO;
            for (n, pass) in steps {
                now += secs(pass);
                let (end, refreshed) = ends.entry(n).or_insert((now + LIFETIME, false));
                if now >= *end {
                    (*end, *refreshed) = (now + LIFETIME, false);
                }
                let expected = now >= refresh_at(&key(n), *end, LIFETIME) && !*refreshed;
                prop_assert_eq!(refreshes.due(&key(n), now, *end, LIFETIME), expected);
                *refreshed |= expected;
            }
        }
    }
}
