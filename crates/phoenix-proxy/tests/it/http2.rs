//! HTTP/2 on either side.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_proxy::Protocol;
use phoenix_testkit::upstream::{Script, Upstream};
use phoenix_testkit::wait;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::gateway::{BOUND, Gateway, Settings, ask, config, get, often_checked, within};

type Body = BoxBody<Bytes, hyper::Error>;

/// An application that speaks HTTP/2 without TLS.
struct App {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Requests that are not yet answered.
    waiting: Arc<AtomicUsize>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, waiting) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, waits) = (Arc::clone(&connections), Arc::clone(&waiting));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let waits = Arc::clone(&waits);
                let service = service_fn(move |request| answer(request, Arc::clone(&waits)));
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, connections, waiting }
    }

    async fn gateway(&self) -> Gateway {
        let mut config = config(&[self.address]);
        config.protocol = Protocol::Http2;
        Gateway::with(config, Settings::default()).await
    }
}

async fn answer(request: Request<Incoming>, waiting: Arc<AtomicUsize>) -> Result<Response<Body>, Infallible> {
    waiting.fetch_add(1, Ordering::SeqCst);
    let _waiting = Waiting(waiting);
    let (parts, body) = request.into_parts();
    match parts.uri.path() {
        "/silent" => std::future::pending().await,
        "/grpc" => {
            // Echoes as it reads, then says how it went: a call with streams in both directions.
            assert_eq!(parts.headers["te"], "trailers");
            assert!(!parts.headers.contains_key("transfer-encoding"));
            let mut response = Response::new(body.boxed());
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            let response = response.map(|body| {
                body.with_trailers(async {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    trailers.insert("x-phoenix-role", "admin".parse().unwrap());
                    Some(Ok(trailers))
                })
                .boxed()
            });
            Ok(response)
        }
        _ => {
            let body = body.collect().await.unwrap().to_bytes();
            let text = format!(
                "{} {} {:?} host={:?} te={:?} {}",
                parts.method,
                parts.uri,
                parts.version,
                parts.headers.get("host"),
                parts.headers.get("transfer-encoding"),
                String::from_utf8_lossy(&body)
            );
            Ok(Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed()))
        }
    }
}

