//! `Connection`, upgrades and expectations: what belongs to one connection stays there.

use super::{BAD, SMUGGLED, get, post};
use crate::smuggling::harness::Case;

const CONNECTION: &str = "RFC 9110 7.6.1";
const HOP: &str = "Abusing hop-by-hop headers (Davison 2019)";
const H2C: &str = "h2c smuggling (Bishop Fox 2020), RFC 9113 3.1";
const UPGRADE: &str = "RFC 9110 7.8";
const SOCKET: &str =
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What is left of it when nothing is to be upgraded.
const SOCKET_FIELDS: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(in crate::smuggling) fn cases() -> Vec<Case> {
    [nominations(), upgrades(), bad_upgrades(), expectations()].concat()
}

fn nominations() -> Vec<Case> {
    let lost = |id, source, line: &str| Case::cleaned(id, source, get(format!("{line}\r\n")), get(""));
    vec![
        lost("connection-named", CONNECTION, "Connection: x-a\r\nX-A: b"),
        lost("connection-named-list", CONNECTION, "Connection: keep-alive, X-A\r\nX-A: b"),
        lost("connection-named-twice", CONNECTION, "Connection: x-c\r\nConnection: x-a\r\nX-A: b\r\nX-C: d"),
        lost("connection-proxy", "RFC 9112 C.2.2", "Proxy-Connection: keep-alive"),
        lost("connection-keep-alive", CONNECTION, "Keep-Alive: timeout=5"),
        lost("connection-proxy-authorization", "RFC 9110 11.7.1", "Proxy-Authorization: Basic YTpi"),
        lost("connection-te", "RFC 9110 10.1.4", "TE: gzip\r\nConnection: te"),
        Case::same(
            "connection-names-authorization",
            HOP,
            get("Authorization: Bearer a\r\nConnection: authorization\r\n"),
        ),
        Case::same("connection-names-cookie", HOP, get("Cookie: a=b\r\nConnection: cookie\r\n")),
        Case::same("connection-names-host", HOP, get("Connection: host\r\n")),
        Case::same("connection-names-origin", HOP, get("Origin: http://app.test\r\nConnection: origin\r\n")),
        Case::same("connection-names-address", HOP, get("Connection: x-forwarded-for, x-real-ip\r\n")),
        Case::same("connection-names-identity", HOP, get("Connection: x-phoenix-user-id\r\n")),
        Case::same(
            "connection-names-length",
            HOP,
            post("Content-Length: 5\r\nConnection: content-length\r\n", "hello"),
        ),
        Case::same(
            "connection-names-coding",
            HOP,
            post(
                "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        Case::same(
            "connection-close-and-coding",
            HOP,
            post(
                "Connection: close, transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        )
        .closes(),
        Case::same("connection-close", "RFC 9112 9.6", get("Connection: close\r\n")).closes(),
        Case::same("connection-close-case", "RFC 9112 9.6", get("Connection: CLOSE\r\n")).closes(),
        Case::same(
            "connection-close-then-keep",
            "RFC 9112 9.6",
            get("Connection: close\r\nConnection: keep-alive\r\n"),
        )
        .closes(),
        Case::same("connection-no-token", CONNECTION, get("Connection: a b, (c), \"d\"\r\n")),
        Case::same("connection-empty", CONNECTION, get("Connection:\r\n")),
        Case::same("connection-many", HOP, get(format!("Connection: {}\r\n", "x,".repeat(1000)))),
    ]
}

fn upgrades() -> Vec<Case> {
    let asks = |fields: &str| get(format!("Connection: Upgrade\r\n{fields}"));
    vec![
        Case::cleaned(
            "upgrade-h2c",
            H2C,
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
            ),
            get(""),
        ),
        Case::cleaned(
            "upgrade-h2c-not-named",
            H2C,
            get("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            get(""),
        ),
        Case::cleaned("upgrade-h2c-case", H2C, asks("Upgrade: H2C\r\n"), get("")),
        Case::cleaned(
            "upgrade-h2c-no-connection",
            H2C,
            get("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            get(""),
        ),
        Case::cleaned("upgrade-h2", H2C, asks("Upgrade: h2\r\n"), get("")),
        Case::cleaned("upgrade-http2", H2C, asks("Upgrade: HTTP/2.0\r\n"), get("")),
        Case::cleaned("upgrade-tls", "RFC 2817", asks("Upgrade: TLS/1.0\r\n"), get("")),
        Case::cleaned("upgrade-no-connection", UPGRADE, get(SOCKET), get(SOCKET_FIELDS)),
        Case::cleaned("upgrade-empty", UPGRADE, asks("Upgrade:\r\n"), get("")),
        Case::cleaned(
            "upgrade-h2c-with-body",
            H2C,
            post("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", "hello"),
            post("Content-Length: 5\r\n", "hello"),
        ),
        Case::cleaned(
            "upgrade-refused-by-application",
            "RFC 9110 7.8: a server may ignore it",
            asks(SOCKET),
            get(SOCKET_FIELDS),
        ),
    ]
}

/// Upgrades that are not for a gateway, or not as they should be.
fn bad_upgrades() -> Vec<Case> {
    let asks = |fields: &str| get(format!("Connection: Upgrade\r\n{fields}"));
    vec![
        Case::denied("upgrade-two", UPGRADE, BAD, asks("Upgrade: websocket, other\r\n")),
        Case::denied("upgrade-websocket-no-key", "RFC 6455 4.1", BAD, asks("Upgrade: websocket\r\n")),
        Case::denied(
            "upgrade-websocket-two-keys",
            "RFC 6455 4.1",
            BAD,
            asks(&format!("{SOCKET}Sec-WebSocket-Key: YQ==\r\n")),
        ),
        Case::denied(
            "upgrade-websocket-post",
            "RFC 6455 4.1",
            BAD,
            post(format!("Connection: Upgrade\r\n{SOCKET}Content-Length: 0\r\n"), ""),
        ),
        Case::denied(
            "upgrade-websocket-with-body",
            "WebSocket smuggling (Neyolov 2019)",
            BAD,
            post(format!("Connection: Upgrade\r\n{SOCKET}Content-Length: 5\r\n"), "hello"),
        ),
        Case::cleaned(
            "upgrade-in-http10",
            UPGRADE,
            format!("GET /ID HTTP/1.0\r\nHost: app.test\r\nConnection: Upgrade\r\n{SOCKET}\r\n"),
            get(SOCKET_FIELDS),
        )
        .closes(),
    ]
}

fn expectations() -> Vec<Case> {
    let expect = "RFC 9110 10.1.1";
    let desync = "Expect-based desync (Kettle 2025)";
    let with = |value: &str| {
        post(format!("Expect: {value}\r\nContent-Length: 5\r\n"), [b"hello", SMUGGLED].concat())
    };
    vec![
        Case::same("expect-continue", expect, post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello")),
        Case::same(
            "expect-continue-case",
            expect,
            post("Expect: 100-CONTINUE\r\nContent-Length: 5\r\n", "hello"),
        ),
        Case::same("expect-continue-no-body", desync, get("Expect: 100-continue\r\n")),
        Case::same(
            "expect-continue-chunked",
            expect,
            post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        Case::refused("expect-other", expect, &[417], with("something")),
        Case::refused("expect-list", desync, &[417], with("100-continue, x")),
        Case::refused("expect-space", desync, &[417], with("100 continue")),
        Case::refused("expect-prefix", desync, &[417], with("y 100-continue")),
        Case::refused("expect-empty", desync, &[417], with("")),
        Case::refused(
            "expect-folded",
            desync,
            BAD,
            post("Expect:\r\n 100-continue\r\nContent-Length: 5\r\n", [b"hello", SMUGGLED].concat()),
        ),
    ]
}
