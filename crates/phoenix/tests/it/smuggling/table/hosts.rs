//! `Host`: there once, and a host.

use super::{BAD, SMUGGLED};
use crate::smuggling::harness::Case;

const HOST: &str = "RFC 9112 3.2";
const CRACKING: &str = "Cracking the Lens (Kettle 2017)";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [good(), bad()].concat()
}

fn with(fields: &str) -> Vec<u8> {
    format!("GET /ID HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

fn good() -> Vec<Case> {
    vec![
        Case::same("host-name", HOST, with("Host: app.test\r\n")),
        Case::same("host-port", HOST, with("Host: app.test:8080\r\n")),
        Case::same("host-ipv4", HOST, with("Host: 192.0.2.1\r\n")),
        Case::same("host-ipv6", HOST, with("Host: [2001:db8::1]:80\r\n")),
        Case::same("host-underscore", "RFC 3986 3.2.2 (reg-name)", with("Host: my_app.test\r\n")),
        Case::same("host-capitals", HOST, with("Host: APP.Test\r\n")),
        Case::same("host-last-dot", HOST, with("Host: app.test.\r\n")),
        Case::cleaned("host-none-in-http10", HOST, "GET /ID HTTP/1.0\r\n\r\n", "GET /ID HTTP/1.1\r\n\r\n")
            .closes(),
    ]
}

fn bad() -> Vec<Case> {
    let bad = |id, source, fields: &str| {
        Case::refused(id, source, BAD, [with(fields).as_slice(), SMUGGLED].concat())
    };
    vec![
        bad("host-none", HOST, "X-A: b\r\n"),
        bad("host-two-equal", HOST, "Host: app.test\r\nHost: app.test\r\n"),
        bad(
            "host-two-differ",
            "Host of Troubles (2016), CVE-2016-10711",
            "Host: app.test\r\nHost: evil.test\r\n",
        ),
        bad("host-two-apart", "Host of Troubles (2016)", "Host: app.test\r\nX-A: b\r\nhost: evil.test\r\n"),
        bad("host-empty", "RFC 9112 3.2, RFC 9110 4.2.1", "Host:\r\n"),
        bad("host-list", HOST, "Host: app.test, evil.test\r\n"),
        bad("host-space", HOST, "Host: app.test evil.test\r\n"),
        bad("host-path", CRACKING, "Host: app.test/evil\r\n"),
        bad("host-query", CRACKING, "Host: app.test?evil\r\n"),
        bad("host-fragment", CRACKING, "Host: app.test#evil\r\n"),
        bad("host-user", CRACKING, "Host: evil.test@app.test\r\n"),
        bad("host-scheme", CRACKING, "Host: http://app.test\r\n"),
        bad("host-backslash", CRACKING, "Host: app.test\\evil\r\n"),
        bad("host-port-empty", "RFC 3986 3.2.3", "Host: app.test:\r\n"),
        bad("host-port-word", HOST, "Host: app.test:http\r\n"),
        bad("host-port-too-large", HOST, "Host: app.test:65536\r\n"),
        bad("host-port-negative", HOST, "Host: app.test:-1\r\n"),
        bad("host-two-ports", HOST, "Host: app.test:80:81\r\n"),
        bad("host-port-alone", HOST, "Host: :80\r\n"),
        bad("host-ipv6-open", HOST, "Host: [::1\r\n"),
        bad("host-ipv6-junk", HOST, "Host: [::1]evil.test\r\n"),
        bad("host-not-ascii", HOST, "Host: \u{e9}.test\r\n"),
        bad("host-nul", "RFC 9110 5.5", "Host: app.test\0evil\r\n"),
        bad("host-folded", "Host of Troubles (2016)", "Host: app.test\r\n evil.test\r\n"),
        bad("host-space-before-colon", "Host of Troubles (2016)", "Host : app.test\r\n"),
        bad(
            "host-space-before-name",
            "Host of Troubles (2016)",
            "X-A: b\r\n Host: evil.test\r\nHost: app.test\r\n",
        ),
        bad("host-too-long", "RFC 1035 2.3.4", &format!("Host: {}.test\r\n", "a".repeat(300))),
        bad("host-angle-brackets", "RFC 3986 3.2.2", "Host: <app>.test\r\n"),
        bad("host-quotes", "RFC 3986 3.2.2", "Host: \"app.test\"\r\n"),
    ]
}
