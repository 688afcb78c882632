//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::{Moment, Timestamp};
use phoenix_auth::ports::Clock;

/// 2026-01-01T00:00:00Z in milliseconds: when the clock starts.
const START: i64 = 1_767_225_600_000;

/// Stands still until it is moved.
#[derive(Debug, Default)]
pub(in crate::http) struct ManualClock {
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// Moves the time of day and the monotonic time.
    pub(in crate::http) fn advance(&self, by: Duration) {
        self.elapsed_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let elapsed = Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst));
        Moment { wall: Timestamp::from_millis(START).plus(elapsed), mono: elapsed }
    }
}
