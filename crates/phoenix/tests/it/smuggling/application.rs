//! Answers of an application that two readers may understand differently: the client gets an error or a connection that
//! breaks off, never another boundary, and nobody else gets what was left on the way.

use std::time::Duration;

use phoenix_testkit::upstream::{Script, Step};
use phoenix_testkit::wait;

use super::answers::{self, Answer, show};
use super::harness::Gateway;

/// Stands in whatever nobody must get.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
/// Longest wait for the application to have sent all.
const BOUND: Duration = Duration::from_secs(20);
/// Between an answer and what the application sends behind it.
const LATER: Duration = Duration::from_millis(30);

/// What the client must get.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// An error that names the application.
    Bad,
    /// This status and body.
    Whole(u16, &'static str),
    /// An error, an answer that visibly breaks off, or a connection that ends.
    Broken,
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Case {
    id: &'static str,
    source: &'static str,
    method: &'static str,
    script: Script,
    expect: Expect,
    /// Whether the client asks for something else on the same connection, which may go to the same of the application.
    asks_on: bool,
}

/// Answered with these bytes; the connection stays open.
fn case(id: &'static str, source: &'static str, expect: Expect, answer: impl Into<String>) -> Case {
    Case { id, source, method: "GET", script: Script::raw(answer.into()), expect, asks_on: true }
}

/// A 200 with these lines of fields and this body.
fn ok(id: &'static str, source: &'static str, expect: Expect, fields: &str, body: &str) -> Case {
    case(id, source, expect, format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}"))
}

/// A 200 in chunks that are these.
fn chunks(id: &'static str, source: &'static str, expect: Expect, body: &str) -> Case {
    ok(id, source, expect, "Transfer-Encoding: chunked\r\n", body)
}

impl Case {
    /// The application closes the connection behind it.
    fn closed(mut self) -> Self {
        self.script.steps.push(Step::Close);
        self
    }

    /// The application sends the poison behind it, a little later.
    fn then_poison(mut self) -> Self {
        self.script.steps.extend([Step::Pause(LATER), Step::Send(POISON.into())]);
        // While a request is under way, nobody can tell its answer from one that was sent unasked.
        self.asks_on = false;
        self
    }

    fn asked_with(self, method: &'static str) -> Self {
        Self { method, ..self }
    }
}

const HELLO: Expect = Expect::Whole(200, "hello");

fn lengths() -> Vec<Case> {
    let length = |id, value: &str| {
        ok(id, "RFC 9112 6.3 item 5", Expect::Bad, &format!("Content-Length: {value}\r\n"), "hello")
    };
    vec![
        ok("plain", "RFC 9112 6.3", HELLO, "Content-Length: 5\r\n", "hello"),
        ok(
            "two-lengths",
            "RFC 9112 6.3 item 5",
            Expect::Bad,
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "hello!",
        ),
        length("length-list", "5, 6"),
        length("length-plus", "+5"),
        length("length-minus", "-5"),
        length("length-hexadecimal", "0x5"),
        length("length-word", "five"),
        length("length-empty", ""),
        length("length-64-bits", "18446744073709551621"),
        ok("short", "RFC 9112 8", Expect::Broken, "Content-Length: 10\r\n", "hello").closed(),
        ok("none-then-closed", "RFC 9112 6.3 item 8", HELLO, "", "hello").closed(),
        ok("long", "RFC 9112 6.3", HELLO, "Content-Length: 5\r\n", "hello and more"),
        ok(
            "long-by-an-answer",
            "Response queue poisoning (Kettle 2021)",
            HELLO,
            "Content-Length: 5\r\n",
            &format!("hello{POISON}"),
        ),
        ok("answer-later", "Response queue poisoning (Kettle 2021)", HELLO, "Content-Length: 5\r\n", "hello")
            .then_poison(),
        ok(
            "both",
            "RFC 9112 6.3 item 3",
            HELLO,
            "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n",
            &format!("5\r\nhello\r\n0\r\n\r\n{POISON}"),
        ),
        ok(
            "both-short",
            "RFC 9112 6.3 item 3",
            HELLO,
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ]
}

fn codings() -> Vec<Case> {
    let coding = |id, value: &str| {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        ok(id, "RFC 9112 6.1", Expect::Bad, &fields, "5\r\nhello\r\n0\r\n\r\n").closed()
    };
    let broken = |id, body: &str| chunks(id, "RFC 9112 7.1", Expect::Broken, body).closed();
    vec![
        coding("coding-gzip", "gzip"),
        coding("coding-gzip-chunked", "gzip, chunked"),
        coding("coding-identity", "identity"),
        coding("coding-twice", "chunked, chunked"),
        coding("coding-unknown", "xchunked"),
        coding("coding-two-lines", "chunked\r\nTransfer-Encoding: identity"),
        case(
            "coding-in-http10",
            "RFC 9112 6.1",
            Expect::Broken,
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
        .closed(),
        chunks("chunks", "RFC 9112 7.1", HELLO, "5\r\nhello\r\n0\r\n\r\n"),
        chunks("chunks-extension", "RFC 9112 7.1.1", HELLO, "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        chunks("chunks-long", "RFC 9112 7.1", HELLO, &format!("5\r\nhello\r\n0\r\n\r\n{POISON}")),
        chunks("chunks-answer-later", "Response queue poisoning (2021)", HELLO, "5\r\nhello\r\n0\r\n\r\n")
            .then_poison(),
        chunks(
            "chunks-trailers",
            "RFC 9110 6.5.1",
            HELLO,
            "5\r\nhello\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\nTransfer-Encoding: x\r\n\r\n",
        ),
        broken("chunks-no-size", "\r\nhello\r\n0\r\n\r\n"),
        broken("chunks-prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
        broken("chunks-minus", "-5\r\nhello\r\n0\r\n\r\n"),
        broken("chunks-64-bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        broken("chunks-line-feed", "5\nhello\n0\n\n"),
        broken("chunks-extension-line-feed", "5;a\nhello\r\n0\r\n\r\n"),
        broken("chunks-data-too-long", "5\r\nhello!\r\n0\r\n\r\n"),
        broken("chunks-no-last", "5\r\nhello\r\n"),
        broken("chunks-no-last-line", "5\r\nhello\r\n0\r\n"),
        broken("chunks-cut", "5\r\nhel"),
    ]
}

fn heads() -> Vec<Case> {
    let bad = |id, source, head: &str| {
        case(id, source, Expect::Bad, format!("{head}Content-Length: 5\r\n\r\nhello")).closed()
    };
    let line = |id, line: &str| bad(id, "RFC 9112 4", &format!("{line}\r\n"));
    let field = |id, source, field: &str| bad(id, source, &format!("HTTP/1.1 200 OK\r\n{field}\r\n"));
    vec![
        line("line-short-status", "HTTP/1.1 20 OK"),
        line("line-long-status", "HTTP/1.1 2000 OK"),
        line("line-word-status", "HTTP/1.1 abc OK"),
        line("line-small-status", "HTTP/1.1 099 OK"),
        line("line-version-2", "HTTP/2.0 200 OK"),
        line("line-version-9", "HTTP/1.9 200 OK"),
        line("line-other-protocol", "ICY 200 OK"),
        line("line-no-space", "HTTP/1.1200 OK"),
        line("line-nul", "HTTP/1.1 200 O\0K"),
        case("line-none", "RFC 1945 5 (HTTP/0.9)", Expect::Bad, "<html>hello</html>").closed(),
        case("nothing", "RFC 9112 8", Expect::Bad, "").closed(),
        case("head-cut", "RFC 9112 8", Expect::Bad, "HTTP/1.1 200 OK\r\nContent-Le").closed(),
        field("field-folded", "RFC 9112 5.2", "X-A: b\r\n c"),
        field("field-space-before-colon", "RFC 9112 5.1", "X-A : b"),
        field("field-no-colon", "RFC 9112 5", "X-A"),
        field("field-empty-name", "RFC 9110 5.1", ": b"),
        field("field-nul", "RFC 9110 5.5", "X-A: b\0c"),
        field("field-carriage-return", "RFC 9110 5.5", "X-A: b\rSet-Cookie: c=d"),
        field("field-length-space", "RFC 9112 5.1", "Content-Length : 6"),
        field("fields-too-large", "RFC 9110 5.4", &format!("X-A: {}", "b".repeat(100_000))),
        bad("fields-too-many", "RFC 9110 5.4", &format!("HTTP/1.1 200 OK\r\n{}", "X-A: b\r\n".repeat(200))),
        case(
            "line-feeds",
            "RFC 9112 2.2: MAY be recognised",
            HELLO,
            "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\nhello",
        ),
    ]
}

fn statuses() -> Vec<Case> {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    vec![
        case("interim", "RFC 9110 15.2", HELLO, format!("{interim}{answer}")),
        case("interim-storm", "RFC 9110 15.2", HELLO, format!("{}{answer}", interim.repeat(2000))),
        case(
            "interim-length",
            "RFC 9110 15.2",
            HELLO,
            format!("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n{answer}"),
        ),
        case(
            "switching-unasked",
            "RFC 9110 15.2.2",
            Expect::Bad,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        case(
            "switching-without-upgrade",
            "RFC 9110 15.2.2",
            Expect::Bad,
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ),
    ]
}

fn without_body() -> Vec<Case> {
    vec![
        case("no-content", "RFC 9112 6.3 item 1", Expect::Whole(204, ""), "HTTP/1.1 204 No Content\r\n\r\n"),
        case(
            "no-content-with-body",
            "RFC 9112 6.3 item 1",
            Expect::Whole(204, ""),
            format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"),
        ),
        case(
            "no-content-with-length",
            "RFC 9110 8.6",
            Expect::Whole(204, ""),
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        ),
        case(
            "no-content-with-chunks",
            "RFC 9112 6.1",
            Expect::Whole(204, ""),
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        case(
            "not-modified",
            "RFC 9110 15.4.5",
            Expect::Whole(304, ""),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ),
        case(
            "not-modified-with-body",
            "RFC 9112 6.3 item 1",
            Expect::Whole(304, ""),
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{POISON}"),
        ),
        ok("head", "RFC 9110 9.3.2", Expect::Whole(200, ""), "Content-Length: 5\r\n", "").asked_with("HEAD"),
        ok(
            "head-with-body",
            "Response queue poisoning (2021)",
            Expect::Whole(200, ""),
            "Content-Length: 5\r\n",
            POISON,
        )
        .asked_with("HEAD"),
        ok(
            "head-with-chunks",
            "RFC 9112 6.3 item 1",
            Expect::Whole(200, ""),
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        )
        .asked_with("HEAD"),
        ok(
            "head-then-answer",
            "Response queue poisoning (2021)",
            Expect::Whole(200, ""),
            "Content-Length: 5\r\n",
            "",
        )
        .then_poison()
        .asked_with("HEAD"),
        ok(
            "closes",
            "RFC 9112 9.6",
            HELLO,
            "Connection: close\r\nContent-Length: 5\r\n",
            &format!("hello{POISON}"),
        ),
    ]
}

async fn try_case(gateway: &Gateway, case: &Case) -> Result<(), String> {
    let path = format!("/{}", case.id);
    gateway.app.on(&path, case.script.clone());
    let mut asked = format!("{} {path} HTTP/1.1\r\nHost: app.test\r\n", case.method);
    if case.asks_on {
        asked.push_str(&format!("\r\nGET /behind{path} HTTP/1.1\r\nHost: app.test\r\n"));
    }
    asked.push_str("Connection: close\r\n\r\n");
    let ended = || gateway.app.played() + gateway.app.gone();
    let before = ended();
    let received = gateway.exchange(asked.as_bytes(), false).await?;
    let told = || format!("\n    received: {}", show(&received));
    let answers = answers::read(&received, |at| at == 0 && case.method == "HEAD")
        .map_err(|why| format!("{why}{}", told()))?;
    judged(case, &answers).map_err(|why| format!("{why}{}", told()))?;
    // What comes later is there now.
    wait::until(BOUND, "the application to have sent all", || async { ended() > before }).await;
    for other in 0..3 {
        let target = format!("/others/{}/{other}", case.id);
        let asked = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
        let received = gateway.exchange(asked.as_bytes(), false).await?;
        let answers = answers::read(&received, |_| false)?;
        if answers.first().and_then(Answer::echoed_target).as_deref() != Some(target.as_str()) {
            return Err(format!("another client got {}", show(&received)));
        }
    }
    Ok(())
}

fn judged(case: &Case, answers: &[Answer]) -> Result<(), String> {
    let Some((answer, behind)) = answers.split_first() else {
        let is_right = matches!(case.expect, Expect::Broken);
        return if is_right { Ok(()) } else { Err("no answer".into()) };
    };
    let is_bad = answer.status == 502 && answer.field("proxy-status").is_some();
    let is_right = match case.expect {
        Expect::Bad => is_bad,
        Expect::Whole(status, body) => {
            answer.status == status && answer.body == body.as_bytes() && !answer.is_cut
        }
        Expect::Broken => is_bad || answer.is_cut && behind.is_empty(),
    };
    if !is_right {
        return Err(format!("the client got {answer:?}"));
    }
    match behind {
        [] if matches!(case.expect, Expect::Broken) || !case.asks_on => Ok(()),
        [behind] if behind.echoed_target() == Some(format!("/behind/{}", case.id)) => Ok(()),
        behind => Err(format!("the request behind it got {behind:?}")),
    }
}

async fn run(cases: Vec<Case>) {
    let gateway = Gateway::start();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(why) = try_case(&gateway, case).await {
            wrong.push(format!("{} ({}): {why}", case.id, case.source));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn lengths_of_answers_are_clear() {
    run(lengths()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_answers_are_read_strictly() {
    run(codings()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn heads_of_answers_are_read_strictly() {
    run(heads()).await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_leave_nothing_behind() {
    run([statuses(), without_body()].concat()).await;
}
