//! Sessions in use are loaded again before their time in memory ends: nobody waits for the database.

use std::time::Duration;

use phoenix_testkit::wait;

use super::support::{Backend, SOON, Site};

const STEP: Duration = Duration::from_secs(5);
/// Steps in the lifetime of an entry, of 100 seconds.
const STEPS: u64 = 20;
const LIFETIMES: u64 = 3;

async fn a_busy_session_stays(backend: Backend) {
    let site = Site::new(backend)
        .with("PHOENIX_L1_TTL", "100s")
        .with("PHOENIX_L1_MIN_TTL", "100s")
        .with("PHOENIX_LAST_SEEN_STEP", "5m")
        .with("PHOENIX_REVOCATION_BOUND", "200ms");
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let mut busy = node.registered("busy@example.com").await;
    let mut idle = node.registered("idle@example.com").await;
    assert_eq!((busy.me().await.status.as_u16(), idle.me().await.status.as_u16()), (200, 200));
    let before = admin.statements().await;
    for step in 1..=STEPS * LIFETIMES {
        site.clock.advance(STEP);
        // The lease is another matter than the lifetime: it is renewed by real time, and with it the database was asked
        // again after whatever the last step made due.
        wait::until(SOON, "a fresh lease", || {
            let mut admin = admin.clone();
            async move { admin.status().await["revocation"]["leaseRemainingSeconds"].as_f64() > Some(0.0) }
        })
        .await;
        let response = busy.me().await;
        assert_eq!(
            (response.status.as_u16(), response.header("x-cache-hit")),
            (200, Some("l1")),
            "step {step}"
        );
    }
    let asked = admin.statements().await.since(&before);
    assert!(asked["session_find"] >= LIFETIMES, "it was loaded again each time: {asked:?}");
    let response = idle.me().await;
    assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l3")));
    node.stop().await;
}

// spec: C3
#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_use_never_goes_back_to_the_database_and_one_that_is_not_does() {
    tokio::join!(
        Box::pin(a_busy_session_stays(Backend::Sqlite)),
        Box::pin(a_busy_session_stays(Backend::Postgres))
    );
}
