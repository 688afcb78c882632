//! From start to end of the process: every task is tracked, named and told when to stop.
//!
//! The end has three steps: no new connections and requests in flight finish (`draining`), then background work
//! stops (`stopping`), then whatever is left is dropped.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tracks the tasks of the process and tells them when to stop.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    stopping: CancellationToken,
    connections: TaskTracker,
    background: TaskTracker,
}

impl Lifecycle {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs background work until it ends; it should end soon after [`Lifecycle::stopping`].
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let tracked = async move {
            work.await;
            tracing::debug!(task = name, "background task ended");
        };
        self.background.spawn(tracked);
    }

    /// Runs a connection; it should end soon after [`Lifecycle::draining`].
    pub(crate) fn spawn_connection(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(work);
    }

    /// Where other parts put work of their own.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.background
    }

    /// Done when no new work should be taken on.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Done when background work should end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Waits `pause`, or less if the process is stopping. False when it is.
    pub async fn pause(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stopping.cancelled()).await.is_err()
    }

    /// Lets connections finish for at most `limit`. Returns whether they did.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.draining.cancel();
        self.connections.close();
        tokio::time::timeout(limit, self.connections.wait()).await.is_ok()
    }

    /// Ends background work, waiting for it at most `limit`. Returns whether it ended.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.draining.cancel();
        self.stopping.cancel();
        self.background.close();
        tokio::time::timeout(limit, self.background.wait()).await.is_ok()
    }
}
