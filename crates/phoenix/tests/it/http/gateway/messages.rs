//! Messages go through as they are: bodies, lengths, trailers, interim answers, large headers; and within their bounds.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::upstream::{Script, Step};
use tokio::net::TcpStream;

use super::super::support::{Backend, Site, assert_problem};
use super::{Front, answered};

const MEBIBYTE: usize = 1024 * 1024;

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_whole_in_both_directions() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/large", Script::bytes(8 * MEBIBYTE));
    let large = front.get("/large").await;
    assert_eq!((large.body.len(), large.header("content-length")), (8 * MEBIBYTE, Some("8388608")));
    let head = answered(front.node.client.request(Method::HEAD, "/large")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for length in [0, 1, 1000, 70_000, 8 * MEBIBYTE] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let call = front.node.client.request(method.clone(), "/x").body(vec![b'y'; length]);
            assert_eq!(answered(call).await.status, 200);
            let seen = front.seen();
            assert_eq!((seen.method.as_str(), seen.body_length), (method.as_str(), length as u64));
            assert_eq!(seen.header("transfer-encoding"), None, "a length stays a length");
        }
    }
    front.app.on("/chunks", Script::chunked(&["one ", "two ", "three"]));
    let chunks = front.get("/chunks").await;
    assert_eq!((chunks.text().as_str(), chunks.header("content-length")), ("one two three", None));
    let mut wire = front.wire().await;
    wire.write("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n").await;
    wire.write("2\r\nde\r\n0\r\n\r\n").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
    let seen = front.seen();
    assert_eq!((seen.body.as_slice(), seen.header("transfer-encoding")), (&b"abcde"[..], Some("chunked")));
    assert!(!String::from_utf8_lossy(&seen.raw_body).contains("ext"), "no extensions of chunks");
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn trailers_and_interim_answers_pass() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/trailers", Script::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\
         Set-Cookie: a=b\r\nX-Phoenix-Role: admin\r\n\r\n",
    ));
    let mut wire = front.wire().await;
    wire.write("GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n").await;
    wire.head().await;
    let rest = wire.until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(rest.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{rest}");
    let seen = front.seen();
    assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("TE")));

    front.app.on("/interim", Script::raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ));
    let answer = front.get("/interim").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_leave_to_send_is_given_it_or_the_answer() {
    let routes = r#"[{ path = "/small/{*rest}", max_body = "10B" }, { path = "/members/{*rest}", auth = "required" }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    let ask = |path: &str, length: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut wire = front.wire().await;
    wire.write(ask("/x", 5)).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 100 "));
    wire.write("hello").await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(front.seen().body, b"hello");
    let before = front.app.requests();
    for (request, status) in [
        (ask("/small/x", 11), 413),
        (ask("/members/x", 5), 401),
        (ask("/x", 5).replace("100-continue", "200-ok"), 417),
    ] {
        let mut wire = front.wire().await;
        wire.write(&request).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}");
    }
    assert_eq!(front.app.requests(), before, "nobody sent a byte of a body in vain");
    // The application need not read what it refuses.
    front.app.on("/early", Script::fixed(403, "no").early());
    let mut wire = front.wire().await;
    wire.write(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MEBIBYTE)).await;
    wire.write(vec![b'x'; 1000]).await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_the_bound_of_its_route_whether_its_length_is_told_or_not() {
    let routes =
        r#"[{ path = "/small/{*rest}", max_body = "1KiB" }, { path = "/none/{*rest}", max_body = "0B" }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    for (path, length, status) in [
        ("/small/x", 1024, 200),
        ("/small/x", 1025, 413),
        ("/none/x", 0, 200),
        ("/none/x", 1, 413),
        ("/x", 1025, 200),
    ] {
        let before = front.app.requests();
        let told = answered(front.node.client.post(path).body(vec![b'x'; length])).await;
        assert_eq!(told.status, status, "{path} {length}: {}", told.text());
        if status == 413 {
            assert_problem(&told, 413, "body-too-large");
            assert_eq!(front.app.requests(), before, "it is known from the head");
        }
        let mut wire = front.wire().await;
        wire.write(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
        let chunk =
            if length == 0 { String::new() } else { format!("{length:x}\r\n{}\r\n", "x".repeat(length)) };
        wire.try_write(format!("{chunk}0\r\n\r\n")).await;
        let head = wire.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {length}: {head}");
    }
    // None that was too large was taken by the application for a whole one.
    assert!(front.app.seen().iter().all(|seen| seen.path() != "/small/x" || seen.body_length <= 1024));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn large_header_fields_pass_in_both_directions_and_larger_ones_are_refused() {
    let front = Front::new(Backend::Sqlite).await;
    let large = "v".repeat(10_000);
    let own =
        format!("HTTP/1.1 200 OK\r\nX-Large: {large}\r\nSet-Cookie: a={large}\r\nContent-Length: 0\r\n\r\n");
    front.app.on("/x", Script::raw(own));
    for name in ["x-large", "cookie"] {
        let answer = answered(front.node.client.get("/x").header(name, &large)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-large")), (200, Some(large.as_str())));
        assert_eq!(front.seen().header(name), Some(large.as_str()));
    }
    let before = front.app.requests();
    for more in [format!("X-Large: {}\r\n", "v".repeat(200_000)), "X-Many: 1\r\n".repeat(1000)] {
        let mut wire = front.wire().await;
        wire.try_write(format!("GET /x HTTP/1.1\r\nHost: a\r\n{more}\r\n")).await;
        let answer = wire.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(front.app.requests(), before);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_as_two_requests_is_sent_as_none() {
    let front = Front::new(Backend::Sqlite).await;
    let smuggled = "GET /members/x HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\n X: folded\r\n",
    ] {
        let mut wire = front.wire().await;
        wire.write(format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n{smuggled}")).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{fields}{head}");
    }
    assert_eq!(front.app.seen().len(), 0, "the application saw none of them");
    // Chunks count and not the length (RFC 9112 section 6.3), which the application does not see.
    // A line may end without a carriage return (section 2.2); ours never do.
    for (count, both) in (1..).zip([
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "X: a\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ]) {
        let mut wire = front.wire().await;
        wire.write(format!("POST /x HTTP/1.1\r\nHost: a\r\n{both}\r\n0\r\n\r\n{smuggled}")).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
        // What follows is not read: the connection is closed (section 6.1).
        let rest = wire.rest().await;
        assert_eq!(rest.matches("HTTP/1.1").count(), 1, "only the echo's own: {rest}");
        let seen = front.seen();
        assert_eq!(
            (front.app.seen().len(), seen.body_length, seen.header("content-length")),
            (count, 0, None)
        );
        assert!(!seen.head.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'), "{seen:?}");
    }
    // One length that is said twice is one.
    let mut wire = front.wire().await;
    let twice = "Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n";
    wire.write(format!("POST /x HTTP/1.1\r\nHost: a\r\n{twice}\r\nhello")).await;
    assert!(wire.rest().await.starts_with("HTTP/1.1 200 "));
    let (seen, length) = (front.seen(), String::from("content-length"));
    let lengths: Vec<_> =
        seen.headers.iter().filter(|(name, _)| name.to_ascii_lowercase() == length).collect();
    assert_eq!((lengths.len(), lengths[0].1.as_str(), seen.body.as_slice()), (1, "5", &b"hello"[..]));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_not_passed_on_are_refused_with_those_that_are() {
    let front = Front::new(Backend::Sqlite).await;
    for method in ["TRACE", "delete"] {
        let mut wire = front.wire().await;
        wire.write(format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = wire.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 405 "), "{head}");
        assert!(head.contains("\r\nallow: get, head, post, put, patch, delete, options\r\n"), "{head}");
        assert!(!head.contains("proxy-status"), "it is no answer of the application: {head}");
    }
    assert_eq!(front.app.requests(), 0);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn http2_carries_bodies_and_many_requests_at_once() {
    let front = Front::new(Backend::Sqlite).await;
    let stream = TcpStream::connect(front.node.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    let mut answers = Vec::new();
    for number in 0..40_usize {
        let uri = format!("http://{}/x?{number}", front.node.address);
        let body = Full::new(Bytes::from(vec![b'z'; number * 1000]));
        answers.push(sender.send_request(Request::post(uri).body(body).unwrap()));
    }
    for (number, answer) in answers.into_iter().enumerate() {
        let response = answer.await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(seen["target"], format!("/x?{number}"), "each its own answer");
        assert_eq!(seen["bodyLength"], number * 1000);
    }
    // A host that is named twice must be one host (RFC 9113 section 8.3.1).
    let before = front.app.requests();
    let uri = format!("http://{}/x", front.node.address);
    let two = Request::get(uri).header("host", "other.example").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(sender.send_request(two).await.unwrap().status(), 400);
    assert_eq!(front.app.requests(), before);
    drop(sender);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn requests_one_after_the_other_on_one_connection_stay_apart() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/slow", Script::new(vec![Step::Pause(std::time::Duration::from_millis(100)), Step::Echo]));
    let mut wire = front.wire().await;
    let one = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    wire.write(one("/slow", "first") + &one("/x", "second") + &one("/x", "")).await;
    for (path, body) in [("/slow", "first"), ("/x", "second"), ("/x", "")] {
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let json = wire.until("\"version\":\"HTTP/1.1\"}").await;
        let seen: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((seen["target"].as_str(), seen["body"].as_str()), (Some(path), Some(body)));
    }
    front.stop().await;
}
