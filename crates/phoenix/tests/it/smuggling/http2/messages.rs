//! Requests that HTTP/2 forbids, and those whose meaning changes on the way to HTTP/1.1.

use super::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};
use super::{CASE, Case, Expect, head, open_head, request};

const PSEUDO: &str = "RFC 9113 8.3";
const NAME: &str = "RFC 9113 8.2.1";
const CONNECTION: &str = "RFC 9113 8.2.2";
const LENGTH: &str = "RFC 9113 8.1.1";
const WORSE: &str = "HTTP/2: The Sequel is Always Worse (Kettle 2021)";
const MALFORMED: Expect = Expect::Malformed;
const BAD: Expect = Expect::Denied(&[400]);

/// These fields alone, each a name and a value.
fn raw(id: &'static str, source: &'static str, expect: Expect, fields: &[(&str, &str)]) -> Case {
    Case::new(id, source, head(fields), expect)
}

/// A usual request, and these fields.
fn with(id: &'static str, source: &'static str, expect: Expect, more: &[(&str, &str)]) -> Case {
    Case::new(id, source, head(&request(&format!("/{id}"), more)), expect)
}

/// As HTTP/1.1.
fn seen(fields: &str) -> Expect {
    Expect::Seen(format!("GET /ID HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n").into_bytes())
}

pub(super) fn pseudo() -> Vec<Case> {
    let (m, s, a, p) = ((":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/x"));
    let path = |id, source, expect, path| raw(id, source, expect, &[m, s, a, (":path", path)]);
    let method = |id, source, expect, method| raw(id, source, expect, &[(":method", method), s, a, p]);
    let authority = |id, source, expect, host| raw(id, source, expect, &[m, s, (":authority", host), p]);
    vec![
        with("plain", PSEUDO, seen(""), &[]),
        raw("no-method", PSEUDO, MALFORMED, &[s, a, p]),
        raw("no-scheme", PSEUDO, MALFORMED, &[m, a, p]),
        raw("no-path", PSEUDO, MALFORMED, &[m, s, a]),
        raw("no-authority", "RFC 9113 8.3.1, RFC 9112 3.2", BAD, &[m, s, p]),
        raw("two-methods", PSEUDO, MALFORMED, &[m, m, s, a, p]),
        raw("two-schemes", PSEUDO, MALFORMED, &[m, s, s, a, p]),
        raw("two-paths", WORSE, MALFORMED, &[m, s, a, p, (":path", "/evil")]),
        raw("two-authorities", PSEUDO, MALFORMED, &[m, s, a, (":authority", "evil.test"), p]),
        raw("pseudo-after-field", PSEUDO, MALFORMED, &[m, s, a, ("x-a", "b"), p]),
        raw("pseudo-unknown", PSEUDO, MALFORMED, &[m, s, a, p, (":evil", "b")]),
        raw("pseudo-of-answer", PSEUDO, MALFORMED, &[m, s, a, p, (":status", "200")]),
        raw(
            "pseudo-protocol",
            "RFC 8441 4: not offered",
            MALFORMED,
            &[(":method", "CONNECT"), (":protocol", "websocket"), s, a, p],
        ),
        path("path-empty", PSEUDO, MALFORMED, ""),
        path("path-relative", PSEUDO, MALFORMED, "evil"),
        path(
            "path-query-alone",
            "RFC 3986 6.2.3",
            Expect::Seen(b"GET /?ID HTTP/1.1\r\nHost: app.test\r\n\r\n".to_vec()),
            "?path-query-alone",
        ),
        path("path-asterisk-get", PSEUDO, BAD, "*"),
        path("path-absolute", WORSE, MALFORMED, "http://evil.test/x"),
        path("path-space", WORSE, MALFORMED, "/x HTTP/1.1"),
        path(
            "path-line-end",
            "CVE-2021-33193 (Apache), Kettle 2021",
            MALFORMED,
            "/x HTTP/1.1\r\nHost: evil.test\r\nX: y",
        ),
        path("path-nul", WORSE, MALFORMED, "/x\0"),
        path("path-tab", WORSE, MALFORMED, "/x\ty"),
        path("path-above-root", "RFC 3986 5.2.4", BAD, "/../x"),
        method("method-space", "CVE-2021-33193 (Apache), Kettle 2021", MALFORMED, "GET /evil HTTP/1.1"),
        method("method-line-end", "CVE-2021-33193 (Apache)", MALFORMED, "GET / HTTP/1.1\r\nX: y"),
        method("method-empty", PSEUDO, MALFORMED, ""),
        method("method-trace", "RFC 9110 9.3.8", Expect::Denied(&[405]), "TRACE"),
        raw("connect-with-path", "RFC 9113 8.5", MALFORMED, &[(":method", "CONNECT"), s, a, p]),
        raw(
            "connect",
            "RFC 9113 8.5: no gateway is a tunnel",
            Expect::Denied(&[400, 405]),
            &[(":method", "CONNECT"), a],
        ),
        raw(
            "scheme-address",
            "Kettle 2021: scheme injection",
            MALFORMED,
            &[m, (":scheme", "http://evil.test/?"), a, p],
        ),
        raw("scheme-line-end", WORSE, MALFORMED, &[m, (":scheme", "http\r\nX: y"), a, p]),
        authority("authority-user", "RFC 9113 8.3.1", BAD, "user@app.test"),
        authority("authority-path", WORSE, MALFORMED, "app.test/evil"),
        authority("authority-space", WORSE, MALFORMED, "app.test evil"),
        authority("authority-line-end", WORSE, MALFORMED, "app.test\r\nX: y"),
        authority("authority-empty", "RFC 9113 8.3.1", MALFORMED, ""),
        authority("authority-port", "RFC 3986 3.2.3", BAD, "app.test:99999"),
    ]
}

