//! A lifetime that follows how soon entries are used again.
//!
//! An entry that nobody uses again within its lifetime only occupies memory and goes stale. So the lifetime is twice the
//! time within which 95 % of all uses follow the last one, between limits that the operator declared. It begins at
//! the upper limit and never exceeds it: what relies on the limit for its security may rely on it always.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::key::{BuildIdentity, Key};

/// One key in this many is watched, chosen by its own bits.
const SAMPLED_ONE_IN: u64 = 64;
/// Most keys watched at a time, 24 bytes each. At the bound others are not watched until some are given up.
const MOST_KEYS: usize = 4096;
/// Fewer uses say too little to change anything.
const MIN_OBSERVATIONS: u64 = 256;
/// Changes of less than this part of the current lifetime are not worth a line in the log.
const LEAST_CHANGE: u64 = 8;
/// Counts of intervals in microseconds: exact below 8, then eight to each power of two.
const BUCKETS: usize = 496;

/// How long entries live, adapted to how they are used.
pub struct Lifetime {
    min_micros: u64,
    max_micros: u64,
    current_micros: AtomicU64,
    observed: Mutex<Observed>,
}

/// A change of a [`Lifetime`], for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adjustment {
    /// The lifetime before.
    pub from: Duration,
    /// The lifetime from now on.
    pub to: Duration,
    /// How many uses of sampled keys it rests on.
    pub observations: u64,
    /// 95 % of them followed the use before within this time. At most an eighth too long.
    pub p95: Duration,
}

struct Observed {
    /// When each watched key was last used, in microseconds.
    last_used: HashMap<u64, u64, BuildIdentity>,
    counts: Box<[u64; BUCKETS]>,
    longest_micros: u64,
}

