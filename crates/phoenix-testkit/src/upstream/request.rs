//! Reads requests byte for byte: what arrived is kept as it came, and decoded beside it.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Most bytes of a body that are remembered.
const REMEMBERED_BYTES: usize = 1024 * 1024;
/// Most bytes of a head.
const HEAD_BYTES: usize = 1024 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// A request as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The head as it came, with its last empty line.
    pub head: Vec<u8>,
    /// The body as it came, with its framing; the first MiB.
    pub raw_body: Vec<u8>,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// The version.
    pub version: String,
    /// Names and values of the header fields, in their order.
    pub headers: Vec<(String, String)>,
    /// The body without framing; the first MiB.
    pub body: Vec<u8>,
    /// Length of the body without framing.
    pub body_length: u64,
    /// Names and values of the trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    /// The value of the only field of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.header_all(name);
        assert!(all.len() < 2, "{name} is there {} times", all.len());
        all.first().copied()
    }

    /// The values of all fields of this name.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let all = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        all.map(|(_, value)| value.as_str()).collect()
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::json!({
            "method": self.method,
            "target": self.target,
            "version": self.version,
            "headers": self.headers,
            "body": String::from_utf8_lossy(&self.body),
            "bodyLength": self.body_length,
            "trailers": self.trailers,
        })
        .to_string()
    }
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// The reading side of a connection, with what was read ahead.
#[derive(Debug, Default)]
pub(super) struct Reader {
    ahead: Vec<u8>,
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

impl Reader {
    pub(super) fn take_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        let mut space = vec![0; READ_BYTES];
        let read = stream.read(&mut space).await?;
        self.ahead.extend_from_slice(&space[..read]);
        Ok(read)
    }

    /// The next head; `None` at the end of the connection.
    pub(super) async fn head(&mut self, stream: &mut TcpStream) -> io::Result<Option<Seen>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let rest = self.ahead.split_off(end + 4);
                let head = std::mem::replace(&mut self.ahead, rest);
                return parse(head).map(Some);
            }
            if self.ahead.len() > HEAD_BYTES {
                return Err(broken("the head is too long"));
            }
            if self.fill(stream).await? == 0 {
                return if self.ahead.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Reads the body; tells `each` the bytes with framing as they come, and what they mean.
    pub(super) async fn body(
        &mut self,
        stream: &mut TcpStream,
        seen: &mut Seen,
        mut each: impl FnMut(usize),
    ) -> io::Result<()> {
        match framing(seen)? {
            Framing::Length(length) => {
                let mut left = length;
                while left > 0 {
                    let part = self.next(stream, usize::try_from(left).unwrap_or(usize::MAX)).await?;
                    left -= part.len() as u64;
                    each(part.len());
                    keep(&mut seen.raw_body, &part);
                    keep(&mut seen.body, &part);
                    seen.body_length += part.len() as u64;
                }
                Ok(())
            }
            Framing::Chunked => self.chunks(stream, seen, each).await,
        }
    }

    async fn chunks(
        &mut self,
        stream: &mut TcpStream,
        seen: &mut Seen,
        mut each: impl FnMut(usize),
    ) -> io::Result<()> {
        loop {
            let line = self.line(stream).await?;
            each(line.len());
            keep(&mut seen.raw_body, &line);
            let digits = String::from_utf8_lossy(&line);
            let digits = digits.trim_end().split(';').next().unwrap_or_default().to_owned();
            let mut left = u64::from_str_radix(&digits, 16).map_err(|_| broken("no size of a chunk"))?;
            let is_last = left == 0;
            while left > 0 {
                let part = self.next(stream, usize::try_from(left).unwrap_or(usize::MAX)).await?;
                left -= part.len() as u64;
                each(part.len());
                keep(&mut seen.raw_body, &part);
                keep(&mut seen.body, &part);
                seen.body_length += part.len() as u64;
            }
            loop {
                let line = self.line(stream).await?;
                each(line.len());
                keep(&mut seen.raw_body, &line);
                if line == b"\r\n" {
                    break;
                }
                if !is_last {
                    return Err(broken("no end of a chunk"));
                }
                seen.trailers.push(field(&line)?);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// At least one and at most `most` bytes.
    async fn next(&mut self, stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() && self.fill(stream).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = self.ahead.split_off(most.min(self.ahead.len()));
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    async fn line(&mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let rest = self.ahead.split_off(end + 2);
                return Ok(std::mem::replace(&mut self.ahead, rest));
            }
            if self.ahead.len() > HEAD_BYTES || self.fill(stream).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn keep(all: &mut Vec<u8>, part: &[u8]) {
    let room = REMEMBERED_BYTES.saturating_sub(all.len());
    all.extend_from_slice(&part[..part.len().min(room)]);
}

fn field(line: &[u8]) -> io::Result<(String, String)> {
    let text = String::from_utf8_lossy(line);
    let (name, value) = text.trim_end().split_once(':').ok_or_else(|| broken("no field"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn parse(head: Vec<u8>) -> io::Result<Seen> {
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target, version) = (word(), word(), word());
    let fields = lines.filter(|line| !line.is_empty()).map(|line| field(line.as_bytes()));
    let headers = fields.collect::<io::Result<_>>()?;
    Ok(Seen { head, method, target, version, headers, ..Seen::default() })
}

fn framing(seen: &Seen) -> io::Result<Framing> {
    if let Some(coding) = seen.header("transfer-encoding") {
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Framing::Chunked)
        } else {
            Err(broken("an unknown coding"))
        };
    }
    let length = seen.header("content-length").unwrap_or("0");
    length.parse().map(Framing::Length).map_err(|_| broken("no length"))
}
