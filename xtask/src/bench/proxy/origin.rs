//! The application of `overhead`: it answers each GET with bytes made beforehand, so that the proxies, not it, are
//! measured. One thread, non-blocking sockets, no more parsing than the end of a head and the path. It knows nothing
//! of bodies of requests.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Answers, by the path that asks for them.
pub const SMALL: &str = "/api/items/1k";
/// See [`SMALL`].
pub const LARGE: &str = "/api/items/64k";

const LISTENER: Token = Token(usize::MAX);
/// Largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;

/// Serves until the process is ended.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(listen: SocketAddr) -> Result<()> {
    let mut poll = Poll::new().context("make a poll")?;
    let mut listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    println!("listening on http://{}", listener.local_addr().context("ask for the own address")?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let answers = [answer(1024), answer(64 * 1024)];
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(256);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.context("wait for requests")?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let slot = &mut connections[event.token().0];
            // A connection that breaks takes only its place.
            if slot.as_mut().is_some_and(|connection| connection.advance(&answers).is_err()) {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> Result<()> {
    loop {
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accept a connection"),
            Ok((mut stream, _)) => {
                stream.set_nodelay(true).context("set TCP_NODELAY")?;
                let free = connections.iter().position(Option::is_none).unwrap_or(connections.len());
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(free), interest)?;
                if free == connections.len() {
                    connections.push(None);
                }
                connections[free] = Some(Connection { stream, input: Vec::new(), answer: None });
            }
        }
    }
}

/// A whole answer, with what a usual application sends.
fn answer(body_bytes: usize) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: private, max-age=0\r\n\
         ETag: \"33a64df551425fcc55e4d42a148795d9\"\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + body_bytes, b'x');
    bytes
}

struct Connection {
    stream: TcpStream,
    /// The head of a request, as far as it has come.
    input: Vec<u8>,
    /// Which answer is being written, and how much of it has been.
    answer: Option<(usize, usize)>,
}

impl Connection {
    /// Reads and writes as far as it goes.
    fn advance(&mut self, answers: &[Vec<u8>; 2]) -> Result<()> {
        loop {
            if let Some((which, written)) = self.answer {
                match self.stream.write(&answers[which][written..]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error.into()),
                    Ok(length) if written + length == answers[which].len() => self.answer = None,
                    Ok(length) => self.answer = Some((which, written + length)),
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
                Ok(0) => bail!("closed"),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            }
            let Some(end) = memmem::find(&self.input, b"\r\n\r\n") else {
                ensure!(self.input.len() < HEAD_BYTES, "a head of more than {HEAD_BYTES} bytes");
                continue;
            };
            let large =
                self.input.strip_prefix(b"GET ").is_some_and(|rest| rest.starts_with(LARGE.as_bytes()));
            self.answer = Some((usize::from(large), 0));
            self.input.drain(..end + 4);
        }
    }
}