impl Lifetime {
    /// Begins at `max`. A `min` above `max` counts as `max`, and one below a microsecond as that: what is zero could
    /// not double.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let observed =
            Observed { last_used: HashMap::default(), counts: Box::new([0; BUCKETS]), longest_micros: 0 };
        let max_micros = micros(max);
        Self {
            min_micros: micros(min).max(1).min(max_micros),
            max_micros,
            current_micros: AtomicU64::new(max_micros),
            observed: Mutex::new(observed),
        }
    }

    /// How long an entry filled now should live, in whole microseconds.
    #[must_use]
    pub fn current(&self) -> Duration {
        Duration::from_micros(self.current_micros.load(Ordering::Relaxed))
    }

    /// Notes that `key` was asked for. To be called at every look-up, whether answered from the cache or not:
    /// intervals longer than the lifetime would go unseen otherwise, and the lifetime could only shrink.
    ///
    /// One comparison for most keys. A use that meets another at the lock is not noted.
    pub fn observe(&self, key: &Key, now: Duration) {
        if key.prefix().is_multiple_of(SAMPLED_ONE_IN)
            && let Ok(mut observed) = self.observed.try_lock()
        {
            observed.note(key, micros(now));
        }
    }

    /// Adapts the lifetime to what was observed since the last adjustment that rested on enough observations. To be
    /// called about once a minute. A step at most halves or doubles the lifetime. Returns what it changed.
    pub fn adapt(&self, now: Duration) -> Option<Adjustment> {
        let (observations, p95) = self.lock().take(micros(now), self.max_micros)?;
        let from = self.current_micros.load(Ordering::Relaxed);
        let wanted = p95.saturating_mul(2).clamp(self.min_micros, self.max_micros);
        let to = wanted.clamp(from.div_ceil(2), from.saturating_mul(2));
        let at_limit = to == self.min_micros || to == self.max_micros;
        if to == from || (to.abs_diff(from) < from / LEAST_CHANGE && !at_limit) {
            return None;
        }
        self.current_micros.store(to, Ordering::Relaxed);
        Some(Adjustment {
            from: Duration::from_micros(from),
            to: Duration::from_micros(to),
            observations,
            p95: Duration::from_micros(p95),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observed {
    fn note(&mut self, key: &Key, now: u64) {
        // Rotated, because the low bits of sampled keys are all the same.
        let mark = key.prefix().rotate_left(32);
        if let Some(last) = self.last_used.get_mut(&mark) {
            let interval = now.saturating_sub(*last);
            *last = now.max(*last);
            self.longest_micros = self.longest_micros.max(interval);
            if let Some(count) = self.counts.get_mut(bucket(interval)) {
                *count += 1;
            }
        } else if self.last_used.len() < MOST_KEYS {
            self.last_used.insert(mark, now);
        }
    }

    /// Number of intervals and their 95th percentile in microseconds, and begins anew; `None` while there are too few. Gives up keys
    /// that no lifetime within the limits would have kept.
    fn take(&mut self, now: u64, max: u64) -> Option<(u64, u64)> {
        self.last_used.retain(|_, last| now.saturating_sub(*last) <= max);
        let total: u64 = self.counts.iter().sum();
        if total < MIN_OBSERVATIONS {
            return None;
        }
        let rank = total - total / 20;
        let mut below = 0;
        let index = self.counts.iter().position(|count| {
            below += *count;
            below >= rank
        });
        let p95 = upper_edge(index.unwrap_or(BUCKETS - 1)).min(self.longest_micros);
        self.counts.fill(0);
        self.longest_micros = 0;
        Some((total, p95))
    }
}

/// Eight buckets to each power of two.
fn bucket(micros: u64) -> usize {
    let low = if micros < 8 {
        micros
    } else {
        let power = u64::from(micros.ilog2());
        (power - 2) * 8 + ((micros >> (power - 3)) & 7)
    };
    usize::try_from(low).unwrap_or(BUCKETS - 1)
}

/// The longest interval that falls into a bucket.
fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 8 {
        return bucket;
    }
    let width = 1_u64 << (bucket / 8 - 1);
    (8 + bucket % 8) * width + (width - 1)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_secs(5);
    const MAX: Duration = Duration::from_mins(5);

    /// A key that is sampled.
    fn key(n: u64) -> Key {
        let mut bytes = [0; 32];
        let prefix = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(SAMPLED_ONE_IN);
        bytes[..8].copy_from_slice(&prefix.to_le_bytes());
        Key::new(bytes)
    }

    /// `keys` keys, each used `uses` times, `interval` apart. Returns the time of the last use.
    fn use_regularly(
        lifetime: &Lifetime,
        start: Duration,
        interval: Duration,
        keys: u64,
        uses: u32,
    ) -> Duration {
        for n in 0..uses {
            for k in 0..keys {
                lifetime.observe(&key(k), start + interval * n);
            }
        }
        start + interval * (uses - 1)
    }

    #[test]
    fn begins_at_the_upper_limit_and_stays_without_observations() {
        let lifetime = Lifetime::new(MIN, MAX);
        assert_eq!(lifetime.current(), MAX);
        assert_eq!(lifetime.adapt(Duration::from_mins(1)), None);
        use_regularly(&lifetime, Duration::ZERO, Duration::from_secs(1), 5, 52);
        assert_eq!(lifetime.adapt(Duration::from_mins(1)), None, "255 observations are too few");
        use_regularly(&lifetime, Duration::from_mins(1), Duration::from_secs(1), 1, 1);
        assert!(lifetime.adapt(Duration::from_mins(1)).is_some(), "256 suffice");
    }

    // spec: C3
    #[test]
    fn one_step_halves_or_doubles_at_most_and_says_why() {
        let lifetime = Lifetime::new(MIN, MAX);
        let second = Duration::from_secs(1);
        let end = use_regularly(&lifetime, Duration::ZERO, second, 10, 101);
        let expected = Adjustment { from: MAX, to: MAX / 2, observations: 1000, p95: second };
        assert_eq!(lifetime.adapt(end), Some(expected));
        assert_eq!(lifetime.adapt(end), None, "what was observed counts once");
        let mut now = end;
        for to in [75.0, 37.5, 18.75, 9.375, 5.0] {
            now = use_regularly(&lifetime, now, second, 10, 101);
            assert_eq!(lifetime.adapt(now).expect("a step").to, Duration::from_secs_f64(to));
        }
        now = use_regularly(&lifetime, now, Duration::from_secs(200), 10, 101);
        assert_eq!(lifetime.adapt(now).expect("a step").to, MIN * 2);
    }

    #[test]
    fn the_slowest_twentieth_does_not_count_but_the_slowest_tenth_does() {
        let (fast, slow) = (10, 25);
        for (slow_one_in, expected) in [(20, fast), (10, slow)] {
            let lifetime = Lifetime::new(MIN, MAX);
            let mut now = Duration::ZERO;
            for n in 1..=1001 {
                lifetime.observe(&key(1), now);
                now += Duration::from_secs(if n % slow_one_in == 0 { slow } else { fast });
            }
            let adjustment = lifetime.adapt(now).expect("a step down");
            let p95 = adjustment.p95.as_secs();
            assert!((expected..=expected * 9 / 8).contains(&p95), "{p95}");
        }
    }

    #[test]
    fn keys_watched_are_bounded_and_given_up_when_no_lifetime_would_keep_them() {
        let lifetime = Lifetime::new(MIN, MAX);
        for n in 0..100_000 {
            lifetime.observe(&key(n), Duration::ZERO);
        }
        assert_eq!(lifetime.lock().last_used.len(), MOST_KEYS);
        assert_eq!(lifetime.adapt(MAX), None);
        assert_eq!(lifetime.lock().last_used.len(), MOST_KEYS);
        assert_eq!(lifetime.adapt(MAX + Duration::from_micros(1)), None);
        assert_eq!(lifetime.lock().last_used.len(), 0);
    }

    #[test]
    fn keys_that_are_not_sampled_leave_no_trace() {
        let lifetime = Lifetime::new(MIN, MAX);
        for byte in 1..64 {
            lifetime.observe(&Key::new([byte; 32]), Duration::ZERO);
        }
        assert_eq!(lifetime.lock().last_used.len(), 0);
    }

    #[test]
    fn limits_that_contradict_each_other_and_extremes_do_not_panic() {
        for (min, max) in [(MAX, MIN), (Duration::ZERO, Duration::ZERO), (Duration::ZERO, Duration::MAX)] {
            let lifetime = Lifetime::new(min, max);
            lifetime.observe(&key(1), Duration::MAX);
            use_regularly(&lifetime, Duration::ZERO, Duration::from_secs(1), 10, 100);
            let _adjustment = lifetime.adapt(Duration::MAX);
            assert!(lifetime.current() <= max);
        }
    }

    proptest! {
        #[test]
        fn an_interval_lies_below_the_edge_of_its_bucket_by_an_eighth_at_most(value in any::<u64>(), shift in 0..64) {
            let value = value >> shift;
            let edge = upper_edge(bucket(value));
            prop_assert!(bucket(value) < BUCKETS);
            prop_assert!(value <= edge && edge - value <= value / 8, "{value} {edge}");
        }

        /// Whatever is observed and whenever it is adapted.
        // spec: C3
        #[test]
        fn always_within_the_limits_and_a_step_halves_or_doubles_at_most(
            rounds in prop::collection::vec((0_u64..400_000_000, 1_u64..20, 1_u32..60, any::<bool>()), 1..30),
            min in 0_u64..400_000_000,
            max in 0_u64..400_000_000,
        ) {
            let (min, max) = (Duration::from_micros(min), Duration::from_micros(max));
            let lifetime = Lifetime::new(min, max);
            let mut now = Duration::ZERO;
            for (interval, keys, uses, adapt) in rounds {
                now = use_regularly(&lifetime, now, Duration::from_micros(interval), keys, uses);
                let before = lifetime.current();
                let adjustment = if adapt { lifetime.adapt(now) } else { None };
                let after = lifetime.current();
                prop_assert!(min.min(max) <= after && after <= max);
                prop_assert!(before / 2 <= after && after <= before * 2);
                prop_assert_eq!(adjustment.map(|made| (made.from, made.to)), (before != after).then_some((before, after)));
            }
        }

        /// For entries used at constant intervals the lifetime comes to twice the interval and stays.
        #[test]
        fn converges_for_constant_intervals(interval in 1_u64..400_000_000, first in 1_u64..400_000_000) {
            let lifetime = Lifetime::new(MIN, MAX);
            let mut now = Duration::ZERO;
            for interval in [first, interval] {
                for _ in 0..8 {
                    now = use_regularly(&lifetime, now, Duration::from_micros(interval), 20, 20);
                    lifetime.adapt(now);
                }
            }
            let wanted = Duration::from_micros(interval * 2).clamp(MIN, MAX);
            let off = lifetime.current().abs_diff(wanted);
            prop_assert!(off <= lifetime.current() / 8, "{:?} {:?}", lifetime.current(), wanted);
            use_regularly(&lifetime, now, Duration::from_micros(interval), 20, 20);
            prop_assert_eq!(lifetime.adapt(now), None);
        }
    }
}
