//! What a block means for whom it names, and for nobody else: on every node, until it ends or somebody ends it.

use std::time::Duration;

use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;
use serde_json::{Value, json};

use super::super::blocks::{add, blocks, path, reset};
use super::super::support::{ADMIN, Backend, Browser, ME, Node, PASSWORD, SOON, Site, assert_problem};
use super::{limited_elsewhere, rate_limits, retry_after};

const SEARCH: &str = "/api/search";
/// Three searches in a time that a test does not outlast.
const THREE: &str = r#"{search = {windows = ["3/1h"], block = "2h"}}"#;
const CLIENT: [u8; 4] = [127, 0, 0, 2];
const ANOTHER: [u8; 4] = [127, 0, 0, 3];

impl Node {
    /// A stranger's search from an address of this machine.
    async fn search_from(&self, address: [u8; 4]) -> Response {
        self.browser().from(address, self.address).get(SEARCH).await
    }

    /// Searches until that is refused; how many were admitted, and the refusal.
    async fn search_until_refused(&self, address: [u8; 4]) -> (usize, Response) {
        for admitted in 0..500 {
            let response = self.search_from(address).await;
            if response.status == 429 {
                return (admitted, response);
            }
            assert_eq!(response.status, 404, "{}", response.text());
        }
        panic!("nobody is refused");
    }

    /// Waits until so many clients are blocked here. Asks nothing in their names.
    async fn until_blocked_are(&self, admin: &Browser, count: usize) {
        wait::until(SOON, &format!("{count} blocked clients"), || async {
            rate_limits(&admin.at(&self.client)).await["blockedKeys"] == count
        })
        .await;
    }
}

async fn until_listed_are(admin: &Browser, count: usize) -> Vec<Value> {
    wait::for_some(SOON, &format!("{count} blocks in the database"), || async {
        let listed = blocks(&mut admin.clone(), "").await;
        (listed.len() == count).then_some(listed)
    })
    .await
}

// spec: R1, R6
#[tokio::test(flavor = "multi_thread")]
async fn who_exceeds_a_limit_on_one_node_is_refused_on_all_until_the_block_is_lifted() {
    on_every_shared_kind(async |site| {
        let classes = r#"{search = {windows = ["3/1s"], block = "2m"}}"#;
        let site = site.with("PHOENIX_LIMITS_CLASSES", classes);
        let (one, two) = (site.node().await, site.node().await);
        let admin = one.administrator().await;
        let (_, refused) = one.search_until_refused(CLIENT).await;
        let begun = site.now();
        assert_eq!(retry_after(&refused), 120);
        one.until_blocked_are(&admin, 1).await;
        two.until_blocked_are(&admin, 1).await;
        for node in [&one, &two] {
            let body = assert_problem(&node.search_from(CLIENT).await, 429, "quota-exceeded");
            assert!(body["detail"].as_str().unwrap().starts_with("You are blocked by the limit \"search\"."));
            assert_eq!(node.search_from(ANOTHER).await.status, 404, "another client");
            let elsewhere = node.browser().from(CLIENT, node.address).get(ME).await;
            assert_eq!(elsewhere.status, 401, "another class");
        }
        let listed = until_listed_are(&admin, 1).await.remove(0);
        let told = [&listed["cause"], &listed["class"], &listed["subject"], &listed["by"]];
        assert_eq!(told, [&json!("limit"), &json!("search"), &json!("address 127.0.0.2"), &Value::Null]);

        // Once the window has passed, only the block is left; it is the other node that is told to lift it.
        let window = Duration::from_secs(1);
        wait::until(SOON, "the window to pass", || async { site.now() > begun + window }).await;
        assert!(retry_after(&two.search_from(CLIENT).await) > 90);
        assert_eq!(admin.at(&two.client).delete(&path(&listed)).await.status, 200);
        for node in [&two, &one] {
            wait::until(SOON, "the client to be free", || async {
                node.search_from(CLIENT).await.status == 404
            })
            .await;
        }
        assert!(blocks(&mut admin.clone(), "").await.is_empty());
        one.stop().await;
        two.stop().await;
    })
    .await;
}

/// Waits until this is refused; for how many seconds. Asking does not wait for the other nodes: each reads a block from
/// the database and puts it in force, and while it does a request may slip through.
async fn refused(client: &Browser, path: &str) -> u64 {
    wait::for_some(SOON, "a refusal", || async {
        let answer = client.clone().get(path).await;
        (answer.status == 429).then(|| retry_after(&answer))
    })
    .await
}

