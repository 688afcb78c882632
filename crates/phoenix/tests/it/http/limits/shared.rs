//! Limits of three nodes that share one Redis: together they admit what one would.

use futures_util::future::join_all;
use phoenix_testkit::redis::Redis;
use serde_json::json;

use super::super::support::{Browser, Node, SOON, Site, assert_problem};
use super::{limited_elsewhere, rate_limits, retry_after};

const CLIENT: [u8; 4] = [127, 0, 0, 2];
const ANOTHER: [u8; 4] = [127, 0, 0, 3];

/// Three nodes, and an administrator at an address that is never limited.
pub(super) struct Three {
    pub(super) nodes: Vec<Node>,
    pub(super) admin: Browser,
}

impl Three {
    /// On this Redis, with these rules, in real time, once all three know each other.
    pub(super) async fn start(redis: &Redis, classes: &str) -> Self {
        let site = limited_elsewhere(Site::with_redis(redis)).in_real_time();
        let site = site.with("PHOENIX_LIMITS_CLASSES", classes);
        let nodes = vec![site.node().await, site.node().await, site.node().await];
        let admin = nodes[0].administrator().await;
        let three = Self { nodes, admin };
        three.until_shared().await;
        three
    }

    /// Waits until every node counts three nodes in Redis.
    pub(super) async fn until_shared(&self) {
        self.until_store_is("redis").await;
        for node in &self.nodes {
            phoenix_testkit::wait::until(SOON, "the others to be known", || async {
                rate_limits(&self.admin.at(&node.client)).await["nodes"] == 3
            })
            .await;
        }
    }

    /// Waits until every node says that limits are kept there.
    pub(super) async fn until_store_is(&self, store: &str) {
        for node in &self.nodes {
            phoenix_testkit::wait::until(SOON, &format!("limits in {store}"), || async {
                rate_limits(&self.admin.at(&node.client)).await["store"] == store
            })
            .await;
        }
    }

    /// So many searches of a stranger at each node, all at once; how many were admitted. Everybody else was refused by
    /// the limit, and nobody got anything else.
    pub(super) async fn search(&self, address: [u8; 4], each: usize) -> usize {
        let search = |node: &Node| node.browser().from(address, node.address);
        let asked = (0..each).flat_map(|_| &self.nodes).map(search);
        let answers = join_all(asked.map(async |mut browser| browser.get("/api/search").await)).await;
        let admitted = |status: u16| match status {
            404 => true,
            429 => false,
            _ => panic!("answered with {status}"),
        };
        answers.iter().filter(|answer| admitted(answer.status.as_u16())).count()
    }

    pub(super) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

/// Calls of scripts that Redis has answered.
fn script_calls(redis: &Redis) -> u64 {
    let told = redis.command(&["INFO", "commandstats"]).unwrap();
    let of = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    told.lines().filter(|line| line.starts_with("cmdstat_eval")).filter_map(of).sum()
}

// spec: R1
#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_on_three_nodes_as_many_are_admitted_as_the_limit_allows() {
    let redis = Redis::start().unwrap();
    let three = Three::start(&redis, r#"{search = {windows = ["60/1h"], block = "none"}}"#).await;
    assert_eq!(three.search(CLIENT, 80).await, 60);
    assert_eq!(three.search(CLIENT, 10).await, 0);
    // One after the other as well.
    let mut admitted = 0;
    for _ in 0..25 {
        admitted += three.search(ANOTHER, 1).await;
    }
    assert_eq!(admitted, 60);
    three.stop().await;
}

// spec: R1
#[tokio::test(flavor = "multi_thread")]
async fn busy_clients_are_never_admitted_beyond_the_limit() {
    let redis = Redis::start().unwrap();
    // So much room and so many requests a second that nodes hold admissions in advance.
    let three = Three::start(&redis, r#"{search = {windows = ["400/1h"], block = "none"}}"#).await;
    let mut admitted = 0;
    for _ in 0..5 {
        admitted += three.search(CLIENT, 40).await;
    }
    assert!(admitted <= 400, "{admitted}");
    // What was held and not used came back, so that in the end all of it was admitted.
    phoenix_testkit::wait::until(SOON, "what was held in advance to come back", || async {
        rate_limits(&three.admin).await["leases"] == 0
    })
    .await;
    let (begun, calls) = (admitted, script_calls(&redis));
    for _ in 0..50 {
        admitted += three.search(CLIENT, 1).await;
        if admitted >= 400 {
            break;
        }
    }
    assert_eq!(admitted, 400, "{begun} at first, {calls} calls");
    three.stop().await;
}

// spec: R1
#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_cost_redis_nothing() {
    let redis = Redis::start().unwrap();
    let three = Three::start(&redis, r#"{search = {windows = ["6/1h"], block = "2h"}}"#).await;
    assert_eq!(three.search(CLIENT, 10).await, 6);
    three.search(CLIENT, 1).await;
    let before = script_calls(&redis);
    for _ in 0..5 {
        assert_eq!(three.search(CLIENT, 40).await, 0);
    }
    let calls = script_calls(&redis) - before;
    // Nodes tell Redis that they live, every half second.
    assert!(calls < 200, "{calls} calls for 600 refused requests");
    three.stop().await;
}

// spec: R1
#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_by_one_node_is_blocked_by_all_with_the_next_request() {
    let redis = Redis::start().unwrap();
    let three = Three::start(&redis, r#"{search = {windows = ["6/1h"], block = "2h"}}"#).await;
    let [one, two, _] = &three.nodes[..] else { panic!("three nodes") };
    for round in 0..10_u8 {
        let client = |node: &Node| node.browser().from([127, 0, 1, round], node.address);
        for request in 0..7 {
            let status = client(one).get("/api/search").await.status;
            assert_eq!(status, if request < 6 { 404 } else { 429 });
        }
        let refused = client(two).get("/api/search").await;
        assert!((7_190..=7_200).contains(&retry_after(&refused)));
        let body = assert_problem(&refused, 429, "quota-exceeded");
        assert_eq!(body["violated-policies"], json!(["search"]));
        assert!(body["detail"].as_str().unwrap().starts_with("You are blocked"), "{body}");
    }
    three.stop().await;
}
