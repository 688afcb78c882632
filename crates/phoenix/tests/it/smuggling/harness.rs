//! Sends the bytes of a case to Phoenix, with a request of its own behind them, and judges what the application saw and
//! what the client was answered.

use std::time::Duration;

use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::upstream::{Seen, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answers::{self, Answer, show};
use super::strict::{self, Meaning};
use crate::process::support::phoenix;

/// Longest time of one case.
const BOUND: Duration = Duration::from_secs(20);
/// Stands for the id of a case in its bytes.
const ID: &[u8] = b"ID";
/// Fields that belong to one connection (RFC 9110 section 7.6.1), or are answered by the gateway itself.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    "expect",
    "proxy-connection",
    "content-length",
];
/// Fields that the gateway adds.
const ADDED: [&str; 9] = [
    "host",
    "via",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "content-length",
    "transfer-encoding",
];

/// What must become of a case.
#[derive(Clone, Debug)]
enum Expect {
    /// Answered with one of these statuses, and the connection ends: nothing of it, and nothing behind it, reaches the
    /// application.
    Refused(&'static [u16]),
    /// Answered with one of these statuses, and nothing of it reaches the application; where it ends is beyond doubt, so
    /// what follows is answered as itself or not at all.
    Denied(&'static [u16]),
    /// The application sees what the strict reader makes of these bytes, and the client gets the answers to that.
    Seen(Vec<u8>),
    /// Its body breaks off: the application never sees the end of it, and nothing behind it.
    Broken,
}

/// What follows on the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// The next request is answered as itself.
    Answered,
    /// The connection ends after the case.
    Closes,
    /// The client sends nothing more.
    Leaves,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    id: &'static str,
    /// Where the rule or the attack is written down.
    source: &'static str,
    bytes: Vec<u8>,
    expect: Expect,
    then: Then,
}

impl Case {
    fn new(id: &'static str, source: &'static str, bytes: impl AsRef<[u8]>, expect: Expect) -> Self {
        let bytes = named(bytes.as_ref(), id);
        Self { id, source, bytes, expect, then: Then::Answered }
    }

    /// Refused, and the connection ends.
    pub(super) fn refused(
        id: &'static str,
        source: &'static str,
        statuses: &'static [u16],
        bytes: impl AsRef<[u8]>,
    ) -> Self {
        Self::new(id, source, bytes, Expect::Refused(statuses))
    }

    /// Refused; the connection may go on.
    pub(super) fn denied(
        id: &'static str,
        source: &'static str,
        statuses: &'static [u16],
        bytes: impl AsRef<[u8]>,
    ) -> Self {
        Self::new(id, source, bytes, Expect::Denied(statuses))
    }

    /// Reaches the application as it was sent.
    pub(super) fn same(id: &'static str, source: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        Self::new(id, source, bytes, Expect::Seen(named(bytes, id)))
    }

    /// Reaches the application as if `clean` had been sent.
    pub(super) fn cleaned(
        id: &'static str,
        source: &'static str,
        bytes: impl AsRef<[u8]>,
        clean: impl AsRef<[u8]>,
    ) -> Self {
        Self::new(id, source, bytes, Expect::Seen(named(clean.as_ref(), id)))
    }

    /// Breaks off.
    pub(super) fn broken(id: &'static str, source: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        Self::new(id, source, bytes, Expect::Broken)
    }

    /// The connection must end after it.
    pub(super) fn closes(self) -> Self {
        Self { then: Then::Closes, ..self }
    }

    /// The client ends its side behind it.
    pub(super) fn leaves(self) -> Self {
        Self { then: Then::Leaves, ..self }
    }

    pub(super) fn id(&self) -> &'static str {
        self.id
    }

    fn fail(&self, why: &str) -> String {
        format!("{} ({}): {why}\n    sent: {}", self.id, self.source, show(&self.bytes))
    }
}

