//! Looks at the files of certificates a few times a minute and whenever told to, and warns before one ends.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::model::{Moment, Timestamp};
use tokio::signal::unix::Signal;

use super::{Held, TlsServer};
use crate::lifecycle::Lifecycle;

/// Time between two looks. The contents are compared, so that links that are put elsewhere (Kubernetes, certbot) and
/// files that keep their times are noticed, too.
const INTERVAL: Duration = Duration::from_secs(10);
/// From then on somebody is warned.
pub(super) const WARN_BEFORE: Duration = Duration::from_hours(14 * 24);
/// So often as long as nothing changes.
const WARN_EVERY: Duration = Duration::from_hours(24);

impl TlsServer {
    /// Looks until the process stops; at once on the signal, which says that the files are complete.
    pub(crate) async fn watch(self: Arc<Self>, mut hangups: Signal, lifecycle: Lifecycle) {
        let stopping = lifecycle.stopping().clone();
        let mut is_final = false;
        loop {
            let server = Arc::clone(&self);
            // Files may be slow; connections go on meanwhile.
            let looking = lifecycle.tracker().spawn_blocking(move || {
                server.look(is_final);
                server.warn();
            });
            if let Err(error) = looking.await {
                tracing::error!(?error, "the certificates were not looked at");
            }
            is_final = tokio::select! {
                () = stopping.cancelled() => return,
                signal = hangups.recv() => if signal.is_some() { true } else { return },
                _running = lifecycle.pause(INTERVAL) => false,
            };
        }
    }

    /// Says which certificates end soon or have ended: each when that begins, and then once a day.
    fn warn(&self) {
        let now = self.clock.now();
        let mut held = self.held();
        let Held { certificates, told, .. } = &mut *held;
        for ((files, slot), told) in self.sources.certificates.iter().zip(certificates).zip(told) {
            let not_after = slot.current().facts.not_after;
            let file = files.certificate.display();
            match told.news(not_after, now) {
                None => {}
                Some(Ending::Soon) => {
                    tracing::warn!(%file, %not_after, "a certificate expires soon; renew it");
                }
                Some(Ending::Over) => {
                    tracing::error!(%file, %not_after, "a certificate has expired: clients refuse to connect");
                }
            }
        }
    }
}

/// How near the end of a certificate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Soon,
    Over,
}

/// What was last said about the end of one certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Told(Option<Saying>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Saying {
    ending: Ending,
    /// Of which certificate, should another be in use by now.
    not_after: Timestamp,
    /// When, since the start of the process.
    at: Duration,
}

impl Told {
    /// What is to be said now, if anything is. It counts as said.
    fn news(&mut self, not_after: Timestamp, now: Moment) -> Option<Ending> {
        let ending = if not_after < now.wall {
            Ending::Over
        } else if ends_soon(not_after, now.wall) {
            Ending::Soon
        } else {
            self.0 = None;
            return None;
        };
        let was_said = self.0.is_some_and(|said| {
            let is_fresh = now.mono.saturating_sub(said.at) < WARN_EVERY;
            said.ending == ending && said.not_after == not_after && is_fresh
        });
        if was_said {
            return None;
        }
        self.0 = Some(Saying { ending, not_after, at: now.mono });
        Some(ending)
    }
}

/// Whether it is time to warn.
pub(super) fn ends_soon(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.minus(WARN_BEFORE) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn each_certificate_is_told_of_when_its_state_changes_and_once_a_day() {
        let start = Timestamp::from_millis(1_800_000_000_000);
        let after = |time: Duration| Moment { wall: start.plus(time), mono: time };
        // One ends after 15 days, the other after 15 days and 2 hours.
        let (first_end, second_end) = (start.plus(15 * DAY), start.plus(15 * DAY + 2 * HOUR));
        let (mut first, mut second) = (Told::default(), Told::default());
        assert_eq!(first.news(first_end, after(Duration::ZERO)), None);
        assert_eq!(first.news(first_end, after(DAY)), Some(Ending::Soon));
        assert_eq!(second.news(second_end, after(DAY)), None);
        assert_eq!(second.news(second_end, after(DAY + 2 * HOUR)), Some(Ending::Soon), "not a day later");
        assert_eq!(first.news(first_end, after(DAY + 2 * HOUR)), None);
        assert_eq!(first.news(first_end, after(2 * DAY)), Some(Ending::Soon));
        // It was warned of an hour before its end: that it has ended is news.
        assert_eq!(first.news(first_end, after(14 * DAY + 23 * HOUR)), Some(Ending::Soon));
        assert_eq!(first.news(first_end, after(15 * DAY + HOUR)), Some(Ending::Over));
        assert_eq!(first.news(first_end, after(15 * DAY + 2 * HOUR)), None);
        assert_eq!(first.news(first_end, after(16 * DAY + HOUR)), Some(Ending::Over));
        // Another is in use, which ends soon, too; and then one that does not.
        assert_eq!(first.news(start.plus(17 * DAY), after(16 * DAY + HOUR)), Some(Ending::Soon));
        assert_eq!(first.news(start.plus(90 * DAY), after(16 * DAY + HOUR)), None);
        assert_eq!(first.news(start.plus(17 * DAY), after(16 * DAY + HOUR)), Some(Ending::Soon));
    }
}
