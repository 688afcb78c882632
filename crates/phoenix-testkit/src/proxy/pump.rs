//! One proxied connection: two directions, each a reader that stamps what arrives and a writer that lets it out
//! as the mode of the moment says. Between them at most 64 chunks of 16 KiB wait; then the reader stops reading.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::{Counters, Direction, Mode, State};

const CHUNK_BYTES: usize = 16 * 1024;
const CHUNKS: usize = 64;
/// Longest time the upstream may take to accept; on loopback it accepts at once or not at all.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// Bytes and when they arrived; no bytes mean the end of the stream.
struct Chunk {
    arrived: Instant,
    bytes: Vec<u8>,
}

/// What both directions of a connection share.
struct Link {
    state: watch::Receiver<State>,
    /// Bytes were swallowed, so the stream has a hole.
    holed: AtomicBool,
}

/// Serves `client` until both sides have closed or it is to be reset.
pub(super) async fn connection(
    mut client: TcpStream,
    upstream: SocketAddr,
    state: watch::Receiver<State>,
    counters: &Counters,
) {
    let born = state.borrow().generation;
    let Ok(Ok(mut server)) = timeout(CONNECT_BOUND, TcpStream::connect(upstream)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let link = Link { state, holed: AtomicBool::new(false) };
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = direction(from_client, to_server, Direction::ToUpstream, &link, &counters.to_upstream_bytes);
        let down = direction(from_server, to_client, Direction::ToClient, &link, &counters.to_client_bytes);
        tokio::select! {
            biased;
            () = doomed(&link, born) => true,
            ended = async { tokio::try_join!(up, down) } => ended.is_err(),
        }
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Returns when the connection is to be reset.
async fn doomed(link: &Link, born: u64) {
    let mut state = link.state.clone();
    let is_doomed = |state: &State| {
        state.generation != born || (state.mode != Mode::Blackhole && link.holed.load(Ordering::Relaxed))
    };
    if state.wait_for(is_doomed).await.is_err() {
        // The proxy is being dropped, and this task with it.
        std::future::pending::<()>().await;
    }
}

async fn direction(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    link: &Link,
    delivered: &AtomicU64,
) -> Result<(), std::io::Error> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::try_join!(read(from, sender), write(to, receiver, direction, link, delivered))?;
    Ok(())
}

async fn read(mut from: ReadHalf<'_>, queue: mpsc::Sender<Chunk>) -> Result<(), std::io::Error> {
    loop {
        let mut bytes = vec![0; CHUNK_BYTES];
        let length = from.read(&mut bytes).await?;
        bytes.truncate(length);
        let full = queue.send(Chunk { arrived: Instant::now(), bytes }).await;
        if length == 0 || full.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut queue: mpsc::Receiver<Chunk>,
    direction: Direction,
    link: &Link,
    delivered: &AtomicU64,
) -> Result<(), std::io::Error> {
    let mut state = link.state.clone();
    while let Some(chunk) = queue.recv().await {
        let mut rest = chunk.bytes.as_slice();
        loop {
            match allowance(&mut state, chunk.arrived, direction, rest).await {
                Allowance::Swallow => {
                    link.holed.store(true, Ordering::Relaxed);
                    break;
                }
                Allowance::Lose => break,
                Allowance::Write(_) if rest.is_empty() => {
                    to.shutdown().await?;
                    break;
                }
                Allowance::Write(length) => {
                    to.writable().await?;
                    rest = &rest[deliver(&to, &rest[..length], delivered)?..];
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Writes what the socket takes, and counts it before anybody can have received it.
fn deliver(to: &WriteHalf<'_>, bytes: &[u8], delivered: &AtomicU64) -> Result<usize, std::io::Error> {
    delivered.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    let written = match to.try_write(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    };
    let not_written = bytes.len() - *written.as_ref().unwrap_or(&0);
    delivered.fetch_sub(not_written as u64, Ordering::SeqCst);
    written
}

/// What may happen to the bytes at the head of the queue.
enum Allowance {
    /// So many may go out (0 for the end of the stream).
    Write(usize),
    /// They are lost, and the stream has a hole.
    Swallow,
    /// They are lost, and what is left is whole messages.
    Lose,
}

/// Waits until the mode lets something happen; a change of mode is looked at afresh.
async fn allowance(
    state: &mut watch::Receiver<State>,
    arrived: Instant,
    direction: Direction,
    bytes: &[u8],
) -> Allowance {
    let length = bytes.len();
    loop {
        let mode = state.borrow_and_update().mode;
        let (ready, length) = match mode {
            Mode::Losing(mark) if direction == Direction::ToClient && holds(bytes, mark) => {
                return Allowance::Lose;
            }
            Mode::Pass | Mode::Losing(_) => return Allowance::Write(length),
            Mode::HalfOpen(held) if held != direction => return Allowance::Write(length),
            Mode::Blackhole => return Allowance::Swallow,
            Mode::Latency(delay) => (Some(arrived + delay), length),
            Mode::Drip { bytes, every } => (Some(Instant::now() + every), length.min(bytes.max(1))),
            // The connection is about to be reset, or its turn comes when the mode changes.
            Mode::HalfOpen(_) | Mode::Refuse | Mode::Reset => (None, length),
        };
        let due = async {
            match ready {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => return Allowance::Write(length),
            changed = state.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn holds(bytes: &[u8], mark: &[u8]) -> bool {
    !mark.is_empty() && bytes.windows(mark.len()).any(|window| window == mark)
}
