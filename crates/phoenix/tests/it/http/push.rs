//! Revocations are pushed to the other nodes, and obeyed within the bound when no push arrives. Without Redis: the
//! notifications of PostgreSQL carry them.

use std::time::Duration;

use phoenix::clock::SystemClock;
use phoenix_auth::ports::Clock;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;
use serde_json::Value;

use super::support::{ADMIN, Backend, Browser, Node, SOON, Site, assert_problem};

/// The log is read four times within it, so every 15 seconds.
const LONG_BOUND: &str = "60s";
/// Long before the next read of the log.
const PUSHED: Duration = Duration::from_secs(1);

/// What a node says of its messages.
async fn push(admin: &Browser) -> Value {
    admin.clone().status().await["revocation"]["push"].clone()
}

/// An administrator at a node that hears the others.
async fn listening(node: &Node) -> Browser {
    let admin = node.administrator().await;
    wait::until(SOON, "the node to listen", || async { push(&admin).await["connected"] == true }).await;
    admin
}

/// A session is ended at one node. Returns how long the other went on accepting it.
async fn accepted_after_logout(one: &Node, two: &Node) -> Duration {
    let mut browser = one.signed_in(ADMIN).await;
    let elsewhere = browser.at(&two.client);
    elsewhere.clone().until_in_memory().await;
    assert_eq!(browser.act("/api/auth/logout").await.status, 200);
    let acknowledged = SystemClock::start();
    wait::until(SOON, "the other node to refuse", || {
        let mut elsewhere = elsewhere.clone();
        async move { elsewhere.me().await.status == 401 }
    })
    .await;
    acknowledged.mono()
}

// spec: C4 A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_obeyed_at_the_other_nodes_long_before_they_read_the_log() {
    let site = Site::new(Backend::Postgres).with("PHOENIX_REVOCATION_BOUND", LONG_BOUND);
    let (one, two) = (site.node().await, site.node().await);
    let (admin_one, admin_two) = (listening(&one).await, listening(&two).await);
    for _ in 0..5 {
        let after = accepted_after_logout(&one, &two).await;
        assert!(after < PUSHED, "{after:?}");
    }
    let (sent, received) = (push(&admin_one).await, push(&admin_two).await);
    assert!(sent["sent"].as_u64().unwrap() >= 5, "{sent}");
    assert!(received["received"].as_u64().unwrap() >= 5, "{received}");
    let lag = admin_two.clone().status().await["revocation"]["applyLag"].clone();
    assert!(lag["count"].as_u64().unwrap() >= 5, "{lag}");
    one.stop().await;
    two.stop().await;
}

// spec: C4 G3
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_message_of_ours_is_counted_and_changes_nothing() {
    let url = Postgres::shared().create_database();
    let site =
        Site::new(Backend::Postgres).with("DATABASE_URL", &url).with("PHOENIX_REVOCATION_BOUND", LONG_BOUND);
    let (one, two) = (site.node().await, site.node().await);
    let (mut admin, mut other) = (listening(&one).await, listening(&two).await);
    for node in [&admin, &other] {
        assert_eq!(push(node).await["refused"], 0);
    }
    let user = admin.user_id().await.replace('-', "");
    // That everything of the administrator is stale: of the right form, but with a seal of zeros.
    let (seal, from, seq, at) = ("00".repeat(32), "0000000000000001", "00000000000000ff", "0000000000000000");
    let message = format!("{seal}01{from}{seq}02{user}{at}");
    let forged = format!("rtrim(replace(encode(decode('{message}', 'hex'), 'base64'), E'\\n', ''), '=')");
    let garbage = ["''", "'garbage'", "'QUJD'", "'é€ \"'", "repeat('=', 7999)", "repeat('A', 7999)", &forged];
    for payload in garbage {
        let notify = format!("SELECT pg_notify('phoenix_push', {payload})");
        Postgres::shared().execute(database_name(&url), &notify).unwrap();
    }
    for node in [&admin, &other] {
        wait::until(SOON, "all of them to be counted", || async {
            push(node).await["refused"] == garbage.len()
        })
        .await;
    }
    for browser in [&mut admin, &mut other] {
        let response = browser.me().await;
        assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l1")));
    }
    let after = accepted_after_logout(&one, &two).await;
    assert!(after < PUSHED, "messages of ours still arrive: {after:?}");
    one.stop().await;
    two.stop().await;
}

// spec: C4 A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_nobody_is_told_of_is_obeyed_within_the_bound() {
    let bound = Duration::from_secs(2);
    let site = Site::new(Backend::Postgres).with("PHOENIX_REVOCATION_BOUND", "2s").in_real_time();
    let node = site.node().await;
    let mut admin = listening(&node).await;
    // It ends sessions in the database and sends no message: as if every one were lost.
    let silent = site.silent().await;
    for number in 0..3 {
        let browser = node.registered(&format!("user{number}@example.com")).await;
        let mut asking = browser.clone();
        asking.until_in_memory().await;
        let id = asking.user_id().await.parse().unwrap();
        assert_eq!(silent.auth.end_all_sessions(id).await.unwrap(), 1);
        let acknowledged = site.now();
        wait::until(SOON, "the node to refuse", || {
            let (mut asking, begun) = (browser.clone(), site.now());
            async move {
                let refused = asking.me().await.status == 401;
                assert!(refused || begun <= acknowledged + bound, "accepted after the bound");
                refused
            }
        })
        .await;
        assert_problem(&asking.me().await, 401, "session-ended");
    }
    assert_eq!(admin.status().await["revocation"]["push"]["received"], 0, "no message arrived");
    silent.stop(SOON).await;
    node.stop().await;
}
