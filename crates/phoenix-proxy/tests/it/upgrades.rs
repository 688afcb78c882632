//! Upgrades and tunnels.

use std::sync::Arc;
use std::time::Duration;

use phoenix_testkit::upstream::{Script, Upstream};
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::{BOUND, Client, Gateway, Settings, ask, config, within};

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// "hello", masked with zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";

async fn websocket(gateway: &Gateway) -> Client {
    let mut client = Client::open(gateway.address).await;
    client.write(WEBSOCKET).await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // RFC 6455 section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client
}

async fn hello(client: &mut Client) {
    within(client.0.write_all(HELLO)).await.unwrap();
    let mut echo = [0; 7];
    within(client.0.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"\x81\x05hello");
}

async fn with(settings: Settings) -> (Upstream, Gateway) {
    let upstream = Upstream::start().unwrap();
    upstream.on("/ws", Script::websocket());
    upstream.on("/pipe", Script::switches_to("pipe"));
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    (upstream, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass_and_hold_their_place_until_they_end() {
    let (upstream, gateway) = with(Settings::default()).await;
    let idle = Arc::strong_count(&gateway.held);
    let mut client = websocket(&gateway).await;
    hello(&mut client).await;
    hello(&mut client).await;
    let seen = upstream.last().unwrap();
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("Upgrade"), Some("websocket")));
    assert_eq!(gateway.proxy.tunnels(), 1);
    assert_eq!(gateway.proxy.report()[0].under_way, 0, "tunnels count separately");
    assert!(Arc::strong_count(&gateway.held) > idle, "what the caller gave is held");
    drop(client);
    wait::until(BOUND, "the tunnel to end", || async {
        gateway.proxy.tunnels() == 0 && upstream.open() == 0
    })
    .await;
    wait::until(BOUND, "the tasks to end", || async { gateway.tasks.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_tunnels() {
    let (upstream, gateway) = with(Settings::default()).await;
    let mut client = websocket(&gateway).await;
    gateway.drain.cancel();
    assert!(client.rest().await.is_empty());
    wait::until(BOUND, "the tunnel to end", || async {
        gateway.proxy.tunnels() == 0 && upstream.open() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tunnel_is_given_up_and_a_busy_one_is_not() {
    let (_upstream, gateway) =
        with(Settings { idle: Duration::from_millis(400), ..Settings::default() }).await;
    let (mut busy, mut idle) = (websocket(&gateway).await, websocket(&gateway).await);
    let start = std::time::Instant::now();
    let ended = async {
        idle.rest().await;
        start.elapsed()
    };
    let used = async {
        for _ in 0..10 {
            hello(&mut busy).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        hello(&mut busy).await;
    };
    let (ended, ()) = tokio::join!(ended, used);
    assert!(ended >= Duration::from_millis(400), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_may_end_its_direction_first() {
    let (_upstream, gateway) = with(Settings::default()).await;
    let mut client = Client::open(gateway.address).await;
    // Bytes that come before the agreement are the tunnel's, once there is one.
    client.write("GET /pipe HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: pipe\r\n\r\nearly ").await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    let large = "x".repeat(1_000_000);
    let (mut read, mut write) = client.0.split();
    let sent = async {
        write.write_all(large.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut all = String::new();
    let ((), got) = within(async { tokio::join!(sent, read.read_to_string(&mut all)) }).await;
    got.unwrap();
    assert_eq!(all, format!("early {large}bye"));
    wait::until(BOUND, "the tunnel to end", || async { gateway.proxy.tunnels() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_a_tunnel_before_the_server_agrees() {
    let (upstream, gateway) = with(Settings::default()).await;
    // The server answers 200: what follows is the next request, and is read as one (RUSTSEC-2026-0033).
    let mut client = Client::open(gateway.address).await;
    let smuggled = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client
        .write(&format!(
            "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: pipe\r\n\r\n{smuggled}"
        ))
        .await;
    let all = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert_eq!(all.matches("HTTP/1.1 200").count(), 2, "{all}");
    let targets: Vec<String> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/plain", "/next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_that_cannot_be_passed_on_are_refused_or_not_mentioned() {
    let (upstream, gateway) = with(Settings::default()).await;
    let refused = [
        "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: one, two\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: one\r\nContent-Length: 1\r\n\r\na",
    ];
    for request in refused {
        assert_eq!(ask(gateway.address, request).await.header("failure"), Some("BadUpgrade"), "{request}");
    }
    assert_eq!(upstream.requests(), 0);
    // Agreed to something else, or without being asked.
    let other = "GET /pipe HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: other\r\n\r\n";
    assert_eq!(ask(gateway.address, other).await.header("failure"), Some("Garbage"));
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n",
    ] {
        let got = ask(gateway.address, &format!("GET /a HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n")).await;
        assert_eq!(got.status, 200);
        let seen = upstream.last().unwrap();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(seen.header(name), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_are_bounded() {
    let (_upstream, gateway) = with(Settings { max_tunnels: 1, ..Settings::default() }).await;
    let first = websocket(&gateway).await;
    let mut second = Client::open(gateway.address).await;
    second.write(WEBSOCKET).await;
    assert!(second.until("\r\n\r\n").await.contains("failure: Full"));
    drop(first);
    wait::until(BOUND, "room", || async { gateway.proxy.tunnels() == 0 }).await;
    websocket(&gateway).await;
}