pub(super) fn named(bytes: &[u8], id: &str) -> Vec<u8> {
    let mut named = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(ID.len()).position(|window| window == ID) {
        named.extend_from_slice(&rest[..at]);
        named.extend_from_slice(id.as_bytes());
        rest = &rest[at + ID.len()..];
    }
    named.extend_from_slice(rest);
    named
}

/// Phoenix in front of an application that records what it sees.
pub(super) struct Gateway {
    pub(super) phoenix: PhoenixProcess,
    pub(super) app: Upstream,
}

impl Gateway {
    pub(super) fn start() -> Self {
        let app = Upstream::start().unwrap();
        let phoenix = phoenix().arg("serve").env("PHOENIX_UPSTREAM", app.origin()).start().unwrap();
        Self { phoenix, app }
    }

    /// Sends bytes, and returns what came back until the end of the connection.
    pub(super) async fn exchange(&self, bytes: &[u8], leaves: bool) -> Result<Vec<u8>, String> {
        let exchange = async {
            let mut stream =
                TcpStream::connect(self.phoenix.address()).await.map_err(|error| error.to_string())?;
            // Who is refused early may not be able to send all.
            let _ = stream.write_all(bytes).await;
            if leaves {
                let _ = stream.shutdown().await;
            }
            let mut received = Vec::new();
            let mut space = [0; 4096];
            // A reset ends a connection, too.
            while let Ok(count @ 1..) = stream.read(&mut space).await {
                received.extend_from_slice(&space[..count]);
            }
            Ok(received)
        };
        let exchanged = tokio::time::timeout(BOUND, exchange).await;
        exchanged.map_err(|_| format!("the connection was still open after {BOUND:?}"))?
    }

