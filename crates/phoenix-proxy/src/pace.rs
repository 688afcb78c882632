//! How fast a client sends, while it is waited for. Does not know the clock: whoever asks says what time it is.

use std::time::Duration;

/// Least speed of a client: less keeps an application waiting for nothing. A modem of 1984 sends as fast; Kestrel, the
/// server of ASP.NET, asks for the same. Where a route's own bound on pauses is written, nothing is asked.
const MIN_BYTES_PER_SECOND: u128 = 240;

/// How fast a body comes. Only the time counts in which the client is waited for: an application that takes nothing must
/// not make its clients slow ones.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The speed is judged when the client was waited for this long, and then anew.
    window: Duration,
    /// Since when it is waited for, if it is.
    since: Option<Duration>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, since: None, waited: Duration::ZERO, bytes: 0 }
    }

    /// Nothing is there at `now`.
    pub(crate) fn waits(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// Whether the client is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// What was waited for came at `now`.
    pub(crate) fn came(&mut self, now: Duration) {
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(now.saturating_sub(since));
        }
    }

    /// Counts bytes that came, and says whether they came too slowly.
    pub(crate) fn is_too_slow(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.waited < self.window {
            return false;
        }
        let needed = self.waited.as_millis() * MIN_BYTES_PER_SECOND / 1000;
        let is_too_slow = u128::from(self.bytes) < needed;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends so many bytes each time after this pause, of which `busy` is the application's. Says when it was too slow.
    fn cut_off(bytes: usize, pause: u64, busy: u64) -> Option<u64> {
        let mut pace = Pace::new(Duration::from_mins(1));
        let mut now = Duration::ZERO;
        for time in 1..=1000 {
            now += Duration::from_secs(busy);
            pace.waits(now);
            pace.waits(now + Duration::from_secs(pause) / 2);
            now += Duration::from_secs(pause);
            pace.came(now);
            if pace.is_too_slow(bytes) {
                return Some(time * (pause + busy));
            }
        }
        None
    }

    #[test]
    fn a_trickle_is_cut_off_after_the_window_and_no_more_than_a_pause() {
        assert_eq!(cut_off(1, 1, 0), Some(60));
        assert_eq!(cut_off(1, 50, 0), Some(100));
        assert_eq!(cut_off(239, 1, 0), Some(60));
        assert_eq!(cut_off(240, 1, 0), None);
        assert_eq!(cut_off(12_000, 50, 0), None);
    }

    #[test]
    fn time_in_which_the_application_takes_nothing_is_not_the_clients() {
        assert_eq!(cut_off(240, 1, 1000), None);
        assert_eq!(cut_off(1, 1, 9), Some(600), "sixty seconds of these are the client's");
    }

    #[test]
    fn what_was_fast_before_does_not_count_for_ever() {
        let mut pace = Pace::new(Duration::from_mins(1));
        assert!(!pace.is_too_slow(1 << 30));
        let slow = (1..=120).find(|second| {
            pace.waits(Duration::from_secs(second - 1));
            pace.came(Duration::from_secs(*second));
            pace.is_too_slow(1)
        });
        assert_eq!(slow, Some(120));
    }
}
