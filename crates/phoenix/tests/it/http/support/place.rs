//! Requests from another address of this machine: the whole of 127.0.0.0/8 is its own.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::http::Response;
use serde_json::Value;
use tokio::net::TcpSocket;

/// Sends a request from `source`, on a connection of its own.
pub(super) async fn send(
    source: Ipv4Addr,
    node: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
    body: Option<&Value>,
) -> Response {
    assert!(source.is_loopback(), "nothing leaves this machine");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let stream = socket.connect(node).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    let mut request = Request::builder().method(method).uri(path).header("host", node.to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default()));
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response { status: parts.status, headers: parts.headers, body }
}
