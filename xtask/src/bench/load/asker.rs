//! One request at a time on one connection, for benchmarks that look at every single answer. It belongs to the
//! caller's runtime, so many of them can share a thread.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::response::{self, Expect};

/// Bytes read at once.
const READ_BYTES: usize = 4 * 1024;
/// Largest answer, head and body.
const ANSWER_BYTES: usize = 256 * 1024;

/// A client with one connection, opened when it is needed and dropped at the first error.
#[derive(Debug)]
pub struct Asker {
    address: SocketAddr,
    /// Longest time for one request, connecting included.
    bound: Duration,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status and header are as expected.
    pub good: bool,
}

impl Asker {
    /// A client of the server at `address` that waits at most `bound` for an answer.
    #[must_use]
    pub fn new(address: SocketAddr, bound: Duration) -> Self {
        Self { address, bound, stream: None, buffer: Vec::new() }
    }

    /// Sends an encoded request and reads the whole answer. Never sends anything twice.
    ///
    /// # Errors
    /// When there is no answer in time, or none that is HTTP with a stated length.
    pub async fn ask(&mut self, request: &[u8], expect: &Expect) -> Result<Answer> {
        let stream = self.stream.take();
        let (address, buffer) = (self.address, &mut self.buffer);
        let exchange = async {
            let mut stream = match stream {
                Some(stream) => stream,
                None => connect(address).await?,
            };
            stream.write_all(request).await.context("send a request")?;
            let (answer, closes) = read(&mut stream, buffer, expect).await?;
            anyhow::Ok((answer, (!closes).then_some(stream)))
        };
        let (answer, stream) = timeout(self.bound, exchange).await.context("no answer in time")??;
        self.stream = stream;
        Ok(answer)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    Ok(stream)
}

/// Reads one answer and whether the server closes after it.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, expect: &Expect) -> Result<(Answer, bool)> {
    buffer.clear();
    loop {
        if let Some(head) = response::parse(buffer, expect)? {
            let end = head.bytes + head.body_bytes;
            ensure!(end <= ANSWER_BYTES, "an answer of {end} bytes");
            ensure!(buffer.len() <= end, "more bytes than the answer should have");
            if buffer.len() == end {
                return Ok((Answer { status: head.status, good: head.good }, head.closes));
            }
        }
        ensure!(buffer.len() < ANSWER_BYTES, "a head of more than {ANSWER_BYTES} bytes");
        buffer.reserve(READ_BYTES);
        if stream.read_buf(buffer).await.context("read an answer")? == 0 {
            bail!("the server closed the connection before it had answered");
        }
    }
}
