//! What clients may do to connections: silence, trickles, floods and oversized heads, each with an end.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::shutdown::LoginInFlight;
use super::support::phoenix;

/// The time-out under test, and a bound far above it that is still far below all other time-outs.
const SHORT: &str = "300ms";
const BOUND: Duration = Duration::from_secs(4);
/// Answers that are more than the system takes of what nobody reads.
const REQUESTS: usize = 60;
const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Everything until the server closes, which it must within [`BOUND`]. A reset is an end as well.
async fn until_closed(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut received = Vec::new();
    let reading = async {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            received.extend_from_slice(&chunk[..length]);
        }
    };
    tokio::time::timeout(BOUND, reading).await.context("the server did not close in time")?;
    Ok(received)
}

/// Asks once on a connection that stays open; an error when the server closed it instead.
async fn ask(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(HEALTHZ).await?;
    let mut answer = Vec::new();
    let reading = async {
        let mut chunk = [0; 4096];
        while !answer.ends_with(b"ok\n") {
            let length = stream.read(&mut chunk).await?;
            ensure!(length > 0, "closed without an answer");
            answer.extend_from_slice(&chunk[..length]);
        }
        Ok(())
    };
    tokio::time::timeout(BOUND, reading).await.context("no answer")??;
    Ok(String::from_utf8(answer)?)
}

/// A connection from one of the addresses that loopback has.
async fn connect_from(last: u8, address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    Ok(socket.connect(address).await?)
}

#[tokio::test]
async fn silence_and_unfinished_heads_are_ended() -> Result<()> {
    let server = phoenix()
        .env("PHOENIX_FIRST_BYTE_TIMEOUT", SHORT)
        .env("PHOENIX_HEADER_READ_TIMEOUT", SHORT)
        .start()?;
    for bytes in
        ["", "P", "PRI", "PRI * HTTP/2.0\r\n\r\nSM", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: a"]
    {
        let mut stream = TcpStream::connect(server.address()).await?;
        stream.write_all(bytes.as_bytes()).await?;
        let answer = until_closed(&mut stream).await.with_context(|| format!("after {bytes:?}"))?;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "after {bytes:?}: {answer}");
    }
    // A head that arrives byte by byte has the same time in all, however often something comes.
    let stream = TcpStream::connect(server.address()).await?;
    stream.set_nodelay(true)?;
    let head = [b"GET /healthz HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 4000]].concat();
    let mut sent = 0;
    wait::until_blocking(BOUND, "the trickle to be cut", || {
        sent += 1;
        stream.try_write(&head[sent - 1..sent]).is_err()
    });
    // Idle after an answer counts as waiting for a head.
    let mut kept = TcpStream::connect(server.address()).await?;
    ask(&mut kept).await?;
    until_closed(&mut kept).await?;
    assert_eq!(server.client().get("/healthz").send().await?.status, 200, "others are served");
    Ok(())
}

#[tokio::test]
async fn who_reads_the_end_of_an_answer_slowly_gets_all_of_it() -> Result<()> {
    let server = phoenix().env("PHOENIX_HEADER_READ_TIMEOUT", SHORT).start()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(server.address()).await?;
    let request = b"GET /api/phoenix/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(&request.repeat(REQUESTS - 1)).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    // The time passes for another connection, which is ended for its silence meanwhile.
    let mut silent = TcpStream::connect(server.address()).await?;
    ask(&mut silent).await?;
    until_closed(&mut silent).await?;
    let answers = until_closed(&mut stream).await?;
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS);
    assert!(answers.ends_with("ok\n"), "the last one is whole");
    Ok(())
}

#[tokio::test]
async fn who_goes_on_sending_after_the_answer_has_longer_than_a_head_may_take() -> Result<()> {
    let server = phoenix().env("PHOENIX_HEADER_READ_TIMEOUT", SHORT).start()?;
    let mut stream = TcpStream::connect(server.address()).await?;
    let head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n";
    stream.write_all(head).await?;
    for _ in 0..4 {
        stream.write_all(&vec![b'a'; 100_000]).await?;
        let mut silent = TcpStream::connect(server.address()).await?;
        ask(&mut silent).await?;
        until_closed(&mut silent).await?;
    }
    let answer = until_closed(&mut stream).await?;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 41") && answer.ends_with('}'), "{answer}");
    Ok(())
}

