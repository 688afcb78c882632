//! Applications that are gone, slow, broken or hostile: the client is told whose fault it is, in time.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::port;
use phoenix_testkit::proxy::FaultProxy;
use phoenix_testkit::upstream::{Script, Step, Upstream};

use super::super::support::{Backend, Site, assert_problem};
use super::{ADA, Front, answered};

/// The application is the cause, and both people and programs are told.
#[track_caller]
fn assert_blamed(response: &Response, status: u16, code: &str, error: &str) {
    let body = assert_problem(response, status, code);
    assert!(body["title"].as_str().is_some_and(|title| title.contains("application")), "{body}");
    assert_eq!(response.header("proxy-status"), Some(format!("phoenix; error={error}").as_str()));
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_application_is_named_as_the_cause_and_phoenix_goes_on() {
    let mut front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    front.app.stop();
    assert_blamed(&front.get("/x").await, 502, "app-unreachable", "connection_refused");
    let post = front.node.client.post("/x").body("abc");
    let post = answered(post).await;
    assert!(matches!(post.status.as_u16(), 502 | 503), "{}", post.text());
    assert_eq!(browser.me().await.status, 200);
    assert_eq!(front.get("/readyz").await.status, 200);
    assert_problem(&front.get("/members/x").await, 401, "unauthenticated");
    for _ in 0..10 {
        let answer = front.get("/x").await;
        match answer.status.as_u16() {
            502 => assert_blamed(&answer, 502, "app-unreachable", "connection_refused"),
            _ => assert_blamed(&answer, 503, "app-down", "destination_unavailable"),
        }
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_application_has_the_deadline_of_the_route() {
    let routes = r#"[{ path = "/slow/{*rest}", deadline = "300ms" }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    front.app.on("/slow/never", Script::silent());
    front.app.on(
        "/slow/body",
        Script::new(vec![
            Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")),
            Step::Pause(Duration::from_millis(600)),
            Step::Send(Bytes::from_static(b"cd")),
        ]),
    );
    front.app.on(
        "/slow/head",
        Script::new(vec![Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\nX-A: ")), Step::Hang]),
    );
    for path in ["/slow/never", "/slow/head"] {
        for method in [Method::GET, Method::POST] {
            let answer = answered(front.node.client.request(method, path)).await;
            assert_blamed(&answer, 504, "app-timeout", "http_response_timeout");
        }
    }
    // The deadline is for the head; a body has its own pace.
    let answer = front.get("/slow/body").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "abcd"));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_not_passed_on() {
    for (name, script, code, error) in [
        ("close", Script::new(vec![Step::Close]), "app-unreachable", "connection_terminated"),
        ("reset", Script::new(vec![Step::Reset]), "app-unreachable", "connection_terminated"),
        (
            "half a head",
            Script::raw_then_close("HTTP/1.1 200 OK\r\nX-A: b"),
            "app-unreachable",
            "connection_terminated",
        ),
        ("garbage", Script::raw("\0\x01\x02 nonsense\r\n\r\n"), "app-broken", "http_protocol_error"),
        (
            "HTTP/0.9",
            Script::raw_then_close("<html>hello</html>\r\n\r\n"),
            "app-broken",
            "http_protocol_error",
        ),
        ("no status", Script::raw("HTTP/1.1 abc OK\r\n\r\n"), "app-broken", "http_protocol_error"),
        (
            "a bare field",
            Script::raw("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
            "app-broken",
            "http_protocol_error",
        ),
        (
            "two lengths",
            Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "app-broken",
            "http_protocol_error",
        ),
        (
            "no length",
            Script::raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"),
            "app-broken",
            "http_protocol_error",
        ),
        (
            "gzip framing",
            Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab"),
            "app-broken",
            "http_protocol_error",
        ),
        ("endless head", Script::endless_head(), "app-broken", "http_protocol_error"),
        (
            "many fields",
            Script::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(2000))),
            "app-broken",
            "http_protocol_error",
        ),
        ("unasked upgrade", Script::switches_to("other"), "app-broken", "http_protocol_error"),
    ] {
        let front = Front::new(Backend::Sqlite).await;
        front.app.on("/x", script);
        // A POST, of which no answer is asked for twice.
        let answer = answered(front.node.client.post("/x").body("abc")).await;
        assert_eq!(front.app.requests(), 1, "{name}");
        assert_eq!(answer.json()["code"], code, "{name}: {}", answer.text());
        assert_blamed(&answer, 502, code, error);
        assert_eq!(answered(front.node.client.post("/y")).await.status, 200, "{name}: the next one is fine");
        front.stop().await;
    }
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn one_path_that_is_broken_does_not_take_the_others_away() {
    let routes = r#"[{ path = "/slow", deadline = "100ms" }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    front.app.on("/garbage", Script::raw("HTTP/1.1 abc\r\n\r\n"));
    front.app.on("/close", Script::new(vec![Step::Close]));
    front.app.on("/slow", Script::silent());
    for path in ["/garbage", "/close", "/slow"] {
        for _ in 0..10 {
            let answer = answered(front.node.client.post(path)).await;
            assert!(matches!(answer.status.as_u16(), 502..=504), "{path}: {}", answer.text());
        }
        // Anybody could ask for it, and nobody else may be worse off for that.
        assert_eq!(front.get("/x").await.status, 200, "after {path}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let front = Front::new(Backend::Sqlite).await;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for (first, then) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Step::Close),
        (head, Step::Close),
        (head, Step::Reset),
        (head, Step::Send(Bytes::from_static(b"zz\r\n"))),
    ] {
        let pause = Step::Pause(Duration::from_millis(200));
        front.app.on("/x", Script::new(vec![Step::Send(Bytes::from_static(first.as_bytes())), pause, then]));
        let mut wire = front.wire().await;
        wire.write("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let begun = wire.until("abc").await;
        assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
        let rest = wire.rest().await;
        assert!(!rest.ends_with("0\r\n\r\n"), "nobody may take it for the whole: {rest}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_leads_back_to_phoenix_ends_at_once() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port::free()));
    let back = FaultProxy::start(address).unwrap();
    let site = Site::new(Backend::Sqlite).with("PHOENIX_UPSTREAM", &format!("http://{}", back.addr()));
    let node = site.node_at(address).await;
    for path in ["/x", "/api/tasks"] {
        let answer = answered(node.client.get(path)).await;
        assert_problem(&answer, 508, "loop-detected");
    }
    assert!(back.counts().accepted <= 2, "one round, not many");
    // Other gateways on the way are no loop.
    let front = Front::new(Backend::Sqlite).await;
    let via = front.node.client.get("/x").header("via", "1.1 other, 1.0 phoenix, 2 phoenix-00000000");
    assert_eq!(answered(via).await.status, 200);
    front.stop().await;
    node.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_the_clients_business() {
    let front = Front::new(Backend::Sqlite).await;
    for (status, location) in [
        (301, "/x".to_owned()),
        (302, format!("http://{}/x", front.node.address)),
        (307, "https://elsewhere.example/x?y#z".to_owned()),
        (308, "//x".to_owned()),
    ] {
        let text = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        front.app.on("/x", Script::raw(text));
        let before = front.app.requests();
        let answer = front.get("/x").await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, Some(location.as_str())));
        assert_eq!(front.app.requests(), before + 1, "asked once");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_requests_are_under_way_at_once() {
    let app = Upstream::start().unwrap();
    app.on("/hang", Script::silent());
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_UPSTREAM", &app.origin())
        .with("PHOENIX_GATEWAY_MAX_CONNECTIONS", "2");
    let node = site.node().await;
    let mut hanging = Vec::new();
    for _ in 0..2 {
        let mut wire = crate::wire::Wire::open(node.address).await;
        wire.write("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await;
        hanging.push(wire);
    }
    phoenix_testkit::wait::until(super::super::support::SOON, "two to hang", async || app.requests() == 2)
        .await;
    let answer = answered(node.client.get("/x")).await;
    assert_blamed(&answer, 503, "app-down", "connection_limit_reached");
    drop(hanging);
    phoenix_testkit::wait::until(super::super::support::SOON, "room", async || {
        answered(node.client.get("/x")).await.status == 200
    })
    .await;
    node.stop().await;
}
