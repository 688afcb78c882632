//! The request line, and how lines end.

use super::{SMUGGLED, get};
use crate::smuggling::harness::Case;

const LINE: &str = "RFC 9112 3";
const ENDS: &str = "RFC 9112 2.2";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [line_ends(), request_lines(), versions(), methods()].concat()
}

/// A request, and what is smuggled behind it.
fn bad(id: &'static str, source: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case::refused(id, source, &[400, 405, 501, 505], [bytes.as_ref(), SMUGGLED].concat())
}

fn line_ends() -> Vec<Case> {
    vec![
        Case::cleaned(
            "line-feed-everywhere",
            "RFC 9112 2.2: MAY be recognised; written anew",
            "GET /ID HTTP/1.1\nHost: app.test\nX-A: b\n\n",
            get("X-A: b\r\n"),
        ),
        Case::cleaned(
            "line-feed-of-field",
            "RFC 9112 2.2: MAY be recognised; written anew",
            get("X-A: b\nX-C: d\r\n"),
            get("X-A: b\r\nX-C: d\r\n"),
        ),
        Case::cleaned(
            "line-feed-of-head",
            "RFC 9112 2.2: MAY be recognised; written anew",
            "GET /ID HTTP/1.1\r\nHost: app.test\r\n\n",
            get(""),
        ),
        bad("carriage-return-everywhere", ENDS, "GET /ID HTTP/1.1\rHost: app.test\r\r"),
        bad("carriage-return-of-field", ENDS, get("X-A: b\rX-C: d\r\n")),
        bad("carriage-return-twice", ENDS, get("X-A: b\r\r\n")),
        bad("carriage-return-before-name", ENDS, get("\rX-A: b\r\n")),
        bad("carriage-return-in-value", "RFC 9110 5.5", get("X-A: b\rc\r\n")),
        bad("nul-in-value", "RFC 9110 5.5", get("X-A: b\0c\r\n")),
        bad("delete-in-value", "RFC 9110 5.5", get("X-A: b\x7fc\r\n")),
        bad("control-in-value", "RFC 9110 5.5", get("X-A: b\x01c\r\n")),
        Case::cleaned(
            "empty-line-before",
            "RFC 9112 2.2: SHOULD be ignored",
            [b"\r\n", get("").as_slice()].concat(),
            get(""),
        ),
        Case::cleaned(
            "empty-lines-before",
            "RFC 9112 2.2: SHOULD be ignored",
            [b"\r\n\r\n\r\n", get("").as_slice()].concat(),
            get(""),
        ),
        bad("space-before", "RFC 9112 2.2", [b" ", get("").as_slice()].concat()),
        bad("line-of-spaces-before", "RFC 9112 2.2", [b" \r\n", get("").as_slice()].concat()),
        bad("space-before-first-field", "RFC 9112 2.2", "GET /ID HTTP/1.1\r\n Host: app.test\r\n\r\n"),
        bad("empty-first-field", "RFC 9112 2.2", "GET /ID HTTP/1.1\r\n \r\nHost: app.test\r\n\r\n"),
        bad("nul-before", LINE, [b"\0", get("").as_slice()].concat()),
        bad("nothing-but-nul", LINE, "\0\0\0\0\r\n\r\n"),
        bad("tls-hello", "RFC 8446 5.1", b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
    ]
}

fn request_lines() -> Vec<Case> {
    let line = |id, line: &str| bad(id, LINE, format!("{line}\r\nHost: app.test\r\n\r\n"));
    vec![
        line("line-two-spaces", "GET  /ID HTTP/1.1"),
        line("line-two-spaces-before-version", "GET /ID  HTTP/1.1"),
        line("line-space-behind", "GET /ID HTTP/1.1 "),
        line("line-tabs", "GET\t/ID\tHTTP/1.1"),
        line("line-tab-before-version", "GET /ID\tHTTP/1.1"),
        line("line-vertical-tab", "GET\x0b/ID HTTP/1.1"),
        line("line-space-in-target", "GET /ID /b HTTP/1.1"),
        line("line-two-versions", "GET /ID HTTP/1.1 HTTP/1.0"),
        line("line-no-target", "GET HTTP/1.1"),
        line("line-empty-target", "GET  HTTP/1.1"),
        line("line-no-version", "GET /ID"),
        line("line-method-alone", "GET"),
        line("line-nul-in-target", "GET /ID\0 HTTP/1.1"),
        line("line-carriage-return-in-target", "GET /ID\rb HTTP/1.1"),
        line("line-delete-in-target", "GET /ID\x7f HTTP/1.1"),
        Case::refused(
            "line-very-long",
            "RFC 9112 3: 414",
            &[400, 414, 431],
            [
                format!("GET /ID{} HTTP/1.1\r\nHost: app.test\r\n\r\n", "a".repeat(80_000)).as_bytes(),
                SMUGGLED,
            ]
            .concat(),
        ),
        Case::denied(
            "line-long",
            "RFC 9112 3: 414",
            &[414],
            format!("GET /ID{} HTTP/1.1\r\nHost: app.test\r\n\r\n", "a".repeat(9_000)),
        ),
    ]
}

fn versions() -> Vec<Case> {
    let version =
        |id, version: &str| bad(id, "RFC 9112 2.3", format!("GET /ID {version}\r\nHost: app.test\r\n\r\n"));
    vec![
        version("version-1-2", "HTTP/1.2"),
        version("version-1-9", "HTTP/1.9"),
        version("version-1-10", "HTTP/1.10"),
        version("version-1-01", "HTTP/1.01"),
        version("version-01-1", "HTTP/01.1"),
        version("version-2-0", "HTTP/2.0"),
        version("version-3", "HTTP/3"),
        version("version-0-9", "HTTP/0.9"),
        version("version-no-dot", "HTTP/11"),
        version("version-case", "http/1.1"),
        version("version-other-protocol", "ICAP/1.0"),
        version("version-space", "HTTP/ 1.1"),
        version("version-comma", "HTTP/1,1"),
        bad("version-simple", "RFC 1945 5 (HTTP/0.9)", "GET /ID\r\n"),
        bad("version-http2-mark-changed", "RFC 9113 3.4", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        bad("version-http2-mark-other-method", "RFC 9113 3.4", "GET * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Case::cleaned(
            "version-1-0",
            "RFC 9112 9.3: HTTP/1.0 closes",
            "GET /ID HTTP/1.0\r\nHost: app.test\r\n\r\n",
            get(""),
        )
        .closes(),
        Case::cleaned(
            "version-1-0-kept",
            "RFC 9112 C.2.2",
            "GET /ID HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n",
            get(""),
        ),
    ]
}

fn methods() -> Vec<Case> {
    let method = |method: &str| format!("{method} /ID HTTP/1.1\r\nHost: app.test\r\n\r\n");
    vec![
        Case::same("method-head", "RFC 9110 9.3.2", method("HEAD")),
        Case::same("method-options", "RFC 9110 9.3.7", method("OPTIONS")),
        Case::same("method-patch", "RFC 5789", method("PATCH")),
        Case::same("method-unknown", "RFC 9110 16.1: any token", method("BREW")),
        Case::refused(
            "method-lower-case",
            "RFC 9110 9.1: case counts, though not for every application",
            &[405],
            method("get"),
        ),
        Case::same("method-odd-token", "RFC 9110 5.6.2", method("M-SEARCH!")),
        Case::refused("method-trace", "RFC 9110 9.3.8, CVE-2003-1567", &[405], method("TRACE")),
        Case::refused(
            "method-connect-path",
            "RFC 9112 3.2.3",
            &[400, 405],
            [method("CONNECT").as_bytes(), SMUGGLED].concat(),
        ),
        Case::refused(
            "method-connect",
            "RFC 9110 9.3.6: no gateway is a tunnel",
            &[400, 405],
            [b"CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\n\r\n", SMUGGLED].concat(),
        ),
        bad("method-parentheses", "RFC 9110 5.6.2", method("G(T")),
        bad("method-colon", "RFC 9110 5.6.2", method("GET:")),
        bad("method-slash", "RFC 9110 5.6.2", method("GET/")),
        bad("method-nul", "RFC 9110 5.6.2", method("GE\0T")),
        bad("method-quote", "RFC 9110 5.6.2", method("\"GET\"")),
        bad("method-not-ascii", "RFC 9110 5.6.2", method("G\u{c9}T")),
    ]
}