pub(super) fn hosts() -> Vec<Case> {
    let (m, s, a, p) = ((":method", "GET"), (":scheme", "http"), (":authority", "app.test"), (":path", "/x"));
    vec![
        raw("host-differs", "RFC 9113 8.3.1", BAD, &[m, s, a, p, ("host", "evil.test")]),
        raw("host-twice", "RFC 9112 3.2", BAD, &[m, s, p, ("host", "app.test"), ("host", "evil.test")]),
        with("host-equal", "RFC 9113 8.3.1", seen(""), &[("host", "app.test")]),
        raw(
            "host-alone",
            "RFC 9113 8.3.1",
            seen(""),
            &[m, s, (":path", "/host-alone"), ("host", "app.test")],
        ),
    ]
}

pub(super) fn fields() -> Vec<Case> {
    vec![
        with("name-capital", NAME, MALFORMED, &[("X-A", "b")]),
        with("name-empty", NAME, MALFORMED, &[("", "b")]),
        with("name-space", NAME, MALFORMED, &[("x a", "b")]),
        with("name-colon", WORSE, MALFORMED, &[("x-a: b\r\nx-c", "d")]),
        with("name-colon-alone", WORSE, MALFORMED, &[("transfer-encoding:", "chunked")]),
        with("name-line-end", WORSE, MALFORMED, &[("x-a\r\nx-c", "d")]),
        with("name-nul", NAME, MALFORMED, &[("x-a\0", "b")]),
        with("name-not-ascii", NAME, MALFORMED, &[("x-\u{e9}", "b")]),
        with("value-line-end", WORSE, MALFORMED, &[("x-a", "b\r\ntransfer-encoding: chunked")]),
        with("value-line-feed", WORSE, MALFORMED, &[("x-a", "b\nx-c: d")]),
        with("value-carriage-return", WORSE, MALFORMED, &[("x-a", "b\rx-c: d")]),
        with("value-nul", NAME, MALFORMED, &[("x-a", "b\0c")]),
        with("value-spaces-around", NAME, seen("x-a: b\r\n"), &[("x-a", " b ")]),
        with(
            "cookie-in-pieces",
            "RFC 9113 8.2.3",
            seen("cookie: a=b; c=d\r\n"),
            &[("cookie", "a=b"), ("cookie", "c=d")],
        ),
        with(
            "coding",
            "Kettle 2021: H2.TE, CVE-2021-21295 (Netty)",
            MALFORMED,
            &[("transfer-encoding", "chunked")],
        ),
        with("coding-underscore", "CGI (RFC 3875 4.1.18)", seen(""), &[("transfer_encoding", "chunked")]),
        with("connection", CONNECTION, MALFORMED, &[("connection", "keep-alive")]),
        with("keep-alive", CONNECTION, MALFORMED, &[("keep-alive", "timeout=5")]),
        with("proxy-connection", CONNECTION, MALFORMED, &[("proxy-connection", "close")]),
        with("upgrade", CONNECTION, MALFORMED, &[("upgrade", "h2c")]),
        with("te-gzip", CONNECTION, MALFORMED, &[("te", "gzip")]),
        with("te-trailers", CONNECTION, seen(""), &[("te", "trailers")]),
        with(
            "settings-field",
            "h2c smuggling (Bishop Fox 2020)",
            seen(""),
            &[("http2-settings", "AAMAAABk")],
        ),
        with(
            "identity",
            "RFC 9110 17.1",
            seen(""),
            &[("x-phoenix-user-id", "1"), ("x_phoenix_role", "admin")],
        ),
        with("expect-other", "RFC 9110 10.1.1", Expect::Denied(&[417]), &[("expect", "x")]),
        Case::new("many-fields", "RFC 6585 5", many(), Expect::Denied(&[431])),
    ]
}

