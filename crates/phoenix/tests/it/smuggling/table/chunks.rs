//! The frame of chunks: read strictly, and written anew for the application.

use super::{SMUGGLED, post};
use crate::smuggling::harness::Case;

const CHUNK: &str = "RFC 9112 7.1";
const EXTENSION: &str = "Funky chunks (2025), CVE-2025-22871 family";
const TRAILER: &str = "RFC 9110 6.5.1";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [sizes(), extensions(), data(), trailers()].concat()
}

fn chunked(body: impl AsRef<[u8]>) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn same(id: &'static str, source: &'static str, body: impl AsRef<[u8]>) -> Case {
    Case::same(id, source, chunked(body))
}

fn broken(id: &'static str, source: &'static str, body: impl AsRef<[u8]>) -> Case {
    Case::broken(id, source, chunked([body.as_ref(), SMUGGLED].concat()))
}

fn sizes() -> Vec<Case> {
    vec![
        same("chunk-plain", CHUNK, "5\r\nhello\r\n0\r\n\r\n"),
        same("chunk-none", CHUNK, "0\r\n\r\n"),
        same("chunk-capitals", CHUNK, "A\r\n0123456789\r\n0\r\n\r\n"),
        same("chunk-leading-zeros", CHUNK, "0000000000000005\r\nhello\r\n000\r\n\r\n"),
        same("chunk-many-zeros", CHUNK, format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(1000))),
        same("chunk-many-tiny", CHUNK, format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(5000))),
        broken("chunk-empty-size", CHUNK, "\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-prefix", "T-Reqs (2021): 0x prefixes", "0x5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-minus", "RFC 9112 7.1.3", "-5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-plus", CHUNK, "+5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-no-digit", CHUNK, "5g\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-underscore", "CVE-2023-47627 (aiohttp)", "0_5\r\nhello\r\n0\r\n\r\n"),
        broken(
            "chunk-64-bits",
            "RFC 9112 7.1: overflow, CVE-2019-15605",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        broken("chunk-64-bits-max", "RFC 9112 7.1: overflow", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n")
            .leaves(),
        broken("chunk-space-before", "T-Reqs (2021)", " 5\r\nhello\r\n0\r\n\r\n"),
        broken("chunk-space-within", CHUNK, "1 1\r\nhello\r\n0\r\n\r\n"),
        Case::cleaned(
            "chunk-space-behind",
            "RFC 9112 7.1.1 (BWS)",
            chunked("5 \r\nhello\r\n0\t\r\n\r\n"),
            chunked("5\r\nhello\r\n0\r\n\r\n"),
        ),
        broken("chunk-size-line-feed", "Funky chunks (2025): TERM.EXT", "5\nhello\r\n0\r\n\r\n"),
        broken("chunk-size-carriage-return", CHUNK, "5\rhello\r\n0\r\n\r\n"),
        broken("chunk-last-line-feed", CHUNK, "5\r\nhello\r\n0\n\r\n"),
        broken("chunk-nul", CHUNK, "5\0\r\nhello\r\n0\r\n\r\n"),
    ]
}

fn extensions() -> Vec<Case> {
    let plain = || chunked("5\r\nhello\r\n0\r\n\r\n");
    vec![
        Case::cleaned("extension-plain", "RFC 9112 7.1.1", chunked("5;a=b\r\nhello\r\n0;c\r\n\r\n"), plain()),
        Case::cleaned(
            "extension-quoted",
            "RFC 9112 7.1.1",
            chunked("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
            plain(),
        ),
        Case::cleaned("extension-empty", "RFC 9112 7.1.1", chunked("5;\r\nhello\r\n0\r\n\r\n"), plain()),
        Case::cleaned("extension-bws", "RFC 9112 7.1.1", chunked("5 ; a = b\r\nhello\r\n0\r\n\r\n"), plain()),
        broken("extension-line-feed", EXTENSION, "5;a\nhello\r\n0\r\n\r\n"),
        broken("extension-line-feed-in-quotes", EXTENSION, "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        broken("extension-carriage-return", EXTENSION, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        broken("extension-line-feed-smuggles", EXTENSION, "2;\nxx\r\n3a\r\n0\r\n\r\n"),
        broken(
            "extension-too-long",
            "CVE-2023-39326 (Go): bounded",
            format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000)),
        ),
        broken(
            "extension-too-long-in-all",
            "CVE-2023-39326 (Go): bounded",
            format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "b".repeat(500)).repeat(100)),
        ),
        // No token, but no reader takes these for the end of a line, and they are dropped as all extensions are.
        Case::cleaned("extension-nul", "RFC 9112 7.1.1", chunked("5;a\0b\r\nhello\r\n0\r\n\r\n"), plain()),
        Case::cleaned(
            "extension-control",
            "RFC 9112 7.1.1",
            chunked("5;a\x0bb\r\nhello\r\n0\r\n\r\n"),
            plain(),
        ),
    ]
}

