//! What goes on for longer than an answer: events as they happen, tunnels, and their ends.

use std::time::Duration;

use bytes::Bytes;
use phoenix::lifecycle::DrainTimes;
use phoenix_testkit::upstream::{Script, Step};
use phoenix_testkit::wait;

use super::super::support::{Backend, SOON, Site};
use super::{ADA, Front};
use crate::wire::{Wire, upgrade};

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Event `number` as a chunk.
fn event(number: usize) -> Step {
    let text = format!("data: {number}\n\n");
    Step::Send(Bytes::from(format!("{:x}\r\n{text}\r\n", text.len())))
}

async fn opened(front: &Front, path: &str) -> Wire {
    let mut wire = front.wire().await;
    wire.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{head}");
    wire
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_happen() {
    let front = Front::new(Backend::Sqlite).await;
    let head = Step::Send(Bytes::from_static(EVENTS.as_bytes()));
    let pause = || Step::Pause(Duration::from_millis(50));
    front
        .app
        .on("/events", Script::new(vec![head, event(1), pause(), event(2), pause(), event(3), Step::Hang]));
    let mut wire = opened(&front, "/events").await;
    // The application never ends the answer, so what waited for more would wait for ever.
    for number in 1..=3 {
        wire.until(&format!("data: {number}\n\n")).await;
    }
    assert_eq!(front.app.gone(), 0);
    drop(wire);
    wait::until(SOON, "the application to hear that nobody listens", async || front.app.gone() == 1).await;
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_request_along() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/hang", Script::silent());
    front.app.on(
        "/endless",
        Script::new(vec![
            Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
            Step::Forever(Bytes::from_static(b"4\r\nabcd\r\n"), Duration::ZERO),
        ]),
    );
    for (count, request) in (1..).zip([
        "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        // What was to become of the connection must not keep it.
        "GET /hang HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        &upgrade("/hang", ""),
    ]) {
        let mut wire = front.wire().await;
        wire.write(request).await;
        wait::until(SOON, "the application to be asked", async || front.app.requests() == count).await;
        drop(wire);
        wait::until(SOON, "the application to hear of it", async || front.app.gone() == count).await;
    }
    wait::until(SOON, "its connections to end", async || front.app.open() == 0).await;
    front.stop().await;
}

/// Opens a WebSocket, says something, and is answered.
async fn conversation(wire: &mut Wire, path: &str, more: &str) {
    wire.write(upgrade(path, more)).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    for text in ["hello", "", "world"] {
        wire.send_frame(1, text.as_bytes()).await;
        assert_eq!(wire.frame().await, (1, text.as_bytes().to_vec()));
    }
    wire.send_frame(9, b"ping").await;
    assert_eq!(wire.frame().await, (10, b"ping".to_vec()));
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn websockets_carry_messages_and_the_codes_they_close_with() {
    let front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    let (user, token) = (browser.user_id().await, browser.token());
    front.app.on("/members/ws", Script::websocket());
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut wire = front.wire().await;
        let more = format!(
            "Authorization: Bearer {token}\r\nX-Phoenix-User-Id: forged\r\nSec-WebSocket-Protocol: chat\r\n"
        );
        conversation(&mut wire, "/members/ws", &more).await;
        let seen = front.seen();
        assert_eq!(seen.header("x-phoenix-user-id"), Some(user.as_str()));
        assert_eq!(
            (seen.header("authorization"), seen.header("sec-websocket-protocol")),
            (None, Some("chat"))
        );
        let farewell = [&code.to_be_bytes()[..], b"bye"].concat();
        wire.send_frame(8, &farewell).await;
        assert_eq!(wire.frame().await, (8, farewell));
        assert_eq!(wire.rest().await, "");
    }
    wait::until(SOON, "the application's connections to end", async || front.app.open() == 0).await;
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_or_unclear_is_an_answer_like_any_other() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/ws", Script::fixed(403, "no sockets"));
    let mut wire = front.wire().await;
    wire.write(upgrade("/ws", "")).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    wire.until("no sockets").await;
    let asking =
        |protocols: &str| upgrade("/ws", "").replace("Upgrade: websocket", &format!("Upgrade: {protocols}"));
    for request in [upgrade("/members/ws", ""), asking("chat, other")] {
        let before = front.app.requests();
        let mut wire = front.wire().await;
        wire.write(&request).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 40") && !head.starts_with("HTTP/1.1 403"), "{request}{head}");
        assert_eq!(front.app.requests(), before);
    }
    // HTTP/2 in a tunnel would be requests that nobody judges, whatever the application agrees to.
    front.app.on("/ws", Script::switches_to("h2c"));
    for protocols in ["h2c", "H2C, websocket", "h2", "HTTP/2.0", "TLS/1.0"] {
        let mut wire = front.wire().await;
        wire.write(asking(protocols)).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{protocols}: {head}");
        let upgrade = front.seen().header("upgrade").map(str::to_owned);
        assert_eq!(upgrade.as_deref(), protocols.contains("websocket").then_some("websocket"), "{protocols}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_longer_than_the_route_allows_ends_stream_and_tunnel() {
    let routes = r#"[{ path = "/short/{*rest}", idle_timeout = "1s" }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    let head = Step::Send(Bytes::from_static(EVENTS.as_bytes()));
    front.app.on("/short/events", Script::new(vec![head, event(1), Step::Hang]));
    front.app.on("/short/ws", Script::websocket());
    let (mut events, mut socket) = (opened(&front, "/short/events").await, front.wire().await);
    conversation(&mut socket, "/short/ws", "").await;
    events.until("data: 1\n\n").await;
    assert!(!events.rest().await.ends_with("0\r\n\r\n"), "a broken stream is not a whole one");
    assert_eq!(socket.rest().await, "");
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_pause_within_its_request_for_as_long_as_its_route_says() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_GATEWAY_IDLE_TIMEOUT", "1s");
    let front = Front::of(site, r#"[{ path = "/patient", idle_timeout = "1m" }]"#).await;
    let [mut patient, mut other] = [front.wire().await, front.wire().await];
    for (wire, path) in [(&mut patient, "/patient"), (&mut other, "/other")] {
        wire.write(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")).await;
    }
    let refused = other.rest().await;
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
    assert!(refused.contains("\"request-timeout\""), "{refused}");
    assert!(refused.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{refused}");
    patient.write("half").await;
    let head = patient.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(front.seen().body, b"halfhalf");
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_streams_finish_and_closes_tunnels() {
    let front = Front::new(Backend::Sqlite).await;
    let head = Step::Send(Bytes::from_static(EVENTS.as_bytes()));
    let last = Step::Send(Bytes::from_static(b"0\r\n\r\n"));
    let pause = Step::Pause(Duration::from_millis(500));
    front.app.on("/finite", Script::new(vec![head, event(1), pause, event(2), last]));
    front.app.on("/ws", Script::websocket());
    let mut stream = opened(&front, "/finite").await;
    let mut socket = front.wire().await;
    conversation(&mut socket, "/ws", "").await;
    let Front { node, app, .. } = front;
    let clients = async {
        let whole = stream.rest().await;
        assert!(whole.ends_with("data: 2\n\n\r\n0\r\n\r\n"), "{whole}");
        socket.rest().await;
    };
    // Tunnels have as long as streams, and are closed then.
    let times = DrainTimes { idle: Duration::ZERO, limit: Duration::from_secs(2) };
    let (is_over, ()) = tokio::join!(node.app.lifecycle.drain(times), clients);
    assert!(!is_over, "a tunnel does not end by itself");
    node.app.stop(SOON).await;
    wait::until(SOON, "the application's connections to end", async || app.open() == 0).await;
}
