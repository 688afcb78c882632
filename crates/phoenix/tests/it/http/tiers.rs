//! Which tier answered: what the header says, what the counters say, and what the database saw.

use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;
use serde_json::Value;

use super::support::{ADMIN, Browser, SOON, Site, assert_problem, on_every_backend, sessions_in};

/// Answers by tier, as the headers told.
#[derive(Default, PartialEq, Eq, Debug)]
struct Seen {
    l1: u64,
    l2: u64,
    l3: u64,
}

impl Seen {
    fn note(&mut self, response: &phoenix_testkit::http::Response) {
        match response.header("x-cache-hit") {
            Some("l1") => self.l1 += 1,
            Some("l2") => self.l2 += 1,
            Some("l3") => self.l3 += 1,
            _ => {}
        }
    }

    /// Difference of two status pages; the second one's own answer came from memory and is in it.
    fn between(before: &Value, after: &Value) -> Self {
        let delta =
            |name: &str| after["tiers"][name].as_u64().unwrap() - before["tiers"][name].as_u64().unwrap();
        Self { l1: delta("l1Hits") - 1, l2: delta("l2Hits"), l3: delta("l3Hits") }
    }
}

// spec: A1 A13 M12
#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_of_a_cold_session_reads_the_database_and_the_others_memory() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let [token] = site.cold_tokens(["ada@example.com"]).await;
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut browser = Browser::with_token(&node.client, &token);
        let (status, before) = (admin.status().await, admin.statements().await);
        let mut seen = Seen::default();
        let first = browser.me().await;
        assert_eq!(first.header("x-cache-hit"), Some("l3"));
        seen.note(&first);
        for _ in 0..199 {
            let response = browser.me().await;
            assert_eq!(response.header("x-cache-hit"), Some("l1"));
            assert_eq!(response.body, first.body);
            seen.note(&response);
        }
        let after = admin.statements().await;
        assert_eq!(after.since(&before), [("session_find".to_owned(), 1)].into(), "one read, and no write");
        seen.l1 += 2; // the two looks at the statements
        assert_eq!(Seen::between(&status, &admin.status().await), seen);
        let rate = admin.status().await["tiers"]["hitRate"].as_f64().unwrap();
        assert!(rate >= 0.95, "{rate}");

        assert_eq!(node.browser().me().await.header("x-cache-hit"), Some("none"));
        assert_eq!(node.browser().login(ADMIN, "wrong").await.header("x-cache-hit"), Some("none"));
        node.stop().await;
    })
    .await;
}

// spec: A1 A13
#[tokio::test(flavor = "multi_thread")]
async fn who_has_just_signed_in_is_answered_from_memory() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let (mut registered, mut signed_in) =
            (node.registered("ada@example.com").await, node.signed_in(ADMIN).await);
        let (status, before) = (admin.status().await, admin.statements().await);
        let mut seen = Seen::default();
        for browser in [&mut registered, &mut signed_in] {
            for _ in 0..3 {
                let response = browser.me().await;
                assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l1")));
                seen.note(&response);
            }
        }
        let after = admin.statements().await;
        assert!(after.since(&before).is_empty(), "the database was not asked");
        seen.l1 += 2;
        assert_eq!(Seen::between(&status, &admin.status().await), seen, "each answer is counted once");
        node.stop().await;
    })
    .await;
}

// spec: A1 A13 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_on_one_node_is_known_to_the_others_through_redis() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis);
    let (one, two) = (site.node().await, site.node().await);
    let mut admin = two.administrator().await;
    let mut seen = Seen::default();
    let mut used: Vec<Browser> = Vec::new();
    for number in 0..5 {
        let mut browser = one.registered(&format!("user{number}@example.com")).await;
        assert_eq!(browser.me().await.header("x-cache-hit"), Some("l1"));
        used.push(browser);
    }
    wait::until(SOON, "six sessions in Redis", || async { sessions_in(&redis) == 6 }).await;
    let (status, before) = (admin.status().await, admin.statements().await);
    for browser in &mut used {
        let mut elsewhere = browser.at(&two.client);
        for expected in ["l2", "l1", "l1"] {
            let response = elsewhere.me().await;
            assert_eq!(response.header("x-cache-hit"), Some(expected));
            assert_eq!(response.body, browser.me().await.body);
            seen.note(&response);
        }
    }
    let after = admin.statements().await;
    assert!(after.since(&before).is_empty(), "the database was not asked");
    seen.l1 += 2;
    assert_eq!(Seen::between(&status, &admin.status().await), seen);
    one.stop().await;
    two.stop().await;
}

// spec: A1
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_token_is_asked_of_the_database_once() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut browser = node.registered("ada@example.com").await;
        let unknown = browser.token();
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        let before = admin.statements().await;
        for _ in 0..50 {
            let response = node.me(&unknown).await;
            assert_problem(&response, 401, "session-ended");
            assert_eq!(response.header("x-cache-hit"), Some("none"));
        }
        assert_eq!(admin.statements().await.since(&before).get("session_find"), Some(&1));
        node.stop().await;
    })
    .await;
}