async fn client(address: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body that is over, of which hyper does not know that its length is 0.
struct Ended;

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_http1_share_one_connection_of_http2() {
    let app = App::start().await;
    let gateway = app.gateway().await;
    let requests = (0..20).map(|number| {
        let request = format!("POST /a?{number} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        async move { ask(gateway.address, &request).await }
    });
    let requests: Vec<_> = requests.collect();
    for (number, got) in futures_util::future::join_all(requests).await.into_iter().enumerate() {
        let expected = format!("POST http://app.test/a?{number} HTTP/2.0 host=None te=None hi");
        assert!(got.body.contains(&expected), "{}", got.text);
        assert_eq!(got.header("via"), Some("2.0 phoenix-test"));
    }
    assert_eq!(app.connections.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.proxy.report()[0].under_way, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_grpc_streams_both_ways_and_ends_with_its_trailers() {
    let app = App::start().await;
    let gateway = app.gateway().await;
    let mut client = client(gateway.address).await;
    let (send, mut receive) = mpsc::channel::<&'static str>(1);
    let stream = futures_util::stream::poll_fn(move |context| {
        receive.poll_recv(context).map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    });
    let request = Request::post(format!("http://{}/grpc", gateway.address))
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .body(BodyExt::boxed(StreamBody::new(stream)))
        .unwrap();
    let answer = within(client.send_request(request)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let mut body = answer.into_body();
    for text in ["one", "two", "three"] {
        within(send.send(text)).await.unwrap();
        let frame = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(send);
    let trailers = within(body.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_client_resets_the_stream_and_nothing_else() {
    let app = App::start().await;
    let gateway = app.gateway().await;
    let mut client = client(gateway.address).await;
    let silent = Request::get(format!("http://{}/silent", gateway.address)).body(empty()).unwrap();
    let waiting = tokio::spawn(client.send_request(silent));
    wait::until(BOUND, "the request", || async { app.waiting.load(Ordering::SeqCst) == 1 }).await;
    waiting.abort();
    wait::until(BOUND, "the reset", || async { app.waiting.load(Ordering::SeqCst) == 0 }).await;
    assert!(get(gateway.address, "/b").await.body.contains("GET http://app.test/b"));
    assert_eq!(app.connections.load(Ordering::SeqCst), 1);
    wait::until(BOUND, "the place", || async { gateway.proxy.report()[0].under_way == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_http2_reach_an_application_of_http1() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/slow", Script::slow(Duration::from_millis(50), "late"));
    let gateway = Gateway::to(&upstream).await;
    let mut client = client(gateway.address).await;
    let body = StreamBody::new(futures_util::stream::iter(
        ["a", "b"].map(|text| Ok(Frame::data(Bytes::from(text)))),
    ));
    let request = Request::post("http://app.test:81/a?b")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .body(BodyExt::boxed(body))
        .unwrap();
    let answer = within(client.send_request(request)).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    within(answer.into_body().collect()).await.unwrap();
    let seen = upstream.last().unwrap();
    assert_eq!((seen.target.as_str(), seen.version.as_str()), ("/a?b", "HTTP/1.1"));
    assert_eq!((seen.header("host"), seen.header("cookie")), (Some("app.test:81"), Some("a=b; c=d")));
    assert_eq!((seen.header("transfer-encoding"), seen.body.as_slice()), (Some("chunked"), b"ab".as_slice()));
    assert_eq!(seen.header("via"), Some("2.0 phoenix-test"));
    // Streams do not wait for each other.
    let requests = (0..10).map(|_| {
        let request = Request::get("http://app.test/slow").body(empty()).unwrap();
        let answer = client.send_request(request);
        async { within(answer).await.unwrap().into_body().collect().await.unwrap().to_bytes() }
    });
    let requests: Vec<_> = requests.collect();
    for body in futures_util::future::join_all(requests).await {
        assert_eq!(body, "late");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_body_has_a_length_where_the_method_has_bodies() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::to(&upstream).await;
    let mut client = client(gateway.address).await;
    for (method, length) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("DELETE", None), ("GET", None)]
    {
        let request = Request::builder().method(method).uri("http://app.test/a").body(Ended.boxed()).unwrap();
        assert_eq!(within(client.send_request(request)).await.unwrap().status(), 200);
        let seen = upstream.last().unwrap();
        assert_eq!((seen.method.as_str(), seen.header("content-length")), (method, length));
        assert_eq!(seen.header("transfer-encoding"), None);
    }
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(gateway.address, request).await.status, 200);
    assert_eq!(upstream.last().unwrap().header_all("content-length"), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_upgrades_to_an_application_of_http2() {
    let app = App::start().await;
    let gateway = app.gateway().await;
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: x\r\n\r\n";
    assert_eq!(ask(gateway.address, request).await.header("failure"), Some("BadUpgrade"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_does_not_speak_http2_is_noticed() {
    let upstream = Upstream::start().unwrap();
    let mut config = config(&[upstream.address()]);
    config.protocol = Protocol::Http2;
    let gateway = Gateway::with(config, Settings::default()).await;
    let got = get(gateway.address, "/").await;
    assert!(matches!(got.header("failure"), Some("Closed" | "Garbage")), "{}", got.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_have_connections_of_their_own() {
    let app = App::start().await;
    let mut config = config(&[app.address]);
    config.protocol = Protocol::Http2;
    config.health = Some(often_checked());
    let gateway = Gateway::with(config, Settings::default()).await;
    let (stop, proxy) = (gateway.drain.clone(), gateway.proxy.clone());
    let tending = tokio::spawn(async move { proxy.tend(stop).await });
    wait::until(BOUND, "checks", || async { app.connections.load(Ordering::SeqCst) > 3 }).await;
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.requests), (true, 0));
    gateway.drain.cancel();
    tending.await.unwrap();
    wait::until(BOUND, "their tasks to end", || async { gateway.tasks.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_connection_ends_when_the_proxy_is_drained() {
    let app = App::start().await;
    let gateway = app.gateway().await;
    assert_eq!(get(gateway.address, "/").await.status, 200);
    assert!(!gateway.tasks.is_empty(), "the connection has a task");
    gateway.drain.cancel();
    gateway.proxy.tend(gateway.drain.clone()).await;
    wait::until(BOUND, "the task to end", || async { gateway.tasks.is_empty() }).await;
    // Late requests still pass, and leave nothing behind.
    assert_eq!(get(gateway.address, "/").await.status, 200);
    wait::until(BOUND, "the task to end", || async { gateway.tasks.is_empty() }).await;
}
