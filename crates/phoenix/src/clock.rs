//! The one place where the process reads its clocks.

use std::time::Duration;

use phoenix_auth::model::{Moment, Timestamp};
use phoenix_auth::ports::Clock;
use rustix::time::{ClockId, Timespec, clock_gettime};

#[cfg(target_os = "linux")]
const MONO: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const MONO: ClockId = ClockId::Monotonic;

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn start() -> Self {
        Self { started: since_boot() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let wall = clock_gettime(ClockId::Realtime);
        let millis = wall.tv_sec.saturating_mul(1000).saturating_add(wall.tv_nsec / 1_000_000);
        Moment { wall: Timestamp::from_millis(millis), mono: self.mono() }
    }

    fn mono(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
}

/// Goes on while the machine sleeps, unlike the clock of `Instant`: a lease must not outlive a night.
fn since_boot() -> Duration {
    duration(clock_gettime(MONO))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
