//! The real process in front of an application: refused starts, routes that change under traffic, memory, and the end.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use phoenix_testkit::port;
use phoenix_testkit::process::{Builder, Exit, PhoenixProcess};
use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::reload::{READ_AGAIN, REFUSED, reread};
use super::shutdown::ends_promptly;
use super::support::{CommandLine, phoenix, register, token};
use crate::wire::{Wire, upgrade};

/// Longest wait for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);
/// How much the process may grow, whatever goes through it.
const GROWTH_BYTES: u64 = 20 * 1024 * 1024;
const MEBIBYTE: usize = 1024 * 1024;

fn in_front_of(app: &Upstream) -> Builder {
    phoenix().env("PHOENIX_UPSTREAM", app.origin())
}

// spec: G1
#[tokio::test]
async fn an_application_at_the_own_address_is_refused_at_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = port::free();
    for (listen, upstream) in [
        (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}")),
        (format!("127.0.0.1:{port}"), format!("http://localhost:{port}")),
        (format!("0.0.0.0:{port}"), format!("http://127.0.0.1:{port}")),
        (format!("[::]:{port}"), format!("http://[::1]:{port}")),
        (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{},http://127.0.0.1:{port}", port::free())),
    ] {
        let phoenix = CommandLine::in_folder(folder.path());
        let phoenix = phoenix.env("PHOENIX_LISTEN", &listen).env("PHOENIX_UPSTREAM", &upstream);
        let parts = ["leads to Phoenix itself", "PHOENIX_UPSTREAM", "PHOENIX_LISTEN"];
        phoenix.run(&["serve"]).await.failed(2, &parts);
    }
    Ok(())
}

// spec: G1
#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_is_disconnected() -> Result<()> {
    let app = Upstream::start()?;
    app.on("/large", Script::bytes(64 * MEBIBYTE));
    let server = in_front_of(&app).env("PHOENIX_WRITE_TIMEOUT", "1s").start()?;
    let mut client = tokio::net::TcpStream::connect(server.address()).await?;
    client.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    wait::until(SOON, "the request", || async { app.requests() == 1 }).await;
    wait::until(SOON, "the end of the exchange", || async { app.open() == 0 }).await;
    // The connection has ended, too: what comes is what the system had taken.
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, client.read_to_end(&mut rest)).await?;
    ensure!(rest.len() < 64 * MEBIBYTE, "{} bytes came", rest.len());
    Ok(())
}

fn routes(auth: &str) -> String {
    format!("[[gateway.routes]]\npath = \"/x/{{*rest}}\"\nauth = \"{auth}\"\n")
}