/// `cap` connections work, the next is closed without a word, and a place that becomes free is given away.
async fn caps(server: &PhoenixProcess, cap: usize, next_from: u8) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..cap {
        let mut stream = connect_from(1, server.address()).await?;
        ask(&mut stream).await?;
        open.push(stream);
    }
    for _ in 0..3 {
        let mut refused = connect_from(next_from, server.address()).await?;
        assert_eq!(until_closed(&mut refused).await?, b"", "over the cap");
    }
    for stream in &mut open {
        ask(stream).await.context("who was there first stays")?;
    }
    drop(open.pop());
    wait::until(BOUND, "the free place", async || {
        let Ok(mut stream) = connect_from(next_from, server.address()).await else { return false };
        ask(&mut stream).await.is_ok()
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() -> Result<()> {
    let server = phoenix().env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "3").start()?;
    let mut hog = Vec::new();
    for _ in 0..3 {
        let mut stream = connect_from(9, server.address()).await?;
        ask(&mut stream).await?;
        hog.push(stream);
    }
    caps(&server, 3, 1).await.context("another address is not affected")
}

#[tokio::test]
async fn connections_are_limited_in_all() -> Result<()> {
    let server = phoenix().env("PHOENIX_MAX_CONNECTIONS", "4").start()?;
    caps(&server, 4, 2).await
}

#[tokio::test]
async fn oversized_heads_are_refused_with_431() -> Result<()> {
    let server = phoenix().start()?;
    let client = server.client();
    let many = "X-Many: 1\r\n".repeat(100);
    let long = format!("X-Long: {}\r\n", "a".repeat(20 * 1024));
    for (what, headers) in [("100 fields", many), ("20 KB", long)] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let answer = client.raw(request.as_bytes(), BOUND).await?;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{what}: {answer:?}");
    }
    let fits = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(8 * 1024));
    let answer = client.raw(fits.as_bytes(), Duration::from_millis(500)).await?;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[tokio::test]
async fn an_old_connection_is_closed_after_the_request_it_serves() -> Result<()> {
    let server = phoenix().env("PHOENIX_MAX_CONNECTION_AGE", "1s").start()?;
    // Older than the one after it: when that is told to close for its age, this one is too old as well.
    let login = LoginInFlight::start(server.address()).await?;
    let mut busy = TcpStream::connect(server.address()).await?;
    let mut answers = 0_u32;
    while !ask(&mut busy).await?.contains("connection: close") {
        answers += 1;
        ensure!(answers < 1_000_000, "it never grew old");
        tokio::task::yield_now().await;
    }
    assert!(answers > 0, "a new one stays open");
    assert_eq!(until_closed(&mut busy).await?, b"", "the answer said so");
    let answer = login.finish().await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.client().get("/healthz").send().await?.status, 200, "new ones are accepted");
    Ok(())
}

/// Processor time of a process so far. The kernel counts in hundredths of a second (`USER_HZ`).
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("a name")?.1.split(' ').collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

#[tokio::test]
async fn waiting_for_the_rest_of_the_http2_mark_costs_no_processor() -> Result<()> {
    let server = phoenix().env("PHOENIX_FIRST_BYTE_TIMEOUT", "2s").start()?;
    let pid = server.pid().context("it runs")?;
    let before = processor_time(pid)?;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address()).await?;
        stream.set_nodelay(true)?;
        for byte in b"PRI" {
            stream.write_all(&[*byte]).await?;
        }
        waiting.push(stream);
    }
    for stream in &mut waiting {
        assert_eq!(until_closed(stream).await?, b"");
    }
    // Two seconds passed; a loop that spins would have used all of them.
    let used = processor_time(pid)?.saturating_sub(before);
    assert!(used < Duration::from_millis(700), "{used:?} of processor time for nothing");
    Ok(())
}

#[tokio::test]
async fn http2_is_recognised_however_its_mark_arrives() -> Result<()> {
    let server = phoenix().start()?;
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.set_nodelay(true)?;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).await?;
    }
    // An empty SETTINGS frame (RFC 9113 section 6.5): length 0, type 4, no flags, stream 0.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let mut head = [0; 9];
    tokio::time::timeout(BOUND, stream.read_exact(&mut head)).await??;
    assert_eq!(head[3], 4, "the server's first frame is its SETTINGS: {head:?}");
    Ok(())
}
