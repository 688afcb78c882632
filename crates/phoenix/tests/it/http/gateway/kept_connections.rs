//! Connections to the application are used again, and what belonged to one exchange never becomes part of the next.

use http::Method;
use phoenix_testkit::upstream::Script;

use super::super::support::{Backend, assert_problem};
use super::{Front, answered};

const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED";

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_application_are_used_again() {
    let front = Front::new(Backend::Sqlite).await;
    for _ in 0..50 {
        assert_eq!(front.get("/x").await.status, 200);
    }
    assert_eq!((front.app.requests(), front.app.accepted()), (50, 1));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_says_too_much_is_no_answer_to_the_next_request() {
    let front = Front::new(Backend::Sqlite).await;
    let own = |head: &str| Script::raw(format!("HTTP/1.1 {head}\r\n\r\n{FORGED}"));
    front.app.on("/head", own(&format!("200 OK\r\nContent-Length: {}", FORGED.len())));
    front.app.on("/long", Script::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{FORGED}")));
    front.app.on("/204", own("204 No Content"));
    front.app.on("/304", own("304 Not Modified"));
    front.app.on(
        "/chunked",
        Script::raw(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{FORGED}"
        )),
    );
    front.app.on(
        "/both",
        Script::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{FORGED}",
            5 + FORGED.len()
        )),
    );
    for _ in 0..10 {
        for (method, path) in [
            (Method::HEAD, "/head"),
            (Method::GET, "/long"),
            (Method::GET, "/204"),
            (Method::GET, "/304"),
            (Method::GET, "/chunked"),
            (Method::GET, "/both"),
        ] {
            let answer = answered(front.node.client.request(method, path)).await;
            assert!(!answer.text().contains("FORGED"), "{path}: {answer:?}");
            let next = answered(front.node.client.post("/next").body("b")).await;
            assert_eq!(next.status, 200, "{path}: {}", next.text());
            assert_eq!(next.json()["target"], "/next", "{path}: the answer to this request");
        }
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_its_body_behind() {
    let front = Front::new(Backend::Sqlite).await;
    for length in [10, 100_000, 3_000_000] {
        let body = "GET /staff/x HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1 + length / 34);
        let refused = answered(front.node.client.post("/members/x").body(body)).await;
        assert_problem(&refused, 401, "unauthenticated");
        let next = front.get("/x").await;
        assert_eq!((next.status.as_u16(), next.json()["target"].as_str()), (200, Some("/x")));
    }
    assert_eq!(front.app.requests(), 3, "no part of a body became a request");
    front.stop().await;
}

// Such a client learns of the answer only once all is sent. Were the connection closed before, its system would throw
// the answer away.
// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_everything_before_reading_gets_the_answer_of_a_refused_request() {
    let front = Front::new(Backend::Sqlite).await;
    let body = vec![b'a'; 8_000_000];
    let post = "POST /members/x HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n";
    // hyper gives up a connection differently once an upgrade was asked for.
    let upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
    for head in [format!("{post}\r\n"), format!("{post}{upgrade}\r\n"), "broken\r\n\r\n".to_owned()] {
        let mut wire = front.wire().await;
        wire.write(&head).await;
        wire.write(&body).await;
        let answer = wire.rest().await;
        let status = if head.starts_with("POST") { "401" } else { "400" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(front.app.requests(), 0);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_connection_stays_on_it() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on(
        "/x",
        Script::raw(
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Internal\r\nKeep-Alive: timeout=5\r\nX-Internal: secret\r\n\
             Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Public: yes\r\nContent-Length: 0\r\n\r\n",
        ),
    );
    let call = front.node.client.get("/x").header("connection", "x-internal").header("x-internal", "secret");
    let call =
        call.header("proxy-authorization", "Basic YTpi").header("te", "gzip").header("keep-alive", "5");
    let answer = answered(call).await;
    assert_eq!(answer.header("x-public"), Some("yes"));
    for name in ["x-internal", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let seen = front.seen();
    for name in ["x-internal", "proxy-authorization", "te", "keep-alive"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    // The oldest clients know neither chunks nor hosts.
    front.app.on("/chunks", Script::chunked(&["one ", "two"]));
    let mut wire = front.wire().await;
    wire.write("GET /chunks HTTP/1.0\r\n\r\n").await;
    let head = wire.head().await.to_ascii_lowercase();
    assert!(head.contains(" 200 ") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(wire.rest().await, "one two");
    front.stop().await;
}