/// What this client meets in each class, in the order of [`asked`].
async fn statuses(client: &Browser) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (method, path, body) in asked() {
        statuses.push(client.clone().send(method, path, body.as_ref()).await.status.as_u16());
    }
    statuses
}

/// A request of each class that addresses or users can be blocked in.
fn asked() -> [(Method, &'static str, Option<Value>); 6] {
    let login = json!({"email": ADMIN, "password": PASSWORD});
    [
        (Method::GET, "/api/nothing", None),
        (Method::POST, "/api/upload/x", None),
        (Method::GET, SEARCH, None),
        (Method::GET, "/api/ai/x", None),
        (Method::POST, "/api/auth/login", Some(login)),
        (Method::POST, "/api/auth/register", Some(json!({"email": "no address", "password": PASSWORD}))),
    ]
}

const FREE: [u16; 6] = [404, 404, 404, 404, 200, 422];
const BLOCKED: [u16; 6] = [429; 6];

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_an_administrator_blocks_is_refused_in_every_class_on_every_node() {
    on_every_shared_kind(async |site| {
        let (one, two) = (site.node().await, site.node().await);
        let mut admin = one.administrator().await;
        let from = |node: &Node, address| node.browser().from(address, node.address);
        assert_eq!(statuses(&from(&one, CLIENT)).await, FREE);
        let made = add(&mut admin, &json!({"address": "127.0.0.2", "seconds": 600})).await;
        wait::until(SOON, "the block to be in force everywhere", || async {
            statuses(&from(&one, CLIENT)).await == BLOCKED && statuses(&from(&two, CLIENT)).await == BLOCKED
        })
        .await;
        for node in [&one, &two] {
            assert_eq!(statuses(&from(node, ANOTHER)).await, FREE);
            let wait = refused(&from(node, CLIENT), SEARCH).await;
            assert!((500..=600).contains(&wait), "{wait}");
        }
        // One class is lifted, the others stay.
        let search = made.iter().find(|block| block["class"] == "search").unwrap();
        assert_eq!(admin.delete(&path(search)).await.status, 200);
        for node in [&one, &two] {
            wait::until(SOON, "the class to be free", || async {
                node.search_from(CLIENT).await.status == 404
            })
            .await;
            let now = [429, 429, 404, 429, 429, 429];
            wait::until(SOON, "the others not to be", || async {
                statuses(&from(node, CLIENT)).await == now
            })
            .await;
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: R5, R6
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_an_administrator_blocks_is_refused_wherever_they_are_and_nobody_else_is() {
    on_every_shared_kind(async |site| {
        let (one, two) = (site.node().await, site.node().await);
        let mut admin = one.administrator().await;
        let mut ada = one.registered("ada@example.com").await;
        let bob = one.registered("bob@example.com").await;
        let wanted = json!({"userId": ada.user_id().await, "seconds": 600, "reason": "scraping"});
        let made = add(&mut admin, &wanted).await;
        two.until_blocked_are(&admin, made.len()).await;
        for node in [&one, &two] {
            for address in [CLIENT, ANOTHER] {
                let mut bob = bob.from(address, node.address);
                let wait = refused(&ada.from(address, node.address), ME).await;
                assert!((500..=600).contains(&wait), "{wait}");
                assert_eq!(bob.me().await.status, 200, "another user at the same address");
                let stranger = node.browser().from(address, node.address).me().await;
                assert_eq!(stranger.status, 401);
            }
        }
        assert_eq!(ada.me().await.status, 200, "an address that is never limited");
        let api = made.iter().find(|block| block["class"] == "api").unwrap();
        assert_eq!(admin.delete(&path(api)).await.status, 200);
        for node in [&one, &two] {
            let ada = ada.from(CLIENT, node.address);
            wait::until(SOON, "the user to be free", || async { ada.clone().me().await.status == 200 }).await;
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

/// Two nodes or more on PostgreSQL, without and with Redis. It is one of their own, because they look at all that is
/// blocked, and nodes hear what is said on a server, whichever of its databases they use.
async fn on_every_shared_kind(scenario: impl AsyncFn(Site)) {
    let redis = Redis::start().unwrap();
    scenario(limited_elsewhere(Site::new(Backend::Postgres)).in_real_time()).await;
    scenario(limited_elsewhere(Site::with_redis(&redis)).in_real_time()).await;
}

/// The embedded database, PostgreSQL, and PostgreSQL with a Redis of its own.
async fn on_every_kind(scenario: impl AsyncFn(Site, Option<&Redis>)) {
    let redis = Redis::start().unwrap();
    for backend in [Backend::Sqlite, Backend::Postgres] {
        scenario(limited_elsewhere(Site::new(backend)), None).await;
    }
    scenario(limited_elsewhere(Site::with_redis(&redis)), Some(&redis)).await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_gives_a_client_or_everybody_all_that_the_limit_allows() {
    on_every_kind(async |site, _| {
        let site = site.with("PHOENIX_LIMITS_CLASSES", THREE).in_real_time();
        let node = site.node().await;
        let mut admin = node.administrator().await;
        assert_eq!(node.search_until_refused(CLIENT).await.0, 3);
        assert_eq!(node.search_until_refused(ANOTHER).await.0, 3);
        until_listed_are(&admin, 2).await;
        assert_eq!(reset(&mut admin, json!({"address": "127.0.0.2"})).await, 1);
        assert_eq!(node.search_from(ANOTHER).await.status, 429, "somebody else");
        assert_eq!(node.search_until_refused(CLIENT).await.0, 3, "as if nothing had been");
        until_listed_are(&admin, 2).await;
        assert_eq!(reset(&mut admin, json!({})).await, 2);
        for address in [CLIENT, ANOTHER] {
            assert_eq!(node.search_until_refused(address).await.0, 3);
        }
        let mut ada = node.registered("ada@example.com").await;
        let id = ada.user_id().await;
        let mut ada = ada.from(CLIENT, node.address);
        // Who asks where nothing is served is known only if their session is in memory for this address.
        ada.until_in_memory().await;
        for status in [404, 404, 404, 429, 429] {
            assert_eq!(ada.get(SEARCH).await.status, status);
        }
        until_listed_are(&admin, 3).await;
        assert_eq!(reset(&mut admin, json!({"userId": id})).await, 1);
        assert_eq!(ada.get(SEARCH).await.status, 404);
        assert_eq!(node.search_from(CLIENT).await.status, 429, "the address is another client");
        node.stop().await;
    })
    .await;
}

// spec: R1, R6
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_on_one_node_counts_on_all() {
    let redis = Redis::start().unwrap();
    let classes = r#"{search = {windows = ["3/1h"], block = "none"}}"#;
    let site =
        limited_elsewhere(Site::with_redis(&redis)).with("PHOENIX_LIMITS_CLASSES", classes).in_real_time();
    let (one, two) = (site.node().await, site.node().await);
    let mut admin = one.administrator().await;
    for who in [json!({"address": "127.0.0.2"}), json!({}), json!({})] {
        assert_eq!(one.search_until_refused(CLIENT).await.0, 3);
        assert_eq!(two.search_until_refused(CLIENT).await.0, 0);
        assert_eq!(reset(&mut admin, who).await, 0, "nobody was blocked");
        assert_eq!(one.search_from(CLIENT).await.status, 404, "at once where it was asked for");
        // What the other node knew of the client it is told to forget.
        wait::until(SOON, "the other node to admit", || async {
            two.search_from(CLIENT).await.status == 404
        })
        .await;
        assert_eq!(two.search_until_refused(CLIENT).await.0, 1);
        assert_eq!(one.search_until_refused(CLIENT).await.0, 0);
        assert_eq!(reset(&mut admin, json!({"address": "127.0.0.2"})).await, 0);
    }
    one.stop().await;
    two.stop().await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn a_block_outlives_every_node_and_redis_though_it_began_just_before_the_end() {
    on_every_kind(async |site, redis| {
        let site = site.with("PHOENIX_LIMITS_CLASSES", THREE);
        let (node, started) = (site.node().await, site.now());
        assert_eq!(node.search_until_refused(CLIENT).await.0, 3);
        node.stop().await;
        for day in [false, true] {
            if let Some(redis) = redis {
                redis.restart().unwrap();
            }
            let node = site.node().await;
            let first = node.search_from(CLIENT).await;
            if day {
                assert_eq!(first.status, 404, "it has ended");
            } else {
                let wait = retry_after(&first);
                assert!((7_100..=7_200).contains(&wait), "{wait}");
                assert_eq!(node.search_from(ANOTHER).await.status, 404);
            }
            node.stop().await;
            site.clock.advance_day(Duration::from_hours(2));
        }
        assert_eq!(site.now(), started, "the clock is the test's");
    })
    .await;
}
