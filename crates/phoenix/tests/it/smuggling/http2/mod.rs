//! HTTP/2 as a client that breaks its rules speaks it: each case is refused with the right error (RFC 9113), or the
//! application sees what a strict reader of HTTP/1.1 makes of the request as it is to be passed on.
//!
//! `frames` writes and reads frames, `table` has the cases; this file sends and judges them.

mod floods;
mod frames;
mod messages;
mod wire;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, MARK, RST_STREAM, SETTINGS, block, frame,
};
use super::harness::{Gateway, named, same_requests};
use super::strict;

/// Longest time of one case.
const BOUND: Duration = Duration::from_secs(20);
/// The stream that a case is about.
const CASE: u32 = 1;
/// The stream of the request behind it.
const BEHIND: u32 = 1001;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What must become of a case.
#[derive(Clone, Debug)]
enum Expect {
    /// Its stream is reset with one of these codes; others go on.
    Reset(&'static [u32]),
    /// Its stream is reset as malformed, or the whole connection ends so (RFC 9113 sections 8.1.1 and 5.4.1).
    Malformed,
    /// The connection ends with one of these codes.
    Gone(&'static [u32]),
    /// It is answered with one of these statuses, and nothing of it reaches the application; other streams go on.
    Denied(&'static [u16]),
    /// The application sees what the strict reader makes of these bytes.
    Seen(Vec<u8>),
    /// The application never sees the end of it; other streams go on, unless the connection ends with an error.
    Broken,
    /// The application sees what was announced, as in these bytes, or never the end of it; nothing that exceeds it.
    Announced(Vec<u8>),
    /// The connection ends, or goes on as if nothing had been; the application sees at most this many requests of it.
    Survived(u64),
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Case {
    id: &'static str,
    source: &'static str,
    /// What follows the beginning of the connection.
    bytes: Vec<u8>,
    expect: Expect,
}

impl Case {
    fn new(id: &'static str, source: &'static str, bytes: impl AsRef<[u8]>, expect: Expect) -> Self {
        Self { id, source, bytes: bytes.as_ref().to_vec(), expect }
    }
}

/// What a client received.
#[derive(Debug, Default)]
struct Received {
    frames: Vec<Frame>,
    is_over: bool,
}

impl Received {
    fn status(&self, stream: u32) -> Option<u16> {
        self.frames.iter().find(|frame| frame.stream == stream && frame.kind == HEADERS)?.status()
    }

    fn reset(&self, stream: u32) -> Option<u32> {
        self.frames.iter().find(|frame| frame.stream == stream && frame.kind == RST_STREAM)?.code()
    }

    fn gone(&self) -> Option<u32> {
        self.frames.iter().rfind(|frame| frame.kind == GOAWAY)?.code()
    }

    fn has_ended(&self, stream: u32) -> bool {
        self.frames.iter().any(|frame| frame.stream == stream && frame.ends())
    }
}

/// A request without a body for this path, and more fields.
fn request(path: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let usual = [(":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", path)];
    usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A complete head of the stream of the case.
fn head<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, CASE, block(fields))
}

/// A head of the stream of the case that something follows.
fn open_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, CASE, block(fields))
}

async fn run(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in &cases {
        // One for each: what a case leaves under way would be counted for the next.
        let gateway = Gateway::start();
        if let Err(why) = try_case(&gateway, case).await {
            wrong.push(format!("{} ({}): {why}", case.id, case.source));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

async fn try_case(gateway: &Gateway, case: &Case) -> Result<(), String> {
    let (heads, before) = (gateway.app.requests(), gateway.app.seen().len());
    let path = format!("/behind/{}", case.id);
    let behind = [(":method", "GET"), (":scheme", "http"), (":authority", "behind.test"), (":path", &path)];
    let settings = frame(SETTINGS, 0, 0, []);
    let behind_frame = frame(HEADERS, END_HEADERS | END_STREAM, BEHIND, block(&behind));
    let bytes = [MARK, &settings, &case.bytes, &behind_frame].concat();
    let received = tokio::time::timeout(BOUND, exchange(gateway, &bytes, &case.expect)).await;
    let received = received.map_err(|_| format!("neither answered nor ended within {BOUND:?}"))??;
    gateway.barrier().await?;
    let heads = gateway.app.requests().saturating_sub(heads + 1);
    let mut seen = gateway.app.seen().split_off(before);
    seen.pop();
    let told = format!("\n    received: {received:?}\n    seen: {seen:?}");
    let behind = format!("GET {path} HTTP/1.1\r\nHost: behind.test\r\n\r\n");
    let goes_on = |before: &[u8]| {
        if received.status(BEHIND) != Some(200) {
            return Err("the request behind was not answered".to_owned());
        }
        let before = strict::read(before).map_err(|why| format!("the table is wrong: {why}"))?;
        let meant = [before, strict::read(behind.as_bytes())?].concat();
        let mut seen = seen.clone();
        // Two streams have no order.
        seen.sort_by_key(|seen| seen.target == path);
        same_requests(&meant, &seen)
    };
    let nothing =
        |most: u64| if heads <= most { Ok(()) } else { Err(format!("the application saw {heads} heads")) };
    let verdict = match &case.expect {
        Expect::Reset(codes) => {
            one_of(received.reset(CASE), codes).and_then(|()| nothing(1)).and_then(|()| goes_on(b""))
        }
        Expect::Malformed if received.gone().is_some() => {
            one_of(received.gone(), &[PROTOCOL_ERROR]).and_then(|()| nothing(0))
        }
        Expect::Malformed => one_of(received.reset(CASE), &[PROTOCOL_ERROR])
            .and_then(|()| nothing(1))
            .and_then(|()| goes_on(b"")),
        Expect::Gone(codes) => one_of(received.gone(), codes).and_then(|()| nothing(0)),
        Expect::Denied(statuses) => {
            one_of(received.status(CASE), statuses).and_then(|()| nothing(1)).and_then(|()| goes_on(b""))
        }
        Expect::Seen(bytes) => {
            one_of(received.status(CASE), &[200]).and_then(|()| goes_on(&named(bytes, case.id)))
        }
        Expect::Broken if received.status(CASE).is_some_and(|status| status < 400) => {
            Err("it was answered".into())
        }
        Expect::Broken if received.gone().is_some() && seen.is_empty() => Ok(()),
        Expect::Broken => goes_on(b""),
        Expect::Announced(_) if seen.len() < 2 => goes_on(b""),
        Expect::Announced(bytes) => goes_on(&named(bytes, case.id)),
        Expect::Survived(most) => nothing(most + 1).and_then(|()| match received.gone() {
            Some(_) => Ok(()),
            None if received.is_over => Ok(()),
            None => one_of(received.status(BEHIND), &[200]),
        }),
    };
    verdict.map_err(|why| format!("{why}{told}"))
}

fn one_of<T: Copy + PartialEq + std::fmt::Debug>(is: Option<T>, of: &[T]) -> Result<(), String> {
    if is.as_ref().is_some_and(|is| of.contains(is)) {
        Ok(())
    } else {
        Err(format!("{is:?} instead of {of:?}"))
    }
}

/// Sends bytes, and reads until both streams have ended, or the connection.
async fn exchange(gateway: &Gateway, bytes: &[u8], expect: &Expect) -> Result<Received, String> {
    let stream = TcpStream::connect(gateway.phoenix.address()).await.map_err(|error| error.to_string())?;
    let (mut reading, mut writing) = stream.into_split();
    let mut received = Received::default();
    let sending = async {
        let _ = writing.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut ahead = Vec::new();
        let mut space = vec![0; 16 * 1024];
        let waits_for_case = !matches!(expect, Expect::Survived(_));
        while !(received.has_ended(BEHIND) && (received.has_ended(CASE) || !waits_for_case)) {
            let Ok(count @ 1..) = reading.read(&mut space).await else {
                received.is_over = true;
                return;
            };
            ahead.extend_from_slice(&space[..count]);
            while let Some(frame) = Frame::take(&mut ahead) {
                received.frames.push(frame);
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = read => {}
    }
    Ok(received)
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_end_at_the_gateway() {
    run([
        messages::pseudo(),
        messages::hosts(),
        messages::fields(),
        messages::lengths(),
        messages::trailers(),
    ]
    .concat())
    .await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_end_the_connection() {
    run(wire::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn floods_are_bounded() {
    run(floods::cases()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_announced_as_empty_is_waited_for() {
    let gateway = Gateway::start();
    let mut stream = TcpStream::connect(gateway.phoenix.address()).await.unwrap();
    let mut fields = request("/empty", &[("content-length", "0")]);
    "POST".clone_into(&mut fields[0].1);
    let other = frame(HEADERS, END_HEADERS | END_STREAM, BEHIND, block(&request("/behind", &[])));
    stream
        .write_all(&[MARK, &frame(SETTINGS, 0, 0, []), &open_head(&fields), &other].concat())
        .await
        .unwrap();
    let mut received = Received::default();
    let mut ahead = Vec::new();
    // The other one is answered while this one is still open.
    read_until(&mut stream, &mut ahead, &mut received, |received| received.has_ended(BEHIND)).await;
    gateway.barrier().await.unwrap();
    stream.write_all(&frame(DATA, END_STREAM, CASE, "GET /smuggled HTTP/1.1\r\n\r\n")).await.unwrap();
    read_until(&mut stream, &mut ahead, &mut received, |received| received.has_ended(CASE)).await;
    assert_eq!(received.reset(CASE), Some(PROTOCOL_ERROR), "{received:?}");
    let targets: Vec<String> = gateway.app.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/behind", "/barrier"]);
}

async fn read_until(
    stream: &mut TcpStream,
    ahead: &mut Vec<u8>,
    received: &mut Received,
    done: impl Fn(&Received) -> bool,
) {
    let read = async {
        let mut space = vec![0; 16 * 1024];
        while !done(received) {
            let count = stream.read(&mut space).await.unwrap();
            assert!(count > 0, "the connection ended: {received:?}");
            ahead.extend_from_slice(&space[..count]);
            while let Some(frame) = Frame::take(ahead) {
                received.frames.push(frame);
            }
        }
    };
    tokio::time::timeout(BOUND, read).await.unwrap();
}
