//! Several servers of one application: those that are down are left out and come back, and nothing is done twice.

use std::time::Duration;

use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::wait;

use super::super::support::{Backend, Node, SOON, Site};
use super::answered;

/// Two servers, each behind a network that can fail.
struct Pair {
    site: Site,
    node: Node,
    apps: [Upstream; 2],
    roads: [FaultProxy; 2],
}

impl Pair {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let apps = [Upstream::start().unwrap(), Upstream::start().unwrap()];
        let roads = [0, 1].map(|number: usize| FaultProxy::start(apps[number].address()).unwrap());
        let servers = format!("http://{},http://{}", roads[0].addr(), roads[1].addr());
        let site = Site::new(Backend::Sqlite).with("PHOENIX_UPSTREAM", &servers);
        let site = settings.iter().fold(site, |site, (name, value)| site.with(name, value));
        Self { node: site.node().await, site, apps, roads }
    }

    async fn get(&self, path: &str) -> u16 {
        answered(self.node.client.get(path)).await.status.as_u16()
    }

    /// How many requests for this path each has had.
    fn counts(&self, path: &str) -> [usize; 2] {
        [0, 1].map(|number: usize| self.apps[number].seen().iter().filter(|seen| seen.path() == path).count())
    }

    async fn until_both_are_asked(&self, path: &str) {
        let before = self.counts(path);
        wait::until(SOON, "both servers to be asked", async || {
            assert_eq!(self.get(path).await, 200);
            let now = self.counts(path);
            now[0] > before[0] && now[1] > before[1]
        })
        .await;
    }
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_costs_no_request_and_comes_back() {
    let pair = Pair::new(&[]).await;
    pair.until_both_are_asked("/x").await;
    for outage in [Mode::Refuse, Mode::Reset] {
        pair.roads[1].set(outage);
        for _ in 0..30 {
            assert_eq!(pair.get("/x").await, 200, "the other server answers");
        }
        pair.roads[1].set(Mode::Pass);
        // Time of the servers is the node's, which a test moves.
        wait::until(SOON, "the dead one to be asked again", async || {
            pair.site.clock.advance(Duration::from_secs(1));
            let before = pair.counts("/x")[1];
            assert_eq!(pair.get("/x").await, 200);
            pair.counts("/x")[1] > before
        })
        .await;
    }
    pair.node.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn who_says_that_it_is_not_well_is_left_out_until_it_is() {
    let settings =
        [("PHOENIX_GATEWAY_HEALTH_PATH", "/health?deep"), ("PHOENIX_GATEWAY_HEALTH_INTERVAL", "100ms")];
    let pair = Pair::new(&settings).await;
    pair.until_both_are_asked("/x").await;
    pair.apps[0].on("/health", Script::fixed(503, "not well"));
    wait::until(SOON, "the sick one to be left out", async || {
        let before = pair.counts("/x")[0];
        for _ in 0..10 {
            assert_eq!(pair.get("/x").await, 200);
        }
        pair.counts("/x")[0] == before
    })
    .await;
    pair.apps[1].on("/health", Script::fixed(500, "nor this one"));
    wait::until(SOON, "nobody to be left", async || pair.get("/x").await == 503).await;
    let before = pair.counts("/x");
    let refused = answered(pair.node.client.get("/x")).await;
    assert_eq!(refused.json()["code"], "app-down");
    assert_eq!(refused.header("proxy-status"), Some("phoenix; error=destination_unavailable"));
    assert_eq!(pair.counts("/x"), before);
    for app in &pair.apps {
        app.on("/health", Script::fixed(204, ""));
    }
    wait::until(SOON, "both to be well", async || pair.get("/x").await == 200).await;
    pair.until_both_are_asked("/x").await;
    pair.node.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_safe_is_asked_twice() {
    let pair = Pair::new(&[]).await;
    // One reads the request and says nothing: it may have acted on it.
    pair.apps[0].on("/x", Script::new(vec![Step::Close]));
    let [mut lost, mut answers] = [0, 0];
    for number in 0..20 {
        let answer = answered(pair.node.client.post(&format!("/x?{number}")).body("once")).await;
        match answer.status.as_u16() {
            200 => answers += 1,
            502 => lost += 1,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    let [first, second] = pair.counts("/x");
    assert_eq!((first, second), (lost, answers), "each was sent to one server");
    assert!(lost > 0 && answers > 0);
    for app in &pair.apps {
        let mut targets: Vec<String> = app.seen().iter().map(|seen| seen.target.clone()).collect();
        let count = targets.len();
        targets.dedup();
        assert_eq!(targets.len(), count, "and once");
    }
    for _ in 0..20 {
        assert_eq!(pair.get("/x").await, 200, "reading is safe");
    }
    pair.node.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn the_server_with_less_to_do_is_asked() {
    let pair = Pair::new(&[]).await;
    for app in &pair.apps {
        app.on("/hang", Script::silent());
    }
    let mut hanging = Vec::new();
    for number in 1..=6 {
        let mut wire = crate::wire::Wire::open(pair.node.address).await;
        wire.write("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
        hanging.push(wire);
        wait::until(SOON, "it to hang", async || pair.counts("/hang").iter().sum::<usize>() == number).await;
    }
    assert_eq!(pair.counts("/hang"), [3, 3]);
    drop(hanging);
    wait::until(SOON, "the servers to hear of it", async || {
        pair.apps.iter().map(Upstream::gone).sum::<u64>() == 6
    })
    .await;
    pair.node.stop().await;
}
