//! `Content-Length`: one number, or the request is refused.

use super::{BAD, SMUGGLED, post};
use crate::smuggling::harness::Case;

const LENGTH: &str = "RFC 9110 8.6";
const CONFLICT: &str = "RFC 9112 6.3 item 5";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [odd_numbers(), repeated(), spaced()].concat()
}

fn one(id: &'static str, source: &'static str, value: &str) -> Case {
    Case::refused(
        id,
        source,
        BAD,
        post(format!("Content-Length: {value}\r\n"), [b"hello", SMUGGLED].concat()),
    )
}

fn odd_numbers() -> Vec<Case> {
    vec![
        Case::same("length-plain", LENGTH, post("Content-Length: 5\r\n", "hello")),
        Case::same("length-zero", LENGTH, post("Content-Length: 0\r\n", "")),
        Case::same("length-none", "RFC 9112 6.3 item 7", post("", "")),
        Case::same(
            "length-leading-zeros",
            "RFC 9110 8.6 (1*DIGIT)",
            post("Content-Length: 0005\r\n", "hello"),
        ),
        Case::same(
            "length-get-body",
            "RFC 9110 9.3.1",
            "GET /ID HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello",
        ),
        one("length-plus", "CVE-2018-7159 (Node.js), RFC 9110 8.6", "+5"),
        one("length-minus", "CVE-2022-32213 family, RFC 9110 8.6", "-1"),
        one("length-minus-zero", LENGTH, "-0"),
        one("length-hexadecimal", "T-Reqs (2021): 0x prefixes", "0x5"),
        one("length-hexadecimal-digits", LENGTH, "5a"),
        one("length-two-words", "CVE-2018-7159 (Node.js): spaces within", "5 5"),
        one("length-tab-within", "CVE-2018-7159 (Node.js)", "5\t5"),
        one("length-empty", LENGTH, ""),
        one("length-word", LENGTH, "five"),
        one("length-fraction", LENGTH, "5.0"),
        one("length-exponent", LENGTH, "5e0"),
        one("length-underscore", "CVE-2023-47627 (aiohttp): int() takes _", "5_0"),
        one("length-quoted", LENGTH, "\"5\""),
        one("length-parameter", LENGTH, "5;a=b"),
        one("length-trailing-comma", CONFLICT, "5,"),
        one("length-leading-comma", CONFLICT, ",5"),
        one("length-64-bits", "CVE-2019-15605 family: overflow", "18446744073709551621"),
        Case::refused(
            "length-64-bits-max",
            "RFC 9110 8.6: integer overflow",
            &[400, 431],
            post("Content-Length: 18446744073709551615\r\n", [b"hello", SMUGGLED].concat()),
        ),
        one("length-128-bits", "RFC 9110 8.6: integer overflow", "340282366920938463463374607431768211461"),
        one("length-superscript", "CVE-2023-47627 (aiohttp): Unicode digits", "\u{b2}"),
        one("length-arabic-digit", "CVE-2023-47627 (aiohttp): Unicode digits", "\u{665}"),
        Case::refused(
            "length-too-large",
            "RFC 9110 15.5.14",
            &[413],
            post("Content-Length: 9223372036854775000\r\n", "hello"),
        ),
    ]
}

fn repeated() -> Vec<Case> {
    let body = || [b"hello", SMUGGLED].concat();
    vec![
        Case::refused(
            "length-two-differ",
            CONFLICT,
            BAD,
            post("Content-Length: 5\r\nContent-Length: 6\r\n", body()),
        ),
        Case::refused(
            "length-two-differ-zero-first",
            "HTTP Desync Attacks (Kettle 2019)",
            BAD,
            post("Content-Length: 0\r\nContent-Length: 5\r\n", body()),
        ),
        Case::refused(
            "length-two-differ-apart",
            "Linhart et al. 2005",
            BAD,
            post("Content-Length: 5\r\nX-Between: a\r\ncontent-length: 0\r\n", body()),
        ),
        Case::cleaned(
            "length-two-equal",
            "RFC 9112 6.3 item 5: equal values are one",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            post("Content-Length: 5\r\n", "hello"),
        ),
        one("length-list-equal", CONFLICT, "5, 5"),
        one("length-list-differ", CONFLICT, "5, 6"),
        Case::refused(
            "length-second-empty",
            "CVE-2020-7658 family",
            BAD,
            post("Content-Length: 5\r\nContent-Length:\r\n", body()),
        ),
        Case::refused(
            "length-second-plus",
            LENGTH,
            BAD,
            post("Content-Length: 5\r\nContent-Length: +5\r\n", body()),
        ),
    ]
}

fn spaced() -> Vec<Case> {
    let body = || [b"hello", SMUGGLED].concat();
    vec![
        Case::refused(
            "length-space-before-colon",
            "RFC 9112 5.1, CVE-2019-16276 (Go)",
            BAD,
            post("Content-Length : 5\r\n", body()),
        ),
        Case::refused(
            "length-tab-before-colon",
            "RFC 9112 5.1, CVE-2019-16869 (Netty)",
            BAD,
            post("Content-Length\t: 5\r\n", body()),
        ),
        Case::same("length-spaces-around", "RFC 9112 5 (OWS)", post("Content-Length: \t 5 \t \r\n", "hello")),
        Case::same("length-no-space", "RFC 9112 5 (OWS)", post("Content-Length:5\r\n", "hello")),
        Case::same("length-case", "RFC 9110 5.1", post("cOnTeNt-LeNgTh: 5\r\n", "hello")),
        Case::refused("length-folded", "RFC 9112 5.2", BAD, post("Content-Length:\r\n 5\r\n", body())),
        Case::refused("length-vertical-tab", "RFC 9110 5.5", BAD, post("Content-Length: \x0b5\r\n", body())),
        Case::refused("length-nul", "RFC 9110 5.5", BAD, post("Content-Length: 5\0\r\n", body())),
        Case::refused("length-line-feed", "RFC 9112 2.2", BAD, post("Content-Length:\n5\r\n", body())),
    ]
}
