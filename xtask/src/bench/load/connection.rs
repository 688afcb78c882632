//! One connection of the load generator: at most one batch of requests under way (a batch is one request, unless the
//! plan pipelines), written and read without blocking.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::response::{self, Expect, Head};

/// Bytes read at once, and the largest head of an answer; bodies may be larger.
const BUFFER_BYTES: usize = 64 * 1024;
const CONNECT_BOUND: Duration = Duration::from_secs(5);

/// How far the next answer has come.
enum Reading {
    Head,
    /// So many bytes of its body are still to come.
    Body(Head, usize),
}

/// A connection and what is under way on it.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// The part of the buffer that was read and not yet looked at.
    unread: Range<usize>,
    /// The last read emptied the socket, and nothing was announced since.
    drained: bool,
    /// Index of the batch that was sent last, or is to be sent first.
    pub(super) batch: usize,
    /// When the batch under way was sent (closed loop) or due (open loop).
    pub(super) since: Option<Instant>,
    /// Answers that are still to come.
    outstanding: usize,
    written: usize,
    reading: Reading,
}

impl Connection {
    /// Connects and asks to be told, once per change, about anything that happens.
    pub(super) fn open(
        address: SocketAddr,
        registry: &Registry,
        number: usize,
        batch: usize,
    ) -> Result<Self> {
        let stream = std::net::TcpStream::connect_timeout(&address, CONNECT_BOUND)
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        stream.set_nonblocking(true).context("make the connection non-blocking")?;
        let mut stream = TcpStream::from_std(stream);
        registry
            .register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)
            .context("register the connection")?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            unread: 0..0,
            drained: false,
            batch,
            since: None,
            outstanding: 0,
            written: 0,
            reading: Reading::Head,
        })
    }

    /// Begins to send `bytes`, which is batch `batch` of `requests` requests, on behalf of the moment `since`.
    pub(super) fn send(&mut self, batch: usize, bytes: &[u8], requests: usize, since: Instant) -> Result<()> {
        self.batch = batch;
        self.since = Some(since);
        self.outstanding = requests;
        self.written = 0;
        self.write(bytes)
    }

    /// Something was announced: goes on writing, and lets [`Self::answer`] read again.
    pub(super) fn wake(&mut self, bytes: &[u8]) -> Result<()> {
        self.drained = false;
        if self.since.is_some() {
            return self.write(bytes);
        }
        // Nothing is under way, so the only news can be that the server closed.
        ensure!(!matches!(self.read()?, Some(0)), "the server closed an idle connection");
        ensure!(self.unread.is_empty(), "bytes that nobody asked for");
        Ok(())
    }

    /// The head of the next answer that is complete, without waiting. After the last of a batch nothing is under way.
    pub(super) fn answer(&mut self, expect: &Expect) -> Result<Option<Head>> {
        while self.outstanding > 0 {
            if let Some(head) = self.take(expect)? {
                self.outstanding -= 1;
                if self.outstanding == 0 {
                    self.since = None;
                    ensure!(self.unread.is_empty(), "more bytes than the answer should have");
                }
                return Ok(Some(head));
            }
            if self.drained {
                return Ok(None);
            }
            match self.read()? {
                None => return Ok(None),
                Some(0) => bail!("the server closed the connection before it had answered"),
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// Takes one answer out of what was read, or as much of it as is there.
    fn take(&mut self, expect: &Expect) -> Result<Option<Head>> {
        if let Reading::Head = self.reading {
            let Some(head) = response::parse(&self.buffer[self.unread.clone()], expect)? else {
                // Make room for the rest of a head that does not fit behind the answers before it.
                self.buffer.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
                ensure!(self.unread.len() < BUFFER_BYTES, "a head of more than {BUFFER_BYTES} bytes");
                return Ok(None);
            };
            self.unread.start += head.bytes;
            self.reading = Reading::Body(head, head.body_bytes);
        }
        if let Reading::Body(head, missing) = self.reading {
            let taken = missing.min(self.unread.len());
            self.unread.start += taken;
            if taken == missing {
                self.reading = Reading::Head;
                return Ok(Some(head));
            }
            self.reading = Reading::Body(head, missing - taken);
            self.unread = 0..0;
        }
        Ok(None)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        while self.written < bytes.len() {
            match self.stream.write(&bytes[self.written..]) {
                Ok(0) => bail!("the connection takes no bytes"),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("send a request"),
            }
        }
        Ok(())
    }

    /// Reads once; `None` when there is nothing yet, 0 at the end of the stream.
    fn read(&mut self) -> Result<Option<usize>> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        let room = &mut self.buffer[self.unread.end..];
        loop {
            match self.stream.read(room) {
                Ok(length) => {
                    // A read that left room has emptied the socket: the next bytes will be announced.
                    self.drained = length < room.len();
                    self.unread.end += length;
                    return Ok(Some(length));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("read an answer"),
            }
        }
    }
}
