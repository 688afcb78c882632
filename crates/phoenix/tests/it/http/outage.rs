//! The database goes and comes back: who is signed in goes on for the grace, everything else is refused and works again
//! by itself.

use std::time::Duration;

use phoenix::clock::SystemClock;
use phoenix_auth::ports::Clock;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::wait;
use serde_json::json;

use super::support::{ADMIN, Backend, Browser, PASSWORD, SOON, Site, assert_problem};

const ADA: &str = "ada@example.com";
const MILLISECOND: Duration = Duration::from_millis(1);
const BOUND: Duration = Duration::from_secs(2);
const ALMOST_THE_BOUND: Duration = Duration::from_millis(1_999);
const GRACE: &str = "30s";
const ALMOST_THE_GRACE: Duration = Duration::from_millis(29_999);
/// Waiting for a database that is known not to answer would take longer.
const AT_ONCE: Duration = Duration::from_millis(100);
/// The ways in which a database is gone: nobody listens, or nobody answers.
const OUTAGES: [Mode; 2] = [Mode::Refuse, Mode::Blackhole];

/// A site whose database is reached through the proxy.
fn site(grace: &str) -> (FaultProxy, Site) {
    let proxy = FaultProxy::start(Postgres::shared().address()).unwrap();
    let database = Postgres::shared().create_database();
    let url = Postgres::shared().url_via(proxy.addr(), database_name(&database));
    let site = Site::new(Backend::Postgres)
        .with("DATABASE_URL", &url)
        .with("PHOENIX_REVOCATION_BOUND", "2s")
        .with("PHOENIX_OUTAGE_GRACE", grace)
        .with("DB_CONNECTION_TIMEOUT", "1000")
        .with("DB_QUERY_TIMEOUT", "1000")
        .with("DB_RETRY_DELAY", "10");
    (proxy, site)
}

/// The word of the system, from an answer that must be 200.
async fn word(browser: &Browser) -> String {
    let response = browser.clone().me().await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("x-system-status").unwrap().to_owned()
}

async fn until_the_word_is(expected: &str, browser: &Browser) {
    wait::until(SOON, &format!("the status {expected}"), || async { word(browser).await == expected }).await;
}

/// Half of the requests are answered faster than this.
async fn median(browser: &Browser) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let stopwatch = SystemClock::start();
        assert_eq!(browser.clone().me().await.status, 200);
        times.push(stopwatch.mono());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

// spec: D9
#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_goes_on_for_the_grace_and_nobody_waits_for_a_dead_database() {
    for outage in OUTAGES {
        let (proxy, site) = site(GRACE);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut browser = node.registered(ADA).await;
        assert_eq!(browser.me().await.header("x-system-status"), Some("ok"));

        proxy.set(outage);
        until_the_word_is("degraded", &browser).await;
        assert_eq!(admin.me().await.status, 200);
        assert!(median(&browser).await < AT_ONCE, "within the lease");

        // The lease ends and is not renewed; from here on nobody can say who was signed out elsewhere.
        site.clock.advance(BOUND);
        assert!(median(&browser).await < AT_ONCE, "after the lease");
        let response = browser.me().await;
        assert_eq!(response.header("x-system-status"), Some("degraded"));
        assert_eq!(
            (response.header("x-cache-hit"), &response.json()["user"]["email"]),
            (Some("l1"), &json!(ADA))
        );
        let status = admin.status().await;
        assert!(status["revocation"]["servedInGrace"].as_u64().unwrap() >= 22, "{}", status["revocation"]);
        assert_eq!(
            (&status["status"], &status["database"]["available"]),
            (&json!("degraded"), &json!(false))
        );

        site.clock.advance(ALMOST_THE_GRACE);
        assert_eq!(browser.me().await.status, 200, "to the last millisecond");
        site.clock.advance(MILLISECOND);
        assert_problem(&browser.me().await, 503, "unavailable");
        assert_problem(&admin.me().await, 503, "unavailable");

        proxy.set(Mode::Pass);
        wait::until(SOON, "an answer without a restart", || {
            let mut browser = browser.clone();
            async move { browser.me().await.status == 200 }
        })
        .await;
        until_the_word_is("ok", &browser).await;
        assert_eq!(admin.status().await["database"]["available"], true);
        node.stop().await;
    }
}