fn data() -> Vec<Case> {
    vec![
        broken("data-too-long", CHUNK, "5\r\nhello!\r\n0\r\n\r\n"),
        broken("data-too-short", CHUNK, "6\r\nhello\r\n0\r\n\r\n"),
        broken("data-no-end", CHUNK, "5\r\nhello0\r\n\r\n"),
        broken("data-end-line-feed", "Funky chunks (2025): SPILL", "5\r\nhello\n0\r\n\r\n"),
        broken("data-end-carriage-return", CHUNK, "5\r\nhello\r0\r\n\r\n"),
        broken("data-end-two-bytes", "CVE-2025-43859 (h11): any 2 bytes", "5\r\nhelloXX0\r\n\r\n"),
        Case::broken("data-no-last-chunk", "RFC 9112 8", chunked("5\r\nhello\r\n")).leaves(),
        Case::broken("data-no-last-line", "RFC 9112 8", chunked("5\r\nhello\r\n0\r\n")).leaves(),
        Case::broken("data-breaks-off", "RFC 9112 8", chunked("5\r\nhel")).leaves(),
        same(
            "data-looks-like-a-request",
            "RFC 9112 7.1",
            [
                b"32\r\n",
                &b"GET /smuggled HTTP/1.1\r\nHost: smuggled.test\r\n\r\nxxxx"[..50],
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
        ),
    ]
}

fn trailers() -> Vec<Case> {
    let plain = || chunked("5\r\nhello\r\n0\r\n\r\n");
    let lost = |id, trailers: &str| {
        Case::cleaned(id, TRAILER, chunked(format!("5\r\nhello\r\n0\r\n{trailers}\r\n")), plain())
    };
    vec![
        Case::same(
            "trailer-plain",
            "RFC 9112 7.1.2",
            post("Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ),
        lost("trailer-not-announced", "X-Sum: 1\r\n"),
        lost("trailer-coding", "Transfer-Encoding: chunked\r\n"),
        lost("trailer-length", "Content-Length: 100\r\n"),
        lost("trailer-host", "Host: evil.test\r\n"),
        lost("trailer-authorization", "Authorization: Bearer x\r\n"),
        lost("trailer-cookie", "Cookie: a=b\r\n"),
        lost("trailer-identity", "X-Phoenix-User-Id: 1\r\n"),
        lost("trailer-identity-underscore", "X_Phoenix_User_Id: 1\r\n"),
        lost("trailer-forwarded", "X-Forwarded-For: 1.2.3.4\r\n"),
        lost("trailer-connection", "Connection: close\r\n"),
        lost("trailer-upgrade", "Upgrade: h2c\r\n"),
        lost("trailer-trailer", "Trailer: X-A\r\n"),
        broken("trailer-folded", "RFC 9112 5.2", "5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n"),
        broken("trailer-space-before-colon", "RFC 9112 5.1", "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n"),
        broken("trailer-no-colon", "RFC 9112 5", "5\r\nhello\r\n0\r\nabc\r\n\r\n"),
        broken("trailer-nul", "RFC 9110 5.5", "5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n"),
        broken("trailer-carriage-return", "RFC 9110 5.5", "5\r\nhello\r\n0\r\nX-A: b\rX-C: d\r\n\r\n"),
        broken(
            "trailer-too-long",
            "RFC 9110 5.4",
            format!("5\r\nhello\r\n0\r\nX-A: {}\r\n\r\n", "b".repeat(70_000)),
        ),
        broken(
            "trailer-too-many",
            "RFC 9110 5.4",
            format!("5\r\nhello\r\n0\r\n{}\r\n", "X-A: b\r\n".repeat(2000)),
        ),
        // Everything before the next empty line belongs to the trailers, and is dropped.
        lost("trailer-line-feed", "\nGET /smuggled/ID HTTP/1.1\r\nHost: a\r\n"),
    ]
}
