//! Caches that are filled before they are asked: memory at a start, Redis when it is back.

use std::time::Duration;

use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use super::support::{Browser, Node, SOON, Site, on_every_backend, sessions_in};

const MINUTE: Duration = Duration::from_mins(1);

/// Waits until memory is warmed and returns how many sessions it was warmed with. `admin` is signed in already, so that
/// asking changes nothing.
async fn warmed(admin: &Browser, node: &Node) -> u64 {
    wait::until(SOON, "memory to be warmed", || {
        let mut admin = admin.at(&node.client);
        async move { admin.status().await["tiers"]["warmedSessions"].is_u64() }
    })
    .await;
    admin.at(&node.client).status().await["tiers"]["warmedSessions"].as_u64().unwrap()
}

// spec: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_has_the_sessions_used_last_in_memory() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node_with("REDIS_URL", "").await;
        // The first to sign in, and so the last in order of use.
        let admin = node.administrator().await;
        let mut browsers: Vec<Browser> = Vec::new();
        for number in 0..6 {
            site.clock.advance_day(MINUTE);
            browsers.push(node.registered(&format!("user{number}@example.com")).await);
        }
        // Opened first, used last.
        site.clock.advance_day(MINUTE);
        assert_eq!(browsers[0].me().await.status, 200);
        node.stop().await;

        let node = site.node_with("PHOENIX_WARM_ENTRIES", "3").await;
        assert_eq!(warmed(&admin, &node).await, 3);
        for (number, expected) in [(0, "l1"), (5, "l1"), (4, "l1"), (3, "l3"), (2, "l3"), (1, "l3")] {
            let response = browsers[number].at(&node.client).me().await;
            assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some(expected)));
        }
        node.stop().await;

        // Where there is room for all, all are there, with the administrator's.
        let node = site.node_with("PHOENIX_WARM_ENTRIES", "10000").await;
        assert_eq!(warmed(&admin, &node).await, 6 + 1);
        for browser in &browsers {
            assert_eq!(browser.at(&node.client).me().await.header("x-cache-hit"), Some("l1"));
        }
        node.stop().await;
    })
    .await;
}

// spec: C2
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_not_warmed() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let admin = node.administrator().await;
        let mut left = node.registered("ada@example.com").await;
        let kept = node.registered("bob@example.com").await;
        let token = left.token();
        assert_eq!(left.act("/api/auth/logout").await.status, 200);
        node.stop().await;
        let node = site.node_with("PHOENIX_WARM_ENTRIES", "10000").await;
        assert_eq!(warmed(&admin, &node).await, 1 + 1);
        assert_eq!(node.me(&token).await.status, 401);
        assert_eq!(kept.at(&node.client).me().await.header("x-cache-hit"), Some("l1"));
        node.stop().await;
    })
    .await;
}

// spec: C2 A2
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_back_and_empty_is_filled_from_memory() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis);
    let (one, two) = (site.node().await, site.node().await);
    let mut browsers = Vec::new();
    for number in 0..5 {
        browsers.push(one.registered(&format!("user{number}@example.com")).await);
    }
    redis.kill().unwrap();
    for node in [&one, &two] {
        wait::until(SOON, "the loss to be noticed", || {
            let mut nobody = node.browser();
            async move { nobody.me().await.header("x-system-status") == Some("degraded") }
        })
        .await;
    }
    redis.restart().unwrap();
    // Nobody asks for anything meanwhile.
    wait::until(SOON, "the sessions in Redis", || async { sessions_in(&redis) == 5 }).await;
    wait::until(SOON, "the other node to use Redis again", || {
        let mut nobody = two.browser();
        async move { nobody.me().await.header("x-system-status") == Some("ok") }
    })
    .await;
    for browser in &browsers {
        let response = browser.at(&two.client).me().await;
        assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l2")));
    }
    one.stop().await;
    two.stop().await;
}