    /// Runs a table, one case after the other, and fails with all that went wrong.
    #[expect(clippy::print_stdout, reason = "the benchmark of the proxy adds the numbers of cases up")]
    pub(super) async fn run(&self, cases: Vec<Case>) {
        let mut wrong = Vec::new();
        for case in &cases {
            if let Err(why) = self.try_case(case).await {
                wrong.push(case.fail(&why));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        println!("HTTP/1.1: {} cases", cases.len());
    }

    async fn try_case(&self, case: &Case) -> Result<(), String> {
        let (heads, before) = (self.app.requests(), self.app.seen().len());
        let follow =
            format!("GET /behind/{} HTTP/1.1\r\nHost: behind.test\r\nConnection: close\r\n\r\n", case.id)
                .into_bytes();
        let mut bytes = case.bytes.clone();
        if case.then != Then::Leaves {
            bytes.extend_from_slice(&follow);
        }
        let received = self.exchange(&bytes, case.then == Then::Leaves).await?;
        // Whatever was still on its way to the application is there before this one is.
        self.barrier().await?;
        let heads = self.app.requests().saturating_sub(heads + 1);
        let mut seen = self.app.seen().split_off(before);
        seen.pop();
        let told = format!("\n    answered: {}\n    seen: {seen:?}", show(&received));
        verdict(case, &follow, &received, heads, &seen).map_err(|why| format!("{why}{told}"))
    }

    pub(super) async fn barrier(&self) -> Result<(), String> {
        let bytes = b"GET /barrier HTTP/1.1\r\nHost: barrier.test\r\nConnection: close\r\n\r\n";
        let answer = self.exchange(bytes, false).await?;
        if answer.starts_with(b"HTTP/1.1 200 ") {
            Ok(())
        } else {
            Err(format!("no barrier: {}", show(&answer)))
        }
    }
}

fn verdict(case: &Case, follow: &[u8], received: &[u8], heads: u64, seen: &[Seen]) -> Result<(), String> {
    match &case.expect {
        Expect::Refused(statuses) => {
            nothing(heads)?;
            let answers = answers::read(received, |_| false)?;
            let [answer] = answers.as_slice() else { return Err(format!("{} answers", answers.len())) };
            status(answer, statuses)
        }
        Expect::Denied(statuses) => {
            let is_head = case.bytes.starts_with(b"HEAD ");
            let answers = answers::read(received, |at| is_head && at == 0)?;
            let (answer, rest) = answers.split_first().ok_or("no answer")?;
            status(answer, statuses)?;
            if rest.is_empty() {
                return nothing(heads);
            }
            same(&strict::read(follow)?, seen, rest)
        }
        Expect::Seen(bytes) => {
            let mut meant = strict::read(bytes).map_err(|why| format!("the table is wrong: {why}"))?;
            if case.then == Then::Answered {
                meant.extend(strict::read(follow)?);
            }
            if heads != meant.len() as u64 {
                return Err(format!("the application saw {heads} heads instead of {}", meant.len()));
            }
            let answers =
                answers::read(received, |at| meant.get(at).is_some_and(|meant| meant.method == "HEAD"))?;
            if case.then == Then::Leaves {
                // Who has left need not be answered.
                return same_requests(&meant, seen);
            }
            same(&meant, seen, &answers)
        }
        Expect::Broken => {
            if !seen.is_empty() {
                return Err("the application saw a whole request".into());
            }
            let answers = answers::read(received, |_| false)?;
            let is_success = answers.iter().any(|answer| answer.status < 400);
            if answers.len() > 1 || is_success { Err(format!("answered with {answers:?}")) } else { Ok(()) }
        }
    }
}

fn nothing(heads: u64) -> Result<(), String> {
    if heads == 0 { Ok(()) } else { Err(format!("the application saw {heads} heads")) }
}

fn status(answer: &Answer, statuses: &[u16]) -> Result<(), String> {
    if statuses.contains(&answer.status) { Ok(()) } else { Err(format!("answered with {}", answer.status)) }
}

fn same(meant: &[Meaning], seen: &[Seen], answers: &[Answer]) -> Result<(), String> {
    same_requests(meant, seen)?;
    if answers.len() != meant.len() {
        return Err(format!("{} answers to {} requests", answers.len(), meant.len()));
    }
    for (meant, answer) in meant.iter().zip(answers) {
        let target = answer.echoed_target();
        let is_right = meant.method == "HEAD" || target.as_deref() == Some(&meant.target);
        if answer.status != 200 || !is_right {
            return Err(format!("{} was answered with {} for {target:?}", meant.target, answer.status));
        }
    }
    Ok(())
}

pub(super) fn same_requests(meant: &[Meaning], seen: &[Seen]) -> Result<(), String> {
    if meant.len() != seen.len() {
        return Err(format!("the application saw {} requests instead of {}", seen.len(), meant.len()));
    }
    meant.iter().zip(seen).try_for_each(|(meant, seen)| same_request(meant, seen))
}

/// Whether the application saw what was meant, read strictly from the bytes that it got.
fn same_request(meant: &Meaning, seen: &Seen) -> Result<(), String> {
    let raw = [seen.head.as_slice(), seen.raw_body.as_slice()].concat();
    let read = strict::read(&raw)
        .map_err(|why| format!("what was passed on is in doubt ({why}): {}", show(&raw)))?;
    let [seen] = read.as_slice() else { return Err(format!("passed on as {} requests", read.len())) };
    let differs = |what: &str| Err(format!("another {what} was passed on: {}", show(&raw)));
    if (&meant.method, &meant.target, "HTTP/1.1") != (&seen.method, &seen.target, &seen.version) {
        return differs("request line");
    }
    if meant.body != seen.body {
        return differs("body");
    }
    if meant.trailers != seen.trailers {
        return differs("trailer");
    }
    if !meant.all("host").is_empty() && meant.all("host") != seen.all("host") {
        return differs("host");
    }
    let kept = |meaning: &Meaning| {
        let is_out = |name: &str| OF_CONNECTION.contains(&name) || ADDED.contains(&name);
        let mut fields: Vec<_> = meaning.fields.iter().filter(|(name, _)| !is_out(name)).cloned().collect();
        // The order of fields with different names means nothing (RFC 9110 section 5.3).
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        fields
    };
    if kept(meant) != kept(seen) {
        return differs("field");
    }
    Ok(())
}
