//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::{Moment, Timestamp};
use phoenix_auth::ports::Clock;

/// 2026-01-01T00:00:00Z in milliseconds: when the clock starts.
const START: i64 = 1_767_225_600_000;

/// Longest step of the monotonic time: connections that waited longer for a request are closed.
const LONGEST_STEP: Duration = Duration::from_mins(1);

/// Stands still until it is moved.
#[derive(Debug, Default)]
pub(in crate::http) struct ManualClock {
    wall_ms: AtomicU64,
    mono_ms: AtomicU64,
}

impl ManualClock {
    /// Moves the time of day, by which sessions end. What caches hold goes on counting.
    pub(in crate::http) fn advance_day(&self, by: Duration) {
        self.wall_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Moves the time of day and the monotonic time, by which leases run out.
    pub(in crate::http) fn advance(&self, by: Duration) {
        assert!(by <= LONGEST_STEP);
        self.advance_day(by);
        self.mono_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let since_start = Duration::from_millis(self.wall_ms.load(Ordering::SeqCst));
        Moment { wall: Timestamp::from_millis(START).plus(since_start), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        Duration::from_millis(self.mono_ms.load(Ordering::SeqCst))
    }
}
