//! Every mode of the fault proxy, seen from a client, on live connections.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::Result;
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode, REDIS_MESSAGE};
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(20);
/// Long enough for loopback to deliver what it is going to deliver.
const NOTHING_COMES: Duration = Duration::from_millis(150);

/// A proxy before a server that sends back every byte.
async fn echo() -> Result<FaultProxy> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(listener.local_addr()?)?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(proxy)
}

async fn ask(stream: &mut TcpStream) -> Result<Duration> {
    let start = Instant::now();
    stream.write_all(b"hello").await?;
    let mut reply = [0; 5];
    timeout(BOUND, stream.read_exact(&mut reply)).await??;
    assert_eq!(&reply, b"hello");
    Ok(start.elapsed())
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(NOTHING_COMES, stream.read_u8()).await.is_err()
}

async fn reset_kind(stream: &mut TcpStream) -> ErrorKind {
    let read = timeout(BOUND, stream.read_u8()).await.expect("a reset arrives at once");
    read.expect_err("the connection is reset").kind()
}

#[tokio::test]
async fn pass_forwards_and_counts() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    let counts = proxy.counts();
    assert_eq!((counts.accepted, counts.live), (1, 1));
    assert_eq!((counts.to_upstream_bytes, counts.to_client_bytes), (5, 5));
    // The end of the stream is forwarded, too.
    stream.shutdown().await?;
    assert_eq!(timeout(BOUND, stream.read(&mut [0; 8])).await??, 0);
    wait::until(BOUND, "the connection to be gone", || async { proxy.counts().live == 0 }).await;
    Ok(())
}

#[tokio::test]
async fn latency_applies_to_live_connections_and_does_not_reduce_throughput() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    proxy.set(Mode::Latency(Duration::from_millis(50)));
    assert!(ask(&mut stream).await? >= Duration::from_millis(100));
    // Two megabytes at 50 ms for every 16 KiB would take six seconds each way.
    let (mut from, mut to) = stream.split();
    let start = Instant::now();
    let sent = vec![7; 2 << 20];
    let mut received = vec![0; 2 << 20];
    let (wrote, read) = tokio::join!(to.write_all(&sent), timeout(BOUND, from.read_exact(&mut received)));
    wrote?;
    read??;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    proxy.set(Mode::Pass);
    assert!(ask(&mut stream).await? < Duration::from_millis(100));
    Ok(())
}

#[tokio::test]
async fn a_blackhole_accepts_and_swallows_and_then_resets_what_lost_bytes() -> Result<()> {
    let proxy = echo().await?;
    let mut busy = TcpStream::connect(proxy.addr()).await?;
    let mut idle = TcpStream::connect(proxy.addr()).await?;
    ask(&mut busy).await?;
    ask(&mut idle).await?;
    proxy.set(Mode::Blackhole);
    let mut fresh = TcpStream::connect(proxy.addr()).await?;
    busy.write_all(b"hello").await?;
    fresh.write_all(b"hello").await?;
    assert!(is_silent(&mut busy).await && is_silent(&mut fresh).await);
    proxy.set(Mode::Pass);
    assert_eq!(reset_kind(&mut busy).await, ErrorKind::ConnectionReset);
    ask(&mut idle).await?;
    Ok(())
}

#[tokio::test]
async fn refuse_closes_the_listener_and_pass_opens_it_again() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    proxy.set(Mode::Refuse);
    let refused = TcpStream::connect(proxy.addr()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(reset_kind(&mut stream).await, ErrorKind::ConnectionReset);
    proxy.set(Mode::Pass);
    ask(&mut TcpStream::connect(proxy.addr()).await?).await?;
    Ok(())
}

