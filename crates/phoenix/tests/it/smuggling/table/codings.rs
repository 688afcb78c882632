//! `Transfer-Encoding`: `chunked` alone, in HTTP/1.1 and without a length, or the request is refused.

use super::{BAD, SMUGGLED, post};
use crate::smuggling::harness::Case;

const KETTLE: &str = "HTTP Desync Attacks (Kettle 2019)";
const CODING: &str = "RFC 9112 6.1";
/// `hello` in chunks.
const CHUNKS: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [values(), lines(), with_length(), versions()].concat()
}

fn one(id: &'static str, source: &'static str, line: impl AsRef<[u8]>) -> Case {
    Case::refused(id, source, &[400, 501], post(line, [CHUNKS, SMUGGLED].concat()))
}

fn values() -> Vec<Case> {
    vec![
        Case::same("coding-plain", CODING, post("Transfer-Encoding: chunked\r\n", CHUNKS)),
        Case::same("coding-capitals", "RFC 9110 7 (case)", post("Transfer-Encoding: CHUNKED\r\n", CHUNKS)),
        Case::same("coding-name-case", "RFC 9110 5.1", post("tRANSFER-eNCODING: chunked\r\n", CHUNKS)),
        Case::same("coding-spaces", "RFC 9112 5 (OWS)", post("Transfer-Encoding: \t chunked \t\r\n", CHUNKS)),
        Case::same("coding-no-space", "RFC 9112 5 (OWS)", post("Transfer-Encoding:chunked\r\n", CHUNKS)),
        one("coding-identity", "RFC 9112 6.1 (identity is gone)", "Transfer-Encoding: identity\r\n"),
        one("coding-unknown", KETTLE, "Transfer-Encoding: xchunked\r\n"),
        one("coding-suffix", KETTLE, "Transfer-Encoding: chunkedx\r\n"),
        one("coding-half", KETTLE, "Transfer-Encoding: chunk\r\n"),
        one("coding-empty", CODING, "Transfer-Encoding:\r\n"),
        one("coding-cow", "T-Reqs (2021)", "Transfer-Encoding: cow\r\n"),
        one("coding-quoted", KETTLE, "Transfer-Encoding: \"chunked\"\r\n"),
        one("coding-single-quoted", KETTLE, "Transfer-Encoding: 'chunked'\r\n"),
        one("coding-parameter", "RFC 9112 7", "Transfer-Encoding: chunked;q=1\r\n"),
        one("coding-equals", KETTLE, "Transfer-Encoding: chunked=x\r\n"),
        one("coding-vertical-tab", KETTLE, "Transfer-Encoding: \x0bchunked\r\n"),
        one("coding-vertical-tab-behind", "CVE-2020-1944 (ATS)", "Transfer-Encoding: chunked\x0b\r\n"),
        one("coding-form-feed", KETTLE, "Transfer-Encoding: \x0cchunked\r\n"),
        one("coding-nul", KETTLE, "Transfer-Encoding: chunked\0\r\n"),
        one("coding-no-break-space", "RFC 9110 5.5", b"Transfer-Encoding: \xa0chunked\r\n"),
        one("coding-long-s", "T-Reqs (2021): Unicode case", b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n"),
        one("coding-list-identity-last", CODING, "Transfer-Encoding: chunked, identity\r\n"),
        one("coding-list-identity-first", KETTLE, "Transfer-Encoding: identity, chunked\r\n"),
        one("coding-list-gzip", "RFC 9112 6.1 (501)", "Transfer-Encoding: gzip, chunked\r\n"),
        one("coding-list-chunked-gzip", "RFC 9112 6.3 item 4", "Transfer-Encoding: chunked, gzip\r\n"),
        one("coding-list-twice", "RFC 9112 7 (not twice)", "Transfer-Encoding: chunked, chunked\r\n"),
        one("coding-list-no-space", KETTLE, "Transfer-Encoding: identity,chunked\r\n"),
        one("coding-trailing-comma", KETTLE, "Transfer-Encoding: chunked,\r\n"),
        one("coding-leading-comma", KETTLE, "Transfer-Encoding: ,chunked\r\n"),
        one("coding-word-before", KETTLE, "Transfer-Encoding: x chunked\r\n"),
    ]
}

fn lines() -> Vec<Case> {
    vec![
        one(
            "coding-two-equal",
            "CVE-2020-10108 (Twisted)",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        one(
            "coding-two-identity-last",
            KETTLE,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        ),
        one(
            "coding-two-identity-first",
            KETTLE,
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        ),
        one(
            "coding-two-cow",
            "CVE-2022-32215 family",
            "Transfer-Encoding: cow\r\nTransfer-encoding: chunked\r\n",
        ),
        one("coding-two-empty", KETTLE, "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
        one("coding-folded", "CVE-2022-32215 (Node.js), RFC 9112 5.2", "Transfer-Encoding:\r\n chunked\r\n"),
        one("coding-folded-tab", KETTLE, "Transfer-Encoding: \r\n\tchunked\r\n"),
        one(
            "coding-folded-behind",
            "CVE-2022-32215 (Node.js)",
            "Transfer-Encoding: chunked\r\n , identity\r\n",
        ),
        one(
            "coding-space-before-colon",
            "CVE-2019-16276 (Go), RFC 9112 5.1",
            "Transfer-Encoding : chunked\r\n",
        ),
        one("coding-tab-before-colon", KETTLE, "Transfer-Encoding\t: chunked\r\n"),
        one("coding-line-feed", KETTLE, "Transfer-Encoding:\n chunked\r\n"),
        one("coding-space-before-name", KETTLE, "X-A: b\r\n Transfer-Encoding: chunked\r\n"),
        one("coding-carriage-return-in-name", KETTLE, "X-A: b\rTransfer-Encoding: chunked\r\n"),
        one("coding-no-colon", "RFC 9112 5", "Transfer-Encoding chunked\r\n"),
        one("coding-bytes-before-name", "T-Reqs (2021)", b"\xffTransfer-Encoding: chunked\r\n"),
    ]
}

fn with_length() -> Vec<Case> {
    let both = "RFC 9112 6.3 item 3, 6.1: the connection ends";
    let clean = || post("Transfer-Encoding: chunked\r\n", CHUNKS);
    vec![
        Case::cleaned(
            "coding-then-length",
            both,
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", CHUNKS),
            clean(),
        )
        .closes(),
        Case::cleaned(
            "length-then-coding",
            both,
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
            clean(),
        )
        .closes(),
        Case::cleaned(
            "coding-and-length-te-cl",
            "HTTP Desync Attacks (Kettle 2019): TE.CL",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", [b"0\r\n\r\n", SMUGGLED].concat()),
            post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        )
        .closes(),
        Case::cleaned(
            "coding-and-length-cl-te",
            "HTTP Desync Attacks (Kettle 2019): CL.TE",
            post("Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", [CHUNKS, SMUGGLED].concat()),
            clean(),
        )
        .closes(),
        Case::cleaned(
            "coding-and-odd-length",
            both,
            post("Transfer-Encoding: chunked\r\nContent-Length: +5\r\n", CHUNKS),
            clean(),
        )
        .closes(),
        one("odd-length-and-coding", both, "Content-Length: +5\r\nTransfer-Encoding: chunked\r\n"),
        one("coding-unknown-and-length", KETTLE, "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"),
        one("coding-hidden-and-length", KETTLE, "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n"),
        one("coding-identity-and-length", CODING, "Content-Length: 5\r\nTransfer-Encoding: identity\r\n"),
        Case::cleaned(
            "coding-keep-alive-and-length",
            both,
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", CHUNKS),
            clean(),
        )
        .closes(),
    ]
}

fn versions() -> Vec<Case> {
    let old = |id, fields: &str| {
        let head = format!("POST /ID HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n{fields}\r\n");
        Case::refused(
            id,
            "RFC 9112 6.1: HTTP/1.0 has no codings",
            BAD,
            [head.as_bytes(), CHUNKS, SMUGGLED].concat(),
        )
    };
    vec![
        old("coding-in-http10", "Transfer-Encoding: chunked\r\n"),
        old("coding-and-length-in-http10", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        Case::same(
            "coding-get",
            "RFC 9110 9.3.1",
            [b"GET /ID HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat(),
        ),
        Case::same(
            "coding-delete",
            "RFC 9110 9.3.5",
            [b"DELETE /ID HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKS].concat(),
        ),
    ]
}
