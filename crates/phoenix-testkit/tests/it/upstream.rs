//! The application behind a gateway does what it is told and remembers what it saw.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use phoenix_testkit::upstream::{Script, Step, Upstream};
use phoenix_testkit::wait;

const BOUND: Duration = Duration::from_secs(10);

/// Sends this, reads until these bytes have come or the end.
fn exchange(stream: &mut TcpStream, request: &[u8], end: &[u8]) -> Vec<u8> {
    stream.set_read_timeout(Some(BOUND)).expect("set a bound");
    stream.write_all(request).expect("send the request");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(end) && stream.read(&mut byte).expect("read the answer") == 1 {
        answer.push(byte[0]);
    }
    answer
}

#[test]
fn requests_are_remembered_byte_for_byte_on_one_connection() {
    let upstream = Upstream::start().expect("start");
    let mut stream = TcpStream::connect(upstream.address()).expect("connect");
    let first = b"POST /a?b HTTP/1.1\r\nhOST:  x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n";
    let answer = exchange(&mut stream, first, b"}");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let second = b"GET /c HTTP/1.1\r\nHost: y\r\n\r\n";
    exchange(&mut stream, second, b"}");
    let seen = upstream.seen();
    assert_eq!([seen[0].head.clone(), seen[0].raw_body.clone()].concat(), first);
    assert_eq!((seen[0].target.as_str(), seen[0].body.as_slice()), ("/a?b", b"abc".as_slice()));
    assert_eq!(seen[0].trailers, [("T".to_owned(), "1".to_owned())]);
    assert_eq!(seen[0].headers[0], ("hOST".to_owned(), "x".to_owned()));
    assert_eq!(seen[1].head, second);
    assert_eq!((upstream.requests(), upstream.accepted(), upstream.open()), (2, 1, 1));
}

#[test]
fn it_notices_who_goes_away() {
    let upstream = Upstream::start().expect("start");
    upstream.on("/events", Script::events(Duration::from_millis(5)));
    upstream.on("/silent", Script::silent());
    for path in ["/events", "/silent"] {
        let before = upstream.gone();
        let mut stream = TcpStream::connect(upstream.address()).expect("connect");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("send");
        wait::until_blocking(BOUND, "the request", || upstream.open() == 1);
        drop(stream);
        wait::until_blocking(BOUND, "it to be noticed", || upstream.gone() == before + 1);
        wait::until_blocking(BOUND, "the end", || upstream.open() == 0);
    }
}

#[test]
fn it_speaks_websocket() {
    let upstream = Upstream::start().expect("start");
    upstream.on("/ws", Script::websocket());
    let mut stream = TcpStream::connect(upstream.address()).expect("connect");
    let handshake = b"GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = exchange(&mut stream, handshake, b"\r\n\r\n");
    // The example of RFC 6455 section 1.3.
    assert!(String::from_utf8_lossy(&answer).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // The masked example of section 5.7.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(exchange(&mut stream, &hello, b"Hello"), b"\x81\x05Hello");
    assert_eq!(exchange(&mut stream, b"\x89\x80\0\0\0\0", b"\0"), b"\x8a\0");
    assert_eq!(exchange(&mut stream, b"\x88\x80\0\0\0\0", b"-"), b"\x88\0", "it closes");
}

#[test]
fn a_stopped_one_refuses_connections() {
    let mut upstream = Upstream::start().expect("start");
    upstream.on("/reset", Script::new(vec![Step::Reset]));
    upstream.stop();
    assert!(TcpStream::connect(upstream.address()).is_err());
}
