//! Names and values of fields, and fields that claim to be ours.

use super::{BAD, SMUGGLED, get};
use crate::smuggling::harness::Case;

const NAME: &str = "RFC 9110 5.1, 5.6.2";
const CLAIM: &str = "RFC 9110 17.1: what a gateway vouches for";
const BARRACUDA: &str = "CGI (RFC 3875 4.1.18): _ and - are one";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [names(), values(), claims()].concat()
}

fn bad(id: &'static str, source: &'static str, fields: impl AsRef<[u8]>) -> Case {
    Case::refused(id, source, BAD, [get(fields).as_slice(), SMUGGLED].concat())
}

fn names() -> Vec<Case> {
    vec![
        bad("name-empty", NAME, ": b\r\n"),
        bad("name-space", NAME, "X A: b\r\n"),
        bad("name-space-before-colon", "RFC 9112 5.1", "X-A : b\r\n"),
        bad("name-tab-before-colon", "RFC 9112 5.1", "X-A\t: b\r\n"),
        bad("name-no-colon", "RFC 9112 5", "X-A\r\n"),
        bad("name-parentheses", NAME, "X(A): b\r\n"),
        bad("name-at", NAME, "X@A: b\r\n"),
        bad("name-slash", NAME, "X/A: b\r\n"),
        bad("name-quote", NAME, "\"X-A\": b\r\n"),
        bad("name-bracket", NAME, "[X-A]: b\r\n"),
        bad("name-nul", NAME, "X-\0A: b\r\n"),
        bad("name-control", NAME, "X-\x01A: b\r\n"),
        bad("name-not-ascii", NAME, "X-\u{e9}: b\r\n"),
        bad("name-comma", NAME, "X,A: b\r\n"),
        bad("name-equals", NAME, "X=A: b\r\n"),
        bad("name-of-http2", "HTTP/2: The Sequel is Always Worse (2021)", ":path: /evil\r\n"),
        Case::same("name-odd-token", NAME, get("!#$%&'*+-.^_`|~09: b\r\n")),
        Case::cleaned("name-length-underscore", BARRACUDA, get("Content_Length: 5\r\n"), get("")),
        Case::cleaned("name-coding-underscore", BARRACUDA, get("Transfer_Encoding: chunked\r\n"), get("")),
        Case::refused(
            "names-too-many",
            "RFC 9110 5.4: bounded",
            &[431],
            [get("X-A: b\r\n".repeat(300)).as_slice(), SMUGGLED].concat(),
        ),
        Case::refused(
            "names-too-large",
            "RFC 6585 5",
            &[431],
            [get(format!("X-A: {}\r\n", "b".repeat(100_000))).as_slice(), SMUGGLED].concat(),
        ),
    ]
}

fn values() -> Vec<Case> {
    vec![
        Case::same("value-empty", "RFC 9110 5.5", get("X-A:\r\n")),
        Case::same("value-spaces", "RFC 9112 5 (OWS)", get("X-A: \t b  c \t\r\n")),
        Case::same("value-colon", "RFC 9110 5.5", get("X-A: b: c\r\n")),
        Case::same("value-not-ascii", "RFC 9110 5.5 (obs-text)", get(b"X-A: \xe9\xff\r\n")),
        Case::same("value-repeated", "RFC 9110 5.3", get("X-A: b\r\nX-A: c\r\n")),
        bad("value-folded", "RFC 9112 5.2", "X-A: b\r\n c\r\n"),
        bad("value-folded-tab", "RFC 9112 5.2", "X-A: b\r\n\tc\r\n"),
        bad("value-folded-empty", "RFC 9112 5.2", "X-A: b\r\n \r\n"),
        bad("value-escape", "RFC 9110 5.5", "X-A: \x1b[31m\r\n"),
        bad("value-form-feed", "RFC 9110 5.5", "X-A: b\x0cc\r\n"),
        bad("value-backspace", "RFC 9110 5.5", "X-A: b\x08c\r\n"),
    ]
}

fn claims() -> Vec<Case> {
    let lost = |id, source, line: &str| Case::cleaned(id, source, get(format!("{line}\r\n")), get(""));
    vec![
        lost("claim-user", CLAIM, "X-Phoenix-User-Id: 1"),
        lost("claim-user-case", CLAIM, "x-PHOENIX-uSER-Id: 1"),
        lost("claim-user-underscore", BARRACUDA, "X_Phoenix_User_Id: 1"),
        lost("claim-user-half-underscore", BARRACUDA, "X-Phoenix_User-Id: 1"),
        lost("claim-assertion", CLAIM, "X-Phoenix-Assertion: a.b.c"),
        lost("claim-address", "RFC 7239 8.1", "X-Real-IP: 192.0.2.1"),
        lost("claim-forwarded", "RFC 7239 8.1", "Forwarded: for=192.0.2.1;host=evil.test"),
        lost("claim-forwarded-host", CLAIM, "X-Forwarded-Host: evil.test"),
        lost("claim-forwarded-underscore", BARRACUDA, "X_Forwarded_For: 192.0.2.1"),
        lost("claim-original-url", "CVE-2018-14773 (Symfony)", "X-Original-URL: /admin"),
        lost("claim-rewrite-url", "CVE-2018-14773 (Symfony)", "X-Rewrite-URL: /admin"),
        lost("claim-proxy", "CVE-2016-5385 (httpoxy)", "Proxy: http://evil.test:8080"),
        lost("claim-middleware", "CVE-2025-29927 (Next.js)", "X-Middleware-Subrequest: middleware"),
        lost("claim-true-client", CLAIM, "True-Client-IP: 192.0.2.1"),
    ]
}