/// More fields than are taken, in as many frames as they need.
fn many() -> Vec<u8> {
    let block = block(&request("/x", &[("x-a", "b".repeat(9_000).as_str()); 2]));
    let (first, rest) = block.split_at(16_000);
    let mut frames = frame(HEADERS, END_STREAM, CASE, first);
    let mut rest = rest.chunks(16_000).peekable();
    while let Some(piece) = rest.next() {
        let flags = if rest.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(CONTINUATION, flags, CASE, piece));
    }
    frames
}

pub(super) fn lengths() -> Vec<Case> {
    let post = |id: &str, lengths: &[&str], data: &str| {
        let mut fields = request(&format!("/{id}"), &[]);
        "POST".clone_into(&mut fields[0].1);
        fields.extend(lengths.iter().map(|length| ("content-length".to_owned(), (*length).to_owned())));
        [open_head(&fields), frame(DATA, END_STREAM, CASE, data)].concat()
    };
    let as_post =
        |fields: &str| Expect::Seen(format!("POST /ID HTTP/1.1\r\nHost: app.test\r\n{fields}").into_bytes());
    let case =
        |id, source, lengths: &[&str], data, expect| Case::new(id, source, post(id, lengths, data), expect);
    vec![
        case("body", LENGTH, &["5"], "hello", as_post("Content-Length: 5\r\n\r\nhello")),
        case(
            "body-no-length",
            LENGTH,
            &[],
            "hello",
            as_post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ),
        case("length-too-small", "Kettle 2021: H2.CL", &["2"], "hello", Expect::Broken),
        case(
            "length-zero",
            "Kettle 2021: H2.CL",
            &["0"],
            "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            Expect::Broken,
        ),
        Case::new(
            "length-too-small-late",
            "Kettle 2021: H2.CL",
            {
                let mut fields = request("/length-too-small-late", &[("content-length", "2")]);
                "POST".clone_into(&mut fields[0].1);
                [
                    open_head(&fields),
                    frame(DATA, 0, CASE, "he"),
                    frame(DATA, END_STREAM, CASE, "GET /smuggled HTTP/1.1\r\n"),
                ]
                .concat()
            },
            Expect::Announced(b"POST /ID HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhe".to_vec()),
        ),
        case("length-too-large", "Kettle 2021: H2.CL", &["10"], "hello", Expect::Broken),
        case("length-two-differ", "RFC 9110 8.6", &["5", "6"], "hello", Expect::Broken),
        case("length-two-equal", "RFC 9110 8.6", &["5", "5"], "hello", Expect::Broken),
        case("length-plus", "RFC 9110 8.6", &["+5"], "hello", Expect::Broken),
        case("length-minus", "RFC 9110 8.6", &["-1"], "hello", Expect::Broken),
        case("length-word", "RFC 9110 8.6", &["x"], "hello", Expect::Broken),
        case("length-list", "RFC 9110 8.6", &["5, 5"], "hello", Expect::Broken),
        case("length-64-bits", "RFC 9110 8.6", &["18446744073709551621"], "hello", Expect::Broken),
        Case::new(
            "length-without-body",
            LENGTH,
            head(&request("/length-without-body", &[("content-length", "5")])),
            Expect::Broken,
        ),
    ]
}

pub(super) fn trailers() -> Vec<Case> {
    let post = |id: &str, flags: u8, trailers: &[(&str, &str)]| {
        let mut fields = request(&format!("/{id}"), &[("trailer", "x-sum")]);
        "POST".clone_into(&mut fields[0].1);
        let trailers = frame(HEADERS, END_HEADERS | flags, CASE, block(trailers));
        [open_head(&fields), frame(DATA, 0, CASE, "hello"), trailers].concat()
    };
    let case = |id, trailers, expect| Case::new(id, "RFC 9113 8.1", post(id, END_STREAM, trailers), expect);
    let as_post = |trailers: &str| {
        let head =
            "POST /ID HTTP/1.1\r\nHost: app.test\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        Expect::Seen(format!("{head}5\r\nhello\r\n0\r\n{trailers}\r\n").into_bytes())
    };
    vec![
        case("trailer-plain", &[("x-sum", "1")], as_post("x-sum: 1\r\n")),
        case("trailer-length", &[("content-length", "100"), ("host", "evil.test")], as_post("")),
        // h2 drops it, where RFC 9113 section 8.1 has the request be malformed.
        case("trailer-pseudo", &[(":path", "/evil")], as_post("")),
        case("trailer-coding", &[("transfer-encoding", "chunked")], Expect::Broken),
        case("trailer-line-end", &[("x-sum", "1\r\nx-a: b")], Expect::Broken),
        Case::new(
            "trailer-not-the-end",
            "RFC 9113 8.1",
            post("trailer-not-the-end", 0, &[("x-sum", "1")]),
            Expect::Broken,
        ),
    ]
}
