//! What Redis' clock shows, estimated from the process' own. Reads no clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::call::micros;

/// How long a smallest distance counts: clocks drift by some 10 us in it.
const PERIOD: Duration = Duration::from_secs(10);
/// A larger step is one of the clock and not of the estimate, in microseconds.
const STEP: u64 = 1_000_000;

/// Redis' time is the process' monotonic time and a distance. The moment at which a question was sent is before the
/// moment at which Redis looked at its clock, so the smallest distance seen is the best, and too large by the fastest way
/// to Redis: the estimate is ahead of Redis by that.
#[derive(Debug)]
pub(super) struct RedisClock {
    distance: AtomicU64,
    /// What Redis' clock showed in the last answer: it is later now.
    latest: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Smallest in the last whole period, and in this one.
    last: Option<u64>,
    present: Option<u64>,
    since: Duration,
}

impl RedisClock {
    /// `unix` is a guess of Redis' time when the process' clock shows zero.
    pub(super) fn new(unix: Duration) -> Self {
        Self { distance: AtomicU64::new(micros(unix)), latest: AtomicU64::default(), seen: Mutex::default() }
    }

    /// Redis' time, no earlier than in its last answer: who waited for another's question has read the own clock before
    /// that, and is decided after it.
    pub(super) fn at(&self, mono: Duration) -> Duration {
        let latest = Duration::from_micros(self.latest.load(Ordering::Relaxed));
        latest.max(mono + Duration::from_micros(self.distance.load(Ordering::Relaxed)))
    }

    /// A question sent at `sent` found Redis' clock at `redis` microseconds. Says by how many microseconds all times must
    /// be moved, if the clock was set or is seen for the first time.
    pub(super) fn observe(&self, sent: Duration, redis: u64) -> Option<i64> {
        let found = redis.saturating_sub(micros(sent));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.distance.load(Ordering::Relaxed);
        if seen.present.is_none() || found.abs_diff(before) > STEP {
            *seen = Seen { last: None, present: Some(found), since: sent };
            self.distance.store(found, Ordering::Relaxed);
            self.latest.store(redis, Ordering::Relaxed);
            return Some(found.cast_signed().wrapping_sub(before.cast_signed()));
        }
        self.latest.fetch_max(redis, Ordering::Relaxed);
        if sent.saturating_sub(seen.since) > PERIOD {
            *seen = Seen { last: seen.present, present: None, since: sent };
        }
        let present = seen.present.map_or(found, |present| present.min(found));
        seen.present = Some(present);
        self.distance.store(seen.last.map_or(present, |last| last.min(present)), Ordering::Relaxed);
        None
    }

    /// The same for an answer to a request, of which there are many: only one that was faster than all others counts.
    pub(super) fn sharpen(&self, sent: Duration, redis: u64) {
        let found = redis.saturating_sub(micros(sent));
        let before = self.distance.load(Ordering::Relaxed);
        if found.abs_diff(before) < STEP {
            self.latest.fetch_max(redis, Ordering::Relaxed);
        }
        if found < before && before - found < STEP {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.present = Some(seen.present.map_or(found, |present| present.min(found)));
            self.distance.fetch_min(found, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_fastest_answer_of_the_last_seconds_counts() {
        let clock = RedisClock::new(ms(1_000));
        assert_eq!(clock.observe(ms(0), 5_000_400), Some(4_000_400));
        assert_eq!(clock.at(ms(100_000)), Duration::from_micros(105_000_400));
        assert_eq!(clock.observe(ms(500), 5_500_100), None);
        assert_eq!(clock.at(ms(100_000)), Duration::from_micros(105_000_100));
        assert_eq!(clock.observe(ms(1_000), 6_090_000), None, "a slow answer changes nothing");
        assert_eq!(clock.at(ms(100_000)), Duration::from_micros(105_000_100));
        // The clocks drift apart: the new distance counts once the old one is forgotten.
        for second in 2..40 {
            clock.observe(ms(second * 1_000), 5_000_300 + second * 1_000_000);
        }
        assert_eq!(clock.at(ms(100_000)), Duration::from_micros(105_000_300));
    }

    #[test]
    fn a_request_that_was_faster_sharpens_the_estimate() {
        let clock = RedisClock::new(ms(0));
        clock.observe(ms(0), 10_020_000);
        clock.sharpen(ms(10), 10_040_000);
        assert_eq!(clock.at(ms(100_000)), ms(110_020));
        clock.sharpen(ms(20), 10_020_100);
        assert_eq!(clock.at(ms(100_000)), Duration::from_micros(110_000_100));
        clock.sharpen(ms(30_000), 10_020_100);
        assert_eq!(
            clock.at(ms(100_000)),
            Duration::from_micros(110_000_100),
            "a step is for the registry to tell"
        );
    }

    #[test]
    fn no_time_is_before_the_last_answer() {
        let clock = RedisClock::new(ms(0));
        clock.observe(ms(0), 10_000_000);
        clock.sharpen(ms(100), 10_150_000);
        assert_eq!(clock.at(ms(120)), ms(10_150), "asked before, decided after");
        assert_eq!(clock.at(ms(200)), ms(10_200));
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once() {
        let clock = RedisClock::new(ms(0));
        clock.observe(ms(0), 10_000_000);
        assert_eq!(clock.observe(ms(1_000), 5_000_000), Some(-6_000_000));
        assert_eq!(clock.at(ms(1_000)), ms(5_000));
    }
}