// spec: D9
#[tokio::test(flavor = "multi_thread")]
async fn whatever_needs_the_database_is_refused_with_a_time_to_come_back_and_changes_nothing() {
    for outage in OUTAGES {
        let (proxy, site) = site("5m");
        let node = site.node().await;
        let mut browser = node.registered(ADA).await;
        let cold = node.token(ADMIN).await;
        // Of a session that this node has never seen nothing can be said.
        let unknown = {
            let other = site.node().await;
            let token = other.token(ADA).await;
            other.stop().await;
            token
        };
        assert_eq!((browser.me().await.status.as_u16(), node.me(&cold).await.status.as_u16()), (200, 200));
        proxy.set(outage);
        until_the_word_is("degraded", &browser).await;
        for lease in [Duration::ZERO, BOUND] {
            site.clock.advance(lease);
            assert_problem(&node.browser().login(ADA, PASSWORD).await, 503, "unavailable");
            assert_problem(&node.browser().register("new@example.com").await, 503, "unavailable");
            assert_problem(&node.me(&unknown).await, 503, "unavailable");
            for path in ["/api/auth/logout", "/api/auth/refresh"] {
                assert_problem(&browser.act(path).await, 503, "unavailable");
            }
            for path in ["/api/auth/sessions?scope=all", "/api/auth/sessions?scope=others"] {
                assert_problem(&browser.delete(path).await, 503, "unavailable");
            }
            assert_problem(&browser.get("/api/auth/sessions").await, 503, "unavailable");
            assert_eq!(browser.me().await.status, 200, "what was not acknowledged did not happen");
            assert_eq!(node.client.get("/healthz").send().await.unwrap().status, 200);
            let ready = node.client.get("/readyz").send().await.unwrap().status;
            assert_eq!(ready, 200, "it serves those who are signed in");
        }
        proxy.set(Mode::Pass);
        until_the_word_is("ok", &browser).await;
        assert_eq!(node.browser().register("new@example.com").await.status, 201);
        assert_eq!(node.me(&unknown).await.status, 200);
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        assert_problem(&browser.me().await, 401, "unauthenticated");
        node.stop().await;
    }
}

// spec: D9
#[tokio::test(flavor = "multi_thread")]
async fn without_grace_everybody_is_refused_once_the_lease_has_ended() {
    for outage in OUTAGES {
        let (proxy, site) = site("0");
        let node = site.node().await;
        let mut browser = node.registered(ADA).await;
        assert_eq!(browser.me().await.status, 200);
        proxy.set(outage);
        until_the_word_is("degraded", &browser).await;
        site.clock.advance(ALMOST_THE_BOUND);
        assert_eq!(browser.me().await.status, 200, "the lease still says that nobody was signed out");
        site.clock.advance(MILLISECOND);
        assert_problem(&browser.me().await, 503, "unavailable");
        proxy.set(Mode::Pass);
        wait::until(SOON, "an answer without a restart", || {
            let mut browser = browser.clone();
            async move { browser.me().await.status == 200 }
        })
        .await;
        node.stop().await;
    }
}

// spec: D9 A14
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_before_the_outage_is_not_accepted_in_it() {
    for outage in OUTAGES {
        let (proxy, site) = site("5m");
        let (one, two) = (site.node().await, site.node().await);
        let mut browser = one.registered(ADA).await;
        let mut kept = one.signed_in(ADA).await.at(&two.client);
        let mut elsewhere = browser.at(&two.client);
        elsewhere.until_in_memory().await;
        kept.until_in_memory().await;
        let mut last = one.signed_in(ADA).await;
        let last_elsewhere = last.at(&two.client);
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        assert_eq!(last.act("/api/auth/logout").await.status, 200);
        // Who knows of the later one knows of both; memory still holds the first, since nobody asked for it.
        wait::until(SOON, "the other node to refuse", || {
            let mut last = last_elsewhere.clone();
            async move { last.me().await.status == 401 }
        })
        .await;
        proxy.set(outage);
        until_the_word_is("degraded", &kept).await;
        // First asked for in the grace, and again when what memory knows of unknown tokens has been forgotten.
        for passed in [BOUND, Duration::from_secs(10)] {
            site.clock.advance(passed);
            let status = elsewhere.me().await.status;
            assert!(status == 401 || status == 503, "{status}");
            assert_eq!(kept.me().await.status, 200);
        }
        proxy.set(Mode::Pass);
        until_the_word_is("ok", &kept).await;
        assert_problem(&elsewhere.me().await, 401, "session-ended");
        one.stop().await;
        two.stop().await;
    }
}

// spec: D9
#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_database_costs_nobody_who_is_signed_in_a_request_in_real_time() {
    let (proxy, site) = site("5m");
    let site = site.in_real_time();
    let node = site.node().await;
    let browser = node.registered(ADA).await;
    until_the_word_is("ok", &browser).await;
    proxy.set(Mode::Blackhole);
    let begun = site.now();
    // Over the end of the lease: every request is answered 200.
    wait::until(SOON, "twice the bound to pass", || async {
        let _word = word(&browser).await;
        site.now() > begun + 2 * BOUND
    })
    .await;
    assert_eq!(word(&browser).await, "degraded");
    assert!(median(&browser).await < AT_ONCE);
    proxy.set(Mode::Pass);
    until_the_word_is("ok", &browser).await;
    node.stop().await;
}
