//! The PROXY protocol, over real connections: who must speak it, who may not, and what is closed.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::support::{Backend, Node, SOON, Site};
use super::{CLIENT, PROXY, STRANGER, VICTIM, connect, found, request, short, tell, until_closed};

const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

async fn behind_proxy(settings: &[(&str, &str)]) -> Node {
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")
        .with("PHOENIX_PROXY_PROTOCOL", "on");
    settings.iter().fold(site, |site, (name, value)| site.with(name, value)).node().await
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 4711 443\r\n").into_bytes()
}

/// Version 2 with a client of IPv4 and this many bytes after the addresses.
fn v2(client: [u8; 4], extension: usize) -> Vec<u8> {
    let length = u16::try_from(12 + extension).unwrap().to_be_bytes();
    [MARK, &[0x21, 0x11], &length, &client, &[192, 0, 2, 1, 1, 1, 1, 187], &vec![b'G'; extension]].concat()
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_the_one_that_a_trusted_proxy_names() {
    let node = behind_proxy(&[]).await;
    let forged = format!("X-Forwarded-For: {VICTIM}\r\n");
    let local = [MARK, &[0x20, 0x00, 0, 0]].concat();
    for (header, address, source) in [
        (v1(CLIENT), CLIENT, "proxy-protocol"),
        (v2([203, 0, 113, 9], 0), CLIENT, "proxy-protocol"),
        (v2([203, 0, 113, 9], 3000), CLIENT, "proxy-protocol"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n".to_vec(), CLIENT, "proxy-protocol"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7", "proxy-protocol"),
        // Another proxy, which is trusted, stands before the first: what it wrote counts.
        (v1("10.0.0.5"), VICTIM, "x-forwarded-for"),
        // Nobody is named: nothing says who wrote the headers.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "peer"),
        (local, "127.0.0.1", "peer"),
    ] {
        let bytes = [header, request(forged.as_bytes())].concat();
        let expected = found(address, source);
        assert_eq!(short(&tell(PROXY, node.address, &bytes).await), expected, "in one piece");
        if bytes.len() < 1000 {
            let mut stream = connect(PROXY, node.address).await;
            stream.set_nodelay(true).unwrap();
            for byte in &bytes {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(short(&until_closed(&mut stream).await), expected, "byte by byte");
        }
    }
    node.stop().await;
}

// spec: R4
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_must_speak_it_and_nobody_else_may() {
    let node = behind_proxy(&[("PHOENIX_FIRST_BYTE_TIMEOUT", "300ms")]).await;
    let too_long = v2([203, 0, 113, 9], 4096);
    for garbage in [
        request(b""),
        [b"PROXY TCP4 nonsense\r\n".to_vec(), request(b"")].concat(),
        [too_long, request(b"")].concat(),
        [MARK, &[0x21, 0x11, 0, 1, 7]].concat(),
        // These wait for more, until their time is over.
        b"PROXY TCP4 203.0.113.9 ".to_vec(),
        MARK.to_vec(),
        [MARK, &[0x21, 0x11, 0x0f, 0x00], &[1; 500][..]].concat(),
        Vec::new(),
    ] {
        assert_eq!(tell(PROXY, node.address, &garbage).await, b"", "{}", String::from_utf8_lossy(&garbage));
    }
    // A peer that leaves in the middle.
    let mut gone = connect(PROXY, node.address).await;
    gone.write_all(b"PROXY TCP4 ").await.unwrap();
    drop(gone);
    assert_eq!(short(&tell(STRANGER, node.address, &request(b"")).await), found("127.0.0.66", "peer"));
    for header in [v1(VICTIM), v2([198, 51, 100, 7], 0)] {
        let answer = tell(STRANGER, node.address, &[header, request(b"")].concat()).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
        assert!(!text.contains("200 OK"), "{text}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_follows_it() {
    let node = behind_proxy(&[]).await;
    let mut stream = connect(PROXY, node.address).await;
    stream.write_all(&v2([203, 0, 113, 9], 100)).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    for _ in 0..3 {
        let request = Request::get(format!("http://{}/api/phoenix/whoami", node.address));
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], format!(r#"{{"ipAddress":"{CLIENT}","source":"proxy-protocol"}}"#).as_bytes());
    }
    drop(sender);
    node.stop().await;
}

/// Asks on a connection that stays open; whether there was an answer.
async fn answers(stream: &mut TcpStream) -> bool {
    if stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let reading = async {
        let mut chunk = [0; 1024];
        while !answer.ends_with(b"ok\n") {
            match stream.read(&mut chunk).await {
                Ok(length @ 1..) => answer.extend_from_slice(&chunk[..length]),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer or an end in time")
}

async fn open(node: &Node, header: &[u8]) -> TcpStream {
    let mut stream = connect(PROXY, node.address).await;
    // It may be closed before.
    let _ = stream.write_all(header).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_count_for_the_client_and_never_for_the_proxy() {
    let node = behind_proxy(&[("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "2")]).await;
    let mut kept = Vec::new();
    for last in [1, 1, 2, 2, 3] {
        let mut stream = open(&node, &v2([203, 0, 113, last], 0)).await;
        assert!(answers(&mut stream).await, "two of each: {last}");
        kept.push(stream);
    }
    for _ in 0..4 {
        let mut stream = open(&node, b"PROXY UNKNOWN\r\n").await;
        assert!(answers(&mut stream).await, "the proxy's own");
        kept.push(stream);
    }
    assert!(!answers(&mut open(&node, &v1("203.0.113.1")).await).await, "a third of one client");
    drop(kept.remove(0));
    wait::until(SOON, "the free place", async || answers(&mut open(&node, &v1("203.0.113.1")).await).await)
        .await;
    drop(kept);
    node.stop().await;

    // A proxy that writes headers has as many connections as it likes, a stranger has not.
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1")
        .with("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "2");
    let node = site.node().await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut stream = open(&node, b"").await;
        assert!(answers(&mut stream).await);
        kept.push(stream);
    }
    for served in [true, true, false] {
        let mut stream = connect(STRANGER, node.address).await;
        assert_eq!(answers(&mut stream).await, served);
        kept.push(stream);
    }
    drop(kept);
    node.stop().await;
}
