//! Asks servers whether they are well, and keeps the rest tidy that time alone makes old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use tokio_util::sync::CancellationToken;

use crate::config::HealthCheck;
use crate::forward::Proxy;
use crate::outbound::Outbound;
use crate::pause::after;
use crate::request_body::{HeadWait, RequestBody};
use crate::server::Server;
use crate::stalls::LOOK_INTERVAL;

/// From one look at idle connections to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What the health checks of one server said: the sign is the verdict, the rest counts contrary answers in a row.
#[derive(Debug, Default)]
pub(crate) struct Checks(AtomicU32);

/// The bit that says that a server is down.
const DOWN: u32 = 1 << 31;

impl Checks {
    /// Up until checks say otherwise.
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) & DOWN == 0
    }

    /// One answer, or none. There is one checker for each server.
    pub(crate) fn note(&self, is_well: bool, check: &HealthCheck) {
        let before = self.0.load(Ordering::Relaxed);
        let is_up = before & DOWN == 0;
        let after = if is_well == is_up {
            before & DOWN
        } else {
            let contrary = (before & !DOWN).saturating_add(1);
            let needed = if is_well { check.healthy_after } else { check.unhealthy_after };
            match contrary >= needed.max(1) {
                true if is_well => 0,
                true => DOWN,
                false => (before & DOWN) | contrary,
            }
        };
        self.0.store(after, Ordering::Relaxed);
    }
}

impl Proxy {
    /// Checks the servers' health, closes connections that are too old, and takes those away from clients that stopped
    /// reading, until it is told to stop; then it closes all that are idle. Without it, servers are judged by requests alone, and idle connections stay open until they are
    /// tried. To be stopped when `drain` of [`Parts`](crate::Parts) is cancelled, or later.
    pub async fn tend(&self, stop: CancellationToken) {
        let inner = self.inner();
        let checks = inner.upstreams.iter().flat_map(|upstream| {
            let health = upstream.health.as_ref();
            upstream.servers.iter().filter_map(move |server| health.map(|health| (server, health)))
        });
        let checks = join_all(checks.map(|(server, health)| self.check(server, health)));
        let sweeps = async {
            loop {
                after(SWEEP_INTERVAL).await;
                let now = (inner.parts.clock)();
                for server in inner.upstreams.iter().flat_map(|upstream| &upstream.servers) {
                    server.pool.sweep(now);
                }
            }
        };
        let looks = async {
            loop {
                after(LOOK_INTERVAL).await;
                for server in inner.upstreams.iter().flat_map(|upstream| &upstream.servers) {
                    let taken = server.stalls.look();
                    if taken > 0 {
                        tracing::debug!(server = %server.origin.server, taken, "clients stopped reading answers");
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            never = sweeps => never,
            never = looks => never,
            // Ready at once when no server is to be checked.
            () = async { checks.await; std::future::pending::<()>().await } => {}
        }
        for server in inner.upstreams.iter().flat_map(|upstream| &upstream.servers) {
            server.close();
        }
    }

    async fn check(&self, server: &Arc<Server>, health: &HealthCheck) {
        loop {
            let was_up = server.checks.is_up();
            server.checks.note(self.is_well(server, health).await, health);
            let is_up = server.checks.is_up();
            if is_up != was_up {
                tracing::warn!(server = %server.origin.server, is_up, "health of a server of the application");
            }
            after(health.interval).await;
        }
    }

    async fn is_well(&self, server: &Arc<Server>, health: &HealthCheck) -> bool {
        let inner = self.inner();
        let Ok(uri) = health.path.parse() else { return false };
        let headers = HeaderMap::from_iter([
            (HOST, server.origin.authority.clone()),
            (USER_AGENT, HeaderValue::from_static("phoenix-health-check")),
            (CONNECTION, HeaderValue::from_static("close")),
        ]);
        let mut request = Outbound { method: Method::GET, uri, headers, body: RequestBody::Empty, way: None };
        let mut wait = HeadWait::new(None, health.timeout, health.timeout, None);
        let asked = server.ask_apart(&mut request, &inner.parts.connections, &mut wait);
        match tokio::time::timeout(health.timeout, asked).await {
            Ok(Ok(status)) => status.as_u16() < 400,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The verdict changes when, and only when, the last answers in a row all contradict it and are enough.
        #[test]
        fn the_verdict_follows_enough_contrary_answers(
            answers in proptest::collection::vec(any::<bool>(), 0..60),
            healthy_after in 1_u32..5,
            unhealthy_after in 1_u32..5,
        ) {
            let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
            let check = HealthCheck { path: "/".to_owned(), interval, timeout, healthy_after, unhealthy_after };
            let checks = Checks::default();
            let (mut is_up, mut row) = (true, 0);
            for is_well in answers {
                row = if is_well == is_up { 0 } else { row + 1 };
                if row >= if is_well { healthy_after } else { unhealthy_after } && row > 0 {
                    (is_up, row) = (is_well, 0);
                }
                checks.note(is_well, &check);
                prop_assert_eq!(checks.is_up(), is_up);
            }
        }
    }
}
