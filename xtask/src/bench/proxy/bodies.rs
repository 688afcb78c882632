//! Part `upload`: large bodies stream through Phoenix at flat memory, in both directions, with a length or in chunks, and
//! however slowly one side reads. Every byte is compared with what was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use phoenix_testkit::process::PhoenixProcess;

use super::real;
use crate::bench::build;
use crate::bench::report::Bar;

/// Bytes of one body; a tenth in the quick form.
const BYTES: u64 = 10 * GIGABYTE;
const GIGABYTE: u64 = 1_000_000_000;
/// Bytes of the body that is read slowly.
const SLOW_BYTES: u64 = 256 * 1024 * 1024;
/// Read at once by the slow application, which then pauses.
const SLOW_STEP: u64 = 1024 * 1024;
const SLOW_PAUSE: Duration = Duration::from_millis(5);
/// Most that the process may grow at its peak, over what it was after small requests.
const GROWTH: f64 = 20e6;
/// Written and read at once. The body repeats this many bytes.
const PIECE: usize = 64 * 1024;
/// Longest time that nothing moves.
const BOUND: Duration = Duration::from_secs(30);

/// Which way the body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    UploadWithLength,
    UploadInChunks,
    SlowUpload,
    Download,
}

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let large = if quick { BYTES / 10 } else { BYTES };
    let mut bars = Vec::new();
    for (name, way, bytes) in [
        ("upload with a length", Way::UploadWithLength, large),
        ("upload in chunks", Way::UploadInChunks, large),
        ("upload to a slow application", Way::SlowUpload, SLOW_BYTES),
        ("download", Way::Download, large),
    ] {
        bars.extend(measure(&program, name, way, bytes).context(name)?);
    }
    Ok(bars)
}

fn measure(program: &std::path::Path, name: &str, way: Way, bytes: u64) -> Result<[Bar; 3]> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    // A process for each, because its peak cannot be forgotten.
    let server = PhoenixProcess::builder(program)
        .env("PHOENIX_UPSTREAM", format!("http://{}", listener.local_addr()?))
        .env("PHOENIX_GATEWAY_MAX_BODY", "1024GiB")
        .env("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128")
        .start()?;
    let before = server.memory()?;
    let application: JoinHandle<Result<u64>> = thread::spawn(move || serve(&listener, way, bytes));
    let start = Instant::now();
    let arrived = match way {
        Way::Download => download(server.address())?,
        _ => upload(server.address(), way, bytes)?,
    };
    let elapsed = start.elapsed().as_secs_f64();
    let taken = application.join().map_err(|_| anyhow::anyhow!("the application panicked"))??;
    let arrived = if way == Way::Download { arrived } else { taken };
    let growth = server.memory()?.peak_bytes.saturating_sub(before.peak_bytes);
    Ok([
        Bar::at_least(format!("{name}: bytes that arrived"), real(arrived), "B", real(bytes)),
        Bar::at_most(format!("{name}: growth at the peak"), real(growth) / 1e6, "MB", GROWTH / 1e6),
        Bar::info(format!("{name}: speed"), real(bytes) / 1e6 / elapsed, "MB/s"),
    ])
}

fn piece() -> Vec<u8> {
    (0..PIECE).map(|index| u8::try_from(index * 7 % 251).unwrap_or_default()).collect()
}

/// One exchange on the application's side; how many bytes of the request's body came.
fn serve(listener: &TcpListener, way: Way, bytes: u64) -> Result<u64> {
    let (stream, _) = listener.accept().context("accept Phoenix")?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    let (mut reader, mut stream) = (BufReader::with_capacity(PIECE, stream.try_clone()?), stream);
    let head = head(&mut reader)?;
    if way == Way::Download {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
        send(&mut stream, bytes)?;
        return Ok(0);
    }
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    ensure!(is_chunked == (way == Way::UploadInChunks), "another framing arrived: {head}");
    let pause = if way == Way::SlowUpload { SLOW_PAUSE } else { Duration::ZERO };
    let mut check = Check { pattern: piece(), seen: 0, pause };
    if is_chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).context("the length of a chunk")?;
            let length = u64::from_str_radix(line.trim_end(), 16).with_context(|| line.clone())?;
            check.take(&mut reader, length)?;
            reader.read_line(&mut String::new())?;
            if length == 0 {
                break;
            }
        }
    } else {
        check.take(&mut reader, bytes)?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    Ok(check.seen)
}

/// The lines before a body.
fn head(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    loop {
        let before = text.len();
        ensure!(reader.read_line(&mut text).context("read a head")? > 0, "closed within a head: {text}");
        if text[before..].trim_end().is_empty() {
            return Ok(text);
        }
    }
}

/// Writes a body.
fn send(stream: &mut TcpStream, bytes: u64) -> Result<()> {
    let piece = piece();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(&piece[..part]).context("write a body")?;
        left -= u64::try_from(part)?;
    }
    Ok(())
}

/// Compares a body with what it should be.
struct Check {
    pattern: Vec<u8>,
    seen: u64,
    /// After each [`SLOW_STEP`].
    pause: Duration,
}

impl Check {
    fn take(&mut self, reader: &mut impl Read, bytes: u64) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let at = usize::try_from(self.seen % u64::try_from(PIECE)?)?;
            let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE - at);
            let read = reader.read(&mut buffer[..room]).context("read a body")?;
            ensure!(read > 0, "the body ends after {} bytes", self.seen);
            ensure!(buffer[..read] == self.pattern[at..at + read], "other bytes after {}", self.seen);
            let steps = self.seen / SLOW_STEP;
            (self.seen, left) = (self.seen + u64::try_from(read)?, left - u64::try_from(read)?);
            if self.seen / SLOW_STEP > steps && !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
        }
        Ok(())
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("connect to Phoenix")?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    Ok(stream)
}

/// Sends a body; what came back must be 200.
fn upload(address: SocketAddr, way: Way, bytes: u64) -> Result<u64> {
    let mut stream = connect(address)?;
    write!(stream, "POST /files HTTP/1.1\r\nHost: {address}\r\n")?;
    if way == Way::UploadInChunks {
        write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?;
        let mut left = bytes;
        let chunk = [format!("{PIECE:x}\r\n").as_bytes(), &piece(), b"\r\n"].concat();
        let whole = u64::try_from(PIECE)?;
        while left >= whole {
            stream.write_all(&chunk).context("write a chunk")?;
            left -= whole;
        }
        if left > 0 {
            let rest = &piece()[..usize::try_from(left)?];
            stream.write_all(&[format!("{left:x}\r\n").as_bytes(), rest, b"\r\n"].concat())?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    } else {
        write!(stream, "Content-Length: {bytes}\r\n\r\n")?;
        send(&mut stream, bytes)?;
    }
    let head = head(&mut BufReader::new(stream)).context("the answer to an upload")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Ok(bytes)
}

/// Reads a body; how many bytes of it came.
fn download(address: SocketAddr) -> Result<u64> {
    let mut stream = connect(address)?;
    write!(stream, "GET /files HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(PIECE, stream);
    let head = head(&mut reader)?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: u64 = length.with_context(|| format!("no length: {head}"))?;
    let mut check = Check { pattern: piece(), seen: 0, pause: Duration::ZERO };
    check.take(&mut reader, length)?;
    Ok(check.seen)
}