/// A client that asks as fast as it is answered, until it is told to stop. Counts answers; an error is the first one that
/// may not be.
async fn asks(server: Arc<PhoenixProcess>, over: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> Result<()> {
    let client = server.client();
    while !over.load(Ordering::Relaxed) {
        let open = client.get("/y").send().await?;
        ensure!(open.status == 200, "{open:?}");
        let changing = client.get("/x/1").send().await?;
        ensure!(changing.status == 200 || changing.status == 401, "{changing:?}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

// spec: G1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_change_under_traffic_and_nothing_else_does() -> Result<()> {
    let (folder, app) = (tempfile::tempdir()?, Upstream::start()?);
    let file = folder.path().join("phoenix.toml");
    fs::write(&file, routes("optional"))?;
    app.on("/events", Script::events(Duration::from_millis(20)));
    let server = in_front_of(&app).arg("--config").arg(file.to_string_lossy()).start()?;
    let server = Arc::new(server);
    let user = token(&register(&server.client(), "ada@example.com").await?, 201);
    let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let asking = asks(Arc::clone(&server), Arc::clone(&over), Arc::clone(&answered));
            TaskTracker::new().spawn(asking)
        })
        .collect();
    // What is under way goes on by the rules that it began with.
    let mut events = Wire::open(server.address()).await;
    events.write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    events.until("data: hello").await;
    for (auth, anonymous) in [("required", 401), ("optional", 200), ("required", 401)] {
        let until = answered.load(Ordering::Relaxed) + 50;
        wait::until(SOON, "traffic", async || {
            answered.load(Ordering::Relaxed) >= until || clients.iter().any(JoinHandle::is_finished)
        })
        .await;
        reread(&server, &file, &routes(auth), READ_AGAIN).await?;
        for _ in 0..10 {
            assert_eq!(server.client().get("/x/1").send().await?.status, anonymous, "{auth}");
            assert_eq!(server.client().get("/x/1").bearer(&user).send().await?.status, 200, "{auth}");
        }
        events.until("data: hello").await;
    }
    let broken = routes("optional") + "class = \"no-such-class\"\n";
    reread(&server, &file, &broken, REFUSED).await?;
    assert_eq!(server.client().get("/x/1").send().await?.status, 401, "the routes before go on");
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    Ok(())
}

/// Reads this much of an endless answer.
async fn read_endless(server: &PhoenixProcess, path: &str, least: usize) {
    let mut wire = Wire::open(server.address()).await;
    wire.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    wire.head().await;
    wire.skip(least).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_through_memory_stays_flat() -> Result<()> {
    let app = Upstream::start()?;
    app.remember(false);
    app.on("/head", Script::endless_head());
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    app.on(
        "/body",
        Script::new(vec![
            Step::Send(Bytes::from_static(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
            Step::Forever(Bytes::from(chunk), Duration::ZERO),
        ]),
    );
    let server = in_front_of(&app).env("PHOENIX_GATEWAY_MAX_BODY", "1GiB").start()?;
    let client = server.client();
    client.get("/x").send().await?;
    let before = server.memory()?.resident_bytes;
    let grown = || -> Result<u64> { Ok(server.memory()?.peak_bytes.saturating_sub(before)) };
    // Heads without end.
    for _ in 0..20 {
        let answer = client.post("/head").send().await?;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert_eq!(answer.json()["code"], "app-broken");
        if let Some(seconds) = client.get("/x").send().await?.header("retry-after") {
            panic!("one bad path is no reason to leave the server alone for {seconds} s");
        }
    }
    assert!(grown()? < GROWTH_BYTES, "heads: {} bytes", grown()?);
    // An answer that is read slowly waits where it comes from.
    let mut stalled = Wire::open(server.address()).await;
    stalled.write("GET /body HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stalled.head().await;
    read_endless(&server, "/body", 128 * MEBIBYTE).await;
    assert!(grown()? < GROWTH_BYTES, "an answer: {} bytes", grown()?);
    // A large upload.
    let mut upload = Wire::open(server.address()).await;
    upload.write("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(MEBIBYTE));
    for _ in 0..128 {
        upload.write(&chunk).await;
    }
    upload.write("0\r\n\r\n").await;
    let head = upload.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(app.body_bytes() > 128 * MEBIBYTE as u64);
    assert!(grown()? < GROWTH_BYTES, "an upload: {} bytes", grown()?);
    Ok(())
}

// spec: G1
#[tokio::test]
async fn a_stream_that_never_ends_does_not_keep_the_process() -> Result<()> {
    let app = Upstream::start()?;
    app.on("/events", Script::events(Duration::from_millis(20)));
    app.on("/ws", Script::websocket());
    let server = in_front_of(&app).env("PHOENIX_DRAIN_TIMEOUT", "1s").start()?;
    let (mut events, mut socket) = (Wire::open(server.address()).await, Wire::open(server.address()).await);
    events.write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    events.until("data: hello").await;
    socket.write(upgrade("/ws", "")).await;
    socket.head().await;
    server.ask_to_end()?;
    for _ in 0..10 {
        events.until("data: hello").await;
    }
    let (events, socket) = tokio::join!(events.rest(), socket.rest());
    assert!(!events.ends_with("0\r\n\r\n") && socket.is_empty(), "{events}{socket}");
    assert_eq!(ends_promptly(&server), Exit::Code(0), "{}", server.stderr());
    wait::until(SOON, "the application to hear of it", async || app.open() == 0).await;
    Ok(())
}
