//! Notices that nothing moves for too long, without a look at the clock when something does.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Longest time for which a client may keep an application waiting, by what it does not send or does not read, unless the
/// route's bound on pauses is shorter, or another is written for its requests. An application may take longer: it has
/// something to do.
pub(crate) const LONGEST_OF_CLIENT: Duration = Duration::from_mins(1);
/// The time is cut in this many ticks.
const TICKS: u32 = 4;
/// Shortest tick.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// A bound on pauses. A pause is found to be too long after the bound, and at most a quarter of it later.
#[derive(Debug)]
pub(crate) struct Pauses {
    tick: Duration,
    silent: u32,
    /// Made when there is something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pauses {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { tick: (longest / TICKS).max(SHORTEST_TICK), silent: 0, sleep: None }
    }

    /// Something moved.
    pub(crate) fn moved(&mut self) {
        self.silent = 0;
    }

    /// Ready when nothing moved for too long. To be asked only while something is waited for.
    pub(crate) fn poll_too_long(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_silent(TICKS, context)
    }

    /// So many ticks are at least this time: for a bound that is longer.
    pub(crate) fn ticks(&self, time: Duration) -> u32 {
        u32::try_from(time.as_nanos().div_ceil(self.tick.as_nanos().max(1))).unwrap_or(u32::MAX)
    }

    /// Ready when nothing moved for so many ticks, and at most one more.
    pub(crate) fn poll_silent(&mut self, ticks: u32, context: &mut Context<'_>) -> Poll<()> {
        let tick = self.tick;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(after(tick)));
        loop {
            ready!(sleep.as_mut().poll(context));
            // The first tick may have begun before the pause.
            if self.silent >= ticks {
                return Poll::Ready(());
            }
            self.silent += 1;
            sleep.set(after(tick));
        }
    }
}

/// A timer, not yet armed.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds a wait for the network; nothing waits for the time itself"
)]
pub(crate) fn after(time: Duration) -> Sleep {
    tokio::time::sleep(time)
}

/// A timer that is used again and again: to set one anew, to a later moment, costs little.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Ready this long after it was first asked, or first asked after [`Timer::stop`].
    pub(crate) fn poll(&mut self, time: Duration, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| {
            self.is_set = true;
            Box::pin(after(time))
        });
        if !self.is_set {
            self.is_set = true;
            sleep.as_mut().reset(from_now(time));
        }
        sleep.as_mut().poll(context)
    }

    /// It is not waited for any more.
    pub(crate) fn stop(&mut self) {
        self.is_set = false;
    }
}

#[expect(clippy::disallowed_methods, reason = "bounds a wait for the network")]
fn from_now(time: Duration) -> Instant {
    Instant::now().checked_add(time).unwrap_or_else(|| Instant::now() + Duration::from_hours(24 * 365))
}
