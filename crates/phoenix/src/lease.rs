//! Keeps this node's freshness lease: from the database, and when that does not answer, through another node.

use std::sync::Arc;
use std::time::Duration;

use phoenix_store::bus::Bus;
use phoenix_store::tiers::TieredSessions;

use crate::lifecycle::Lifecycle;
use crate::status_word::StatusWord;

/// What is needed to keep the lease.
pub(crate) struct Keeper {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) tiers: TieredSessions,
    pub(crate) bus: Option<Bus>,
    pub(crate) word: Arc<StatusWord>,
    /// A quarter of the bound.
    pub(crate) interval: Duration,
}

impl Keeper {
    /// Renews the lease four times within its bound, and at once when an invalidation arrived out of order.
    pub(crate) async fn run(self) {
        while !self.lifecycle.stopping().is_cancelled() {
            let answered = self.renew().await;
            self.tiers.set_database_lost(!answered);
            self.word.set_database_lost(!answered);
            tokio::select! {
                _ = self.lifecycle.pause(self.interval) => {}
                () = self.tiers.gap_noticed() => {}
            }
        }
    }

    /// One renewal. Returns whether the database answered.
    async fn renew(&self) -> bool {
        // Given up before the store is done with its retries: an outage is known within the bound, and what the
        // lease is for is over by then.
        let mut reading = std::pin::pin!(tokio::time::timeout(self.interval * 2, self.tiers.renew_lease()));
        let quick = tokio::time::timeout(self.interval / 2, &mut reading).await;
        if let Ok(Ok(Ok(()))) = quick {
            return true;
        }
        // Late or failed. The others are asked while there is still time, and the database may yet answer.
        let through_another = async {
            match &self.bus {
                Some(bus) => bus.renew_lease(self.interval).await,
                None => false,
            }
        };
        match quick {
            Ok(failed) => {
                through_another.await;
                if let Ok(Err(error)) = failed {
                    tracing::debug!(?error, "the freshness lease was not renewed from the database");
                }
                false
            }
            Err(_elapsed) => {
                let (read, _) = tokio::join!(reading, through_another);
                matches!(read, Ok(Ok(())))
            }
        }
    }
}
