//! Which server answers, and what happens when one does not.

use std::collections::BTreeMap;
use std::time::Duration;

use phoenix_proxy::HealthCheck;
use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::{port, wait};
use tokio_util::sync::CancellationToken;

use crate::gateway::{BOUND, Client, Gateway, Settings, ask, config, get, often_checked};

#[tokio::test(flavor = "multi_thread")]
async fn ties_go_round_and_the_least_loaded_is_asked() {
    let (one, two) = (Upstream::start().unwrap(), Upstream::start().unwrap());
    one.on("/silent", Script::silent());
    two.on("/silent", Script::silent());
    let gateway = Gateway::with(config(&[one.address(), two.address()]), Settings::default()).await;
    for _ in 0..10 {
        assert_eq!(get(gateway.address, "/").await.status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (5, 5));
    let mut waiting = Client::open(gateway.address).await;
    waiting.write("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wait::until(BOUND, "the request", || async { one.requests() + two.requests() == 11 }).await;
    let (busy, free) = if one.requests() == 6 { (&one, &two) } else { (&two, &one) };
    for _ in 0..10 {
        assert_eq!(get(gateway.address, "/").await.status, 200);
    }
    assert_eq!((busy.requests(), free.requests()), (6, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_server_cannot_be_reached_goes_to_another() {
    let alive = Upstream::start().unwrap();
    let dead = ([127, 0, 0, 1], port::free()).into();
    let gateway = Gateway::with(config(&[dead, alive.address()]), Settings::default()).await;
    for _ in 0..10 {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(ask(gateway.address, post).await.status, 200);
        assert_eq!(alive.last().unwrap().body, b"hi");
    }
    let report = gateway.proxy.report();
    assert_eq!((report[0].is_up, report[1].is_up), (false, true));
    assert_eq!(report[0].failures, 3, "then it is spared");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_take_no_more_than_they_may() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/silent", Script::silent());
    let mut config = config(&[upstream.address()]);
    config.max_connections = 2;
    let gateway = Gateway::with(config, Settings::default()).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Client::open(gateway.address).await;
        client.write("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
        waiting.push(client);
    }
    wait::until(BOUND, "two requests", || async { upstream.requests() == 2 }).await;
    assert_eq!(get(gateway.address, "/").await.header("failure"), Some("Full"));
    waiting.clear();
    wait::until(BOUND, "room", || async { get(gateway.address, "/").await.status == 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_application_are_answers() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/bad", Script::fixed(500, "oh"));
    upstream.on("/busy", Script::fixed(503, "oh"));
    let gateway = Gateway::to(&upstream).await;
    for path in ["/bad", "/busy"].repeat(5) {
        assert_eq!(get(gateway.address, path).await.body, "oh");
    }
    assert_eq!(upstream.requests(), 10);
    assert!(gateway.proxy.report()[0].is_up);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_path_that_ends_connections_does_not_take_all_servers_out() {
    let (one, two) = (Upstream::start().unwrap(), Upstream::start().unwrap());
    for server in [&one, &two] {
        server.on("/crash", Script::new(vec![Step::Close]));
    }
    let gateway = Gateway::with(config(&[one.address(), two.address()]), Settings::default()).await;
    let crash = "POST /crash HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for _ in 0..10 {
        assert_eq!(ask(gateway.address, crash).await.header("failure"), Some("Closed"));
        assert_eq!(get(gateway.address, "/").await.status, 200);
    }
    for _ in 0..10 {
        assert_eq!(get(gateway.address, "/crash").await.header("failure"), Some("Closed"));
    }
    assert_eq!(get(gateway.address, "/").await.status, 200);
    assert!(gateway.proxy.report().iter().any(|server| server.is_up));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_that_probes_keeps_nobody_out() {
    let port = port::free();
    let gateway = Gateway::with(config(&[([127, 0, 0, 1], port).into()]), Settings::default()).await;
    for _ in 0..3 {
        assert_eq!(get(gateway.address, "/").await.header("failure"), Some("Unreachable"));
    }
    // The server is back.
    let _upstream = Upstream::start_on(port).unwrap();
    let slow = wait::for_some(BOUND, "the probe", || async {
        let mut slow = Client::open(gateway.address).await;
        slow.write("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nh").await;
        // Answered at once if it came too early to be the probe.
        tokio::time::timeout(Duration::from_millis(300), slow.0.readable()).await.is_err().then_some(slow)
    });
    let _slow = slow.await;
    assert_eq!(get(gateway.address, "/").await.status, 200, "while the probe has no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_take_a_server_out_and_back() {
    let (one, two) = (Upstream::start().unwrap(), Upstream::start().unwrap());
    let mut config = config(&[one.address(), two.address()]);
    config.health = Some(HealthCheck {
        path: "/health?full=1".to_owned(),
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        healthy_after: 2,
        unhealthy_after: 2,
    });
    let gateway = Gateway::with(config, Settings::default()).await;
    let stop = CancellationToken::new();
    let tending = tokio::spawn({
        let (proxy, stop) = (gateway.proxy.clone(), stop.clone());
        async move { proxy.tend(stop).await }
    });
    let is_up = |index: usize| gateway.proxy.report()[index].is_up;
    wait::until(BOUND, "a check", || async { one.requests() > 0 && two.requests() > 0 }).await;
    assert_eq!(one.last().unwrap().target, "/health?full=1");
    one.on("/health", Script::fixed(503, "draining"));
    wait::until(BOUND, "the first to be out", || async { !is_up(0) }).await;
    assert_eq!(gateway.proxy.report()[0].reason.as_deref(), Some("the health check fails"));
    for _ in 0..5 {
        assert_eq!(get(gateway.address, "/work").await.status, 200);
    }
    let work = |upstream: &Upstream| upstream.seen().iter().filter(|seen| seen.path() == "/work").count();
    assert_eq!((work(&one), work(&two)), (0, 5));
    two.on("/health", Script::new(vec![Step::Reset]));
    wait::until(BOUND, "both to be out", || async { !is_up(0) && !is_up(1) }).await;
    assert_eq!(get(gateway.address, "/work").await.header("failure"), Some("NoneUp"));
    one.on("/health", Script::fixed(200, "well"));
    wait::until(BOUND, "the first to be back", || async { is_up(0) }).await;
    assert_eq!(get(gateway.address, "/work").await.status, 200);
    stop.cancel();
    tending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_neither_count_nor_take_the_connections_of_requests() {
    let upstream = Upstream::start().unwrap();
    let mut config = config(&[upstream.address()]);
    config.health = Some(often_checked());
    let gateway = Gateway::with(config, Settings::default()).await;
    assert_eq!(get(gateway.address, "/").await.status, 200);
    assert_eq!((upstream.open(), upstream.accepted()), (1, 1), "kept");
    let proxy = gateway.proxy.clone();
    let tending = tokio::spawn(async move { proxy.tend(CancellationToken::new()).await });
    wait::until(BOUND, "checks", || async { upstream.requests() > 5 }).await;
    assert_eq!(upstream.last().unwrap().header("connection"), Some("close"));
    // Ended thus, it does not close what is idle.
    tending.abort();
    assert!(tending.await.unwrap_err().is_cancelled());
    wait::until(BOUND, "the last check", || async { upstream.open() == 1 }).await;
    assert_eq!(get(gateway.address, "/").await.status, 200);
    // Not how many were accepted: one of a check may wait for that until now. Of two requests' both would be kept.
    wait::until(BOUND, "the one connection of both requests", || async { upstream.open() == 1 }).await;
    assert_eq!(gateway.proxy.report()[0].requests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_follow_what_the_server_says_of_them() {
    let upstream = Upstream::start().unwrap();
    upstream
        .on("/short", Script::raw("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok"));
    upstream.on(
        "/close",
        Script::raw_then_close("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    );
    upstream.on(
        "/long",
        Script::raw("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60, max=99\r\nContent-Length: 2\r\n\r\nok"),
    );
    let gateway = Gateway::to(&upstream).await;
    let mut connections = BTreeMap::new();
    for path in ["/short", "/close", "/long"] {
        let before = upstream.accepted();
        for _ in 0..4 {
            let got = get(gateway.address, path).await;
            assert_eq!((got.body.as_str(), got.header("keep-alive")), ("ok", None));
        }
        connections.insert(path, upstream.accepted() - before);
    }
    assert_eq!(connections, BTreeMap::from([("/short", 4), ("/close", 4), ("/long", 1)]));
}
