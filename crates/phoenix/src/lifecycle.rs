//! From start to end of the process: every task is tracked, named and told when to stop.
//!
//! The end has these steps, in this order:
//!
//! 1. `draining`: no new connections; requests in flight finish, and each answer closes its connection. Connections
//!    without a request stay open for those that are on their way.
//! 2. `idle_over`: connections without a request are closed.
//! 3. `cutting`: tunnels are closed.
//! 4. `stopping`: background work ends.
//! 5. Whatever is left is dropped.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time that tunnels have to say goodbye when they are closed.
const TUNNEL_GOODBYE: Duration = Duration::from_secs(1);

/// Tracks the tasks of the process and tells them when to stop.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    draining: CancellationToken,
    succeeded: CancellationToken,
    idle_over: CancellationToken,
    cutting: CancellationToken,
    stopping: CancellationToken,
    connections: TaskTracker,
    tunnels: TaskTracker,
    background: TaskTracker,
}

/// How long draining may take.
#[derive(Clone, Copy, Debug)]
pub struct DrainTimes {
    /// Connections without a request stay open for this long.
    pub idle: Duration,
    /// Requests under way and tunnels have this long, from the same moment.
    pub limit: Duration,
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

    /// Runs a connection, or what accepts them; it should end soon after [`Lifecycle::draining`].
    pub fn spawn_connection(&self, work: impl Future<Output = ()> + Send + 'static) {
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

    /// Done when another process listens on the same sockets.
    #[must_use]
    pub fn succeeded(&self) -> &CancellationToken {
        &self.succeeded
    }

    /// Done when background work should end.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Done when connections without a request should end.
    #[must_use]
    pub fn idle_over(&self) -> &CancellationToken {
        &self.idle_over
    }

    /// Tracks tunnels: what goes on after a connection was upgraded. Each should end soon after
    /// [`Lifecycle::cutting`].
    #[must_use]
    pub fn tunnels(&self) -> &TaskTracker {
        &self.tunnels
    }

    /// Done when tunnels should end.
    #[must_use]
    pub fn cutting(&self) -> &CancellationToken {
        &self.cutting
    }

    /// Waits `pause`, or less if the process is stopping. False when it is.
    pub async fn pause(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stopping.cancelled()).await.is_err()
    }

    /// Lets connections and tunnels finish. Returns whether all did within the limit.
    pub async fn drain(&self, times: DrainTimes) -> bool {
        self.draining.cancel();
        self.connections.close();
        self.tunnels.close();
        let all = async {
            self.connections.wait().await;
            self.tunnels.wait().await;
        };
        let idle_over = async {
            let _ = tokio::time::timeout(times.idle, std::future::pending::<()>()).await;
            self.idle_over.cancel();
            std::future::pending::<()>().await;
        };
        let finished = tokio::time::timeout(times.limit, async {
            tokio::select! {
                () = all => {}
                () = idle_over => {}
            }
        });
        let finished = finished.await.is_ok();
        self.idle_over.cancel();
        self.cutting.cancel();
        if !finished {
            let _ = tokio::time::timeout(TUNNEL_GOODBYE, self.tunnels.wait()).await;
        }
        finished
    }

    /// Ends background work, waiting for it at most `limit`. Returns whether it ended.
    pub async fn stop(&self, limit: Duration) -> bool {
        for token in [&self.draining, &self.idle_over, &self.cutting, &self.stopping] {
            token.cancel();
        }
        self.background.close();
        tokio::time::timeout(limit, self.background.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn idle_connections_do_not_hold_up_the_end_for_longer_than_their_time() {
        let lifecycle = Lifecycle::new();
        let idle = lifecycle.idle_over().clone();
        lifecycle.spawn_connection(async move { idle.cancelled().await });
        assert!(lifecycle.drain(DrainTimes { idle: SHORT, limit: LONG }).await);
    }

    #[tokio::test]
    async fn requests_do_not_hold_up_the_end_for_longer_than_the_limit_nor_does_the_time_of_idle_ones() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn_connection(std::future::pending());
        assert!(!lifecycle.drain(DrainTimes { idle: LONG, limit: SHORT }).await);
        assert!(lifecycle.idle_over().is_cancelled() && lifecycle.cutting().is_cancelled());
        assert!(!lifecycle.stopping().is_cancelled());
    }

    #[tokio::test]
    async fn tunnels_go_on_until_the_limit_and_are_waited_for() {
        let lifecycle = Lifecycle::new();
        let cut = lifecycle.cutting().clone();
        lifecycle.tunnels().spawn(async move { cut.cancelled().await });
        assert!(!lifecycle.drain(DrainTimes { idle: Duration::ZERO, limit: SHORT }).await);
        assert!(lifecycle.tunnels().is_empty(), "it ended when it was told to");
    }
}
