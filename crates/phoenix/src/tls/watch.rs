//! Looks at the files of certificates a few times a minute and whenever told to, and warns before one ends.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::model::Timestamp;
use tokio::signal::unix::Signal;

use super::TlsServer;
use crate::lifecycle::Lifecycle;

/// Time between two looks. The contents are compared, so that links that are put elsewhere (Kubernetes, certbot) and
/// files that keep their times are noticed, too.
const INTERVAL: Duration = Duration::from_secs(10);
/// From then on somebody is warned.
pub(super) const WARN_BEFORE: Duration = Duration::from_hours(14 * 24);
/// So often.
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

    /// Says which certificates end soon or have ended, once a day.
    fn warn(&self) {
        let now = self.clock.now();
        let mut held = self.held();
        if held.warned.is_some_and(|warned| now.mono.saturating_sub(warned) < WARN_EVERY) {
            return;
        }
        let mut some_end = false;
        for (files, slot) in self.sources.certificates.iter().zip(&held.certificates) {
            let not_after = slot.current().facts.not_after;
            if !ends_soon(not_after, now.wall) {
                continue;
            }
            some_end = true;
            let file = files.certificate.display();
            if not_after < now.wall {
                tracing::error!(%file, %not_after, "a certificate has expired: clients refuse to connect");
            } else {
                tracing::warn!(%file, %not_after, "a certificate expires soon; renew it");
            }
        }
        held.warned = some_end.then_some(now.mono);
    }
}

/// Whether it is time to warn.
pub(super) fn ends_soon(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.minus(WARN_BEFORE) <= now
}