#[tokio::test]
async fn reset_breaks_live_and_new_connections() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    proxy.set(Mode::Reset);
    assert_eq!(reset_kind(&mut stream).await, ErrorKind::ConnectionReset);
    let broken = async { ask(&mut TcpStream::connect(proxy.addr()).await?).await };
    assert!(broken.await.is_err());
    proxy.set(Mode::Pass);
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    proxy.drop_connections();
    assert_eq!(reset_kind(&mut stream).await, ErrorKind::ConnectionReset);
    ask(&mut TcpStream::connect(proxy.addr()).await?).await?;
    Ok(())
}

#[tokio::test]
async fn half_open_holds_back_one_direction() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    ask(&mut stream).await?;
    for (direction, upstream_bytes) in [(Direction::ToClient, 10), (Direction::ToUpstream, 10)] {
        proxy.set(Mode::HalfOpen(direction));
        stream.write_all(b"hello").await?;
        assert!(is_silent(&mut stream).await, "{direction:?}");
        assert_eq!(proxy.counts().to_upstream_bytes, upstream_bytes, "{direction:?}");
        proxy.set(Mode::Pass);
        let mut reply = [0; 5];
        timeout(BOUND, stream.read_exact(&mut reply)).await??;
    }
    Ok(())
}

#[tokio::test]
async fn drip_forwards_few_bytes_at_a_time() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    proxy.set(Mode::Drip { bytes: 2, every: Duration::from_millis(40) });
    // Five bytes are three drips to the upstream; the first of the way back overlaps with them.
    let taken = ask(&mut stream).await?;
    assert!(taken >= Duration::from_millis(160), "{taken:?}");
    proxy.set(Mode::Pass);
    assert!(ask(&mut stream).await? < Duration::from_millis(100));
    Ok(())
}

#[tokio::test]
async fn losing_drops_messages_with_the_mark_on_their_way_back_and_nothing_else() -> Result<()> {
    let proxy = echo().await?;
    let mut stream = TcpStream::connect(proxy.addr()).await?;
    proxy.set(Mode::Losing(REDIS_MESSAGE));
    let message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n";
    stream.write_all(message).await?;
    assert!(is_silent(&mut stream).await);
    assert_eq!(proxy.counts().to_upstream_bytes, message.len() as u64);
    ask(&mut stream).await?;
    // The stream has no hole that would have to be reset.
    proxy.set(Mode::Pass);
    ask(&mut stream).await?;
    stream.write_all(message).await?;
    let mut back = vec![0; message.len()];
    timeout(BOUND, stream.read_exact(&mut back)).await??;
    assert_eq!(back, message);
    Ok(())
}

#[tokio::test]
async fn losing_holds_back_what_redis_publishes() -> Result<()> {
    let redis = phoenix_testkit::redis::Redis::shared();
    let channel = format!("{}news", redis.isolated().prefix);
    let proxy = FaultProxy::start(redis.address())?;
    let mut subscriber = TcpStream::connect(proxy.addr()).await?;
    proxy.set(Mode::Losing(REDIS_MESSAGE));
    subscriber.write_all(format!("SUBSCRIBE {channel}\r\n").as_bytes()).await?;
    let mut answer = vec![0; 4096];
    let length = timeout(BOUND, subscriber.read(&mut answer)).await??;
    assert!(answer[..length].starts_with(b"*3\r\n$9\r\nsubscribe\r\n"));
    assert_eq!(redis.command(&["PUBLISH", &channel, "x"])?, ":1");
    assert!(is_silent(&mut subscriber).await);
    proxy.set(Mode::Pass);
    assert_eq!(redis.command(&["PUBLISH", &channel, "y"])?, ":1");
    let length = timeout(BOUND, subscriber.read(&mut answer)).await??;
    assert!(answer[..length].ends_with(b"\r\ny\r\n"));
    Ok(())
}

#[test]
fn it_works_without_a_runtime_and_ends_with_its_handle() -> Result<()> {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0")?;
    let proxy = FaultProxy::start(upstream.local_addr()?)?;
    let address = proxy.addr();
    let _stream = std::net::TcpStream::connect(address)?;
    upstream.accept()?;
    drop(proxy);
    assert!(std::net::TcpStream::connect(address).is_err());
    Ok(())
}
