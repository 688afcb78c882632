//! Part `websocket`: what an idle WebSocket through Phoenix costs in memory. Every connection echoes when it has been
//! opened and again when all have been idle for a while.
//!
//! Each is two connections of Phoenix, so 10,000 need 20,200 file descriptors. Where the system allows fewer, there are
//! as many as it allows, and that bar is missed; the cost of one is measured all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::upstream::{Script, Upstream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::real;
use crate::bench::build;
use crate::bench::me::block_on;
use crate::bench::report::Bar;

const CONNECTIONS: u64 = 10_000;
const QUICK_CONNECTIONS: u64 = 2_000;
/// File descriptors of Phoenix for everything else.
const SPARE: u64 = 200;
/// Of Phoenix, for each.
const BYTES_EACH: f64 = 20_000.0;
/// Opened, or asked, at once.
const AT_ONCE: usize = 64;
const IDLE: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(20);
const PATH: &str = "/socket";
/// "ping" from a client, masked with zeros (RFC 6455 section 5.2), and from a server.
const ASKED: [u8; 10] = [0x81, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
const ECHOED: [u8; 6] = [0x81, 0x04, b'p', b'i', b'n', b'g'];

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let wanted = if quick { QUICK_CONNECTIONS } else { CONNECTIONS };
    let possible = (raise_descriptors()?.saturating_sub(SPARE)) / 2;
    let count = wanted.min(possible);
    let upstream = Upstream::start()?;
    upstream.remember(false);
    upstream.on(PATH, Script::websocket());
    let server = PhoenixProcess::builder(&program)
        .env("PHOENIX_UPSTREAM", upstream.origin())
        .env("PHOENIX_MAX_CONNECTIONS", "30000")
        .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "30000")
        .env("PHOENIX_GATEWAY_MAX_CONNECTIONS", "30000")
        .env("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128")
        .env("PHOENIX_LOG", "warn")
        .start()?;
    let idle = if quick { Duration::from_secs(2) } else { IDLE };
    let (before, after, echoes) = block_on(async {
        // The first ones make what is made once.
        let first = open(&server, AT_ONCE).await?;
        let before = server.memory()?;
        let rest = open(&server, usize::try_from(count)?.saturating_sub(AT_ONCE)).await?;
        tokio::time::sleep(idle).await;
        let after = server.memory()?;
        let again = stream::iter(first.into_iter().chain(rest)).map(echo).buffer_unordered(AT_ONCE);
        let open: Vec<TcpStream> = again.try_collect().await?;
        anyhow::Ok((before, after, open.len()))
    })?;
    let grown = real(after.resident_bytes.saturating_sub(before.resident_bytes));
    let measured = real(count.saturating_sub(u64::try_from(AT_ONCE)?));
    Ok(vec![
        Bar::at_least(
            "websocket: connections that echoed at both ends",
            real(u64::try_from(echoes)?),
            "",
            real(wanted),
        ),
        Bar::info("websocket: memory before", real(before.resident_bytes) / 1e6, "MB"),
        Bar::info("websocket: memory with all idle", real(after.resident_bytes) / 1e6, "MB"),
        Bar::at_most("websocket: memory of each", grown / measured, "B", BYTES_EACH),
    ])
}

/// Lets this process and its children open as many files as the system allows; returns how many.
fn raise_descriptors() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    // Above what this needs nothing is gained, and some systems refuse "unlimited".
    let wanted = most.min(4 * CONNECTIONS);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("raise the number of open files")?;
    }
    Ok(wanted)
}

async fn open(server: &PhoenixProcess, count: usize) -> Result<Vec<TcpStream>> {
    let address = server.address();
    let each = stream::iter(0..count).map(|_| async move {
        let stream = timeout(BOUND, shake_hands(address)).await.context("no WebSocket in time")??;
        echo(stream).await
    });
    each.buffer_unordered(AT_ONCE).try_collect().await
}

async fn shake_hands(address: std::net::SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("ask for a WebSocket")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 4096, "a head without an end");
        // The server speaks first only after an echo is asked for, so nothing after the head is lost.
        ensure!(stream.read_buf(&mut head).await.context("read the answer")? > 0, "closed");
    }
    ensure!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

async fn echo(mut stream: TcpStream) -> Result<TcpStream> {
    let exchange = async {
        stream.write_all(&ASKED).await.context("ask for an echo")?;
        let mut answer = ECHOED.map(|_| 0);
        stream.read_exact(&mut answer).await.context("read the echo")?;
        ensure!(answer == ECHOED, "no echo: {answer:?}");
        anyhow::Ok(stream)
    };
    timeout(BOUND, exchange).await.context("no echo in time")?
}
