//! Which address a request counts for: behind proxies that write headers, behind those that speak the PROXY protocol,
//! and on a socket for both kinds of addresses. Proxies and clients are addresses of 127.0.0.0/8.

mod headers;
mod proxy_protocol;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::support::SOON;

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 66];
const CLIENT: &str = "203.0.113.9";
const VICTIM: &str = "198.51.100.7";

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::from(from), 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// What the server sends until it closes. A reset is an end as well.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes in time");
    answer
}

/// The answer to these bytes on a connection of their own.
async fn tell(from: [u8; 4], to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(from, to).await;
    stream.write_all(bytes).await.unwrap();
    until_closed(&mut stream).await
}

/// A request on a connection that closes after it. Header lines end in `\r\n`.
fn request(headers: &[u8]) -> Vec<u8> {
    [b"GET /api/phoenix/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", headers, b"\r\n"].concat()
}

fn body(answer: &[u8]) -> Value {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Address and source that `whoami` answers with, and nothing else.
fn short(answer: &[u8]) -> (String, String) {
    let body = body(answer);
    let field = |name: &str| body[name].as_str().unwrap().to_owned();
    let found = (field("ipAddress"), field("source"));
    assert_eq!(body.as_object().unwrap().len(), 2, "strangers learn no more: {body}");
    assert!(found.0.parse::<IpAddr>().is_ok());
    found
}

fn found(address: &str, source: &str) -> (String, String) {
    (address.to_owned(), source.to_owned())
}
