//! HTTP/2 in plain frames on either side: what no library would send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phoenix_proxy::Protocol;
use phoenix_testkit::upstream::Upstream;
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{BOUND, Client, Gateway, Settings, ask, config, within};

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// RFC 9113 section 7.
const NO_ERROR: [u8; 4] = [0; 4];
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// `:status: 200` (RFC 7541 appendix A).
const OK: &[u8] = &[0x88];

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Bytes that the application takes of one request.
const WINDOW_BYTES: usize = 1000;
/// Says so (`SETTINGS_INITIAL_WINDOW_SIZE`).
const WINDOW: [u8; 6] = [0, 4, 0, 0, 3, 0xe8];

/// The head of a POST for `app.test`, and no end.
fn post() -> Vec<u8> {
    let fields = [&[0x83, 0x86, 0x84, 0x41, 8][..], b"app.test"].concat();
    frame(HEADERS, END_HEADERS, 1, fields)
}

/// The next frame: its kind and flags, its stream, and what it holds.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}

/// An application that answers each head with frames. These follow from the number of the connection and the stream.
struct App {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Requests that it was asked.
    heads: Arc<AtomicUsize>,
    /// Streams that were reset.
    resets: Arc<AtomicUsize>,
    /// Bytes of bodies.
    data: Arc<AtomicUsize>,
}

impl App {
    async fn start(reply: fn(usize, u32) -> Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [connections, heads, resets, data] = [(); 4].map(|()| Arc::<AtomicUsize>::default());
        let counts = [&connections, &heads, &resets, &data].map(Arc::clone);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let [connections, heads, resets, data] = counts.clone();
                let number = connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut preface = [0; PREFACE.len()];
                    stream.read_exact(&mut preface).await.unwrap();
                    stream.write_all(&frame(SETTINGS, 0, 0, WINDOW)).await.unwrap();
                    while let Some((kind, _, id, payload)) = read_frame(&mut stream).await {
                        match kind {
                            HEADERS => _ = heads.fetch_add(1, Ordering::SeqCst),
                            RST_STREAM => _ = resets.fetch_add(1, Ordering::SeqCst),
                            DATA => _ = data.fetch_add(payload.len(), Ordering::SeqCst),
                            _ => {}
                        }
                        if kind == HEADERS && stream.write_all(&reply(number, id)).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, connections, heads, resets, data }
    }

    async fn gateway(&self) -> Gateway {
        let mut config = config(&[self.address]);
        config.protocol = Protocol::Http2;
        Gateway::with(config, Settings::default()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_reset_without_an_error_is_no_whole_one() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::to(&upstream).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    let begun = [PREFACE, &frame(SETTINGS, 0, 0, []), &post(), &frame(DATA, 0, 1, "half")].concat();
    client.write_all(&begun).await.unwrap();
    wait::until(BOUND, "the head", || async { upstream.requests() == 1 }).await;
    client.write_all(&frame(RST_STREAM, 0, 1, NO_ERROR)).await.unwrap();
    wait::until(BOUND, "the end", || async { upstream.gone() + upstream.played() == 1 }).await;
    assert_eq!(
        (upstream.gone(), upstream.played()),
        (1, 0),
        "the application must not take it for the whole"
    );
    wait::until(BOUND, "the place", || async { gateway.proxy.report()[0].under_way == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_reset_without_an_error_is_no_whole_one() {
    let reply = |_, id| {
        let [head, half] = [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, 0, id, "half")];
        [head, half, frame(RST_STREAM, 0, id, NO_ERROR)].concat()
    };
    let app = App::start(reply).await;
    let gateway = app.gateway().await;
    let mut client = Client::open(gateway.address).await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let all = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(!all.ends_with("0\r\n\r\n"), "{all}");
    assert_eq!(app.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_whole_before_it_is_reset_without_an_error_stays_whole() {
    let reply = |_, id| {
        let [head, all] = [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, END_STREAM, id, "all")];
        [head, all, frame(RST_STREAM, 0, id, NO_ERROR)].concat()
    };
    let app = App::start(reply).await;
    let gateway = app.gateway().await;
    let mut client = Client::open(gateway.address).await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    let all = client.until("0\r\n\r\n").await;
    assert!(all.starts_with("HTTP/1.1 200") && all.contains("all"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_with_its_answer_though_the_client_goes_on() {
    let app = App::start(|_, id| {
        [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, END_STREAM, id, "all")].concat()
    })
    .await;
    let gateway = app.gateway().await;
    let mut client = Client::open(gateway.address).await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
    assert!(client.until("0\r\n\r\n").await.contains("all"));
    wait::until(BOUND, "the reset", || async { app.resets.load(Ordering::SeqCst) == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_takes_ends_with_its_client() {
    // The application begins to answer, and never takes more than its first window.
    let app = App::start(|_, id| frame(HEADERS, END_HEADERS, id, OK)).await;
    let gateway = app.gateway().await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, []), &post()].concat()).await.unwrap();
    while within(read_frame(&mut client)).await.unwrap().0 != HEADERS {}
    client.write_all(&frame(DATA, 0, 1, [b'x'; 10_000]).repeat(5)).await.unwrap();
    wait::until(BOUND, "data", || async { app.data.load(Ordering::SeqCst) == WINDOW_BYTES }).await;
    assert_eq!(app.resets.load(Ordering::SeqCst), 0);
    client.write_all(&frame(RST_STREAM, 0, 1, CANCEL)).await.unwrap();
    wait::until(BOUND, "the reset", || async { app.resets.load(Ordering::SeqCst) == 1 }).await;
    wait::until(BOUND, "the place", || async { gateway.proxy.report()[0].under_way == 0 }).await;
}

/// Asks an application that does nothing with what it is asked first, and says so. It answers over the last of so many
/// connections.
async fn refused(connections: usize, reply: fn(usize, u32) -> Vec<u8>) {
    let app = App::start(reply).await;
    let gateway = app.gateway().await;
    let requests = ["GET", "POST", "DELETE"].map(|method| async move {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        ask(gateway.address, &request).await.status
    });
    assert_eq!(futures_util::future::join_all(requests).await, [200; 3]);
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.failures), (true, 0));
    assert_eq!(app.connections.load(Ordering::SeqCst), connections, "for all of them together");
    // What was begun to be sent cannot be sent again, and is no failure of the server either.
    let app = App::start(reply).await;
    let mut config = config(&[app.address, app.address]);
    config.protocol = Protocol::Http2;
    let gateway = Gateway::with(config, Settings::default()).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let first = ask(gateway.address, post).await;
    assert_eq!(first.header("failure"), Some("Closed"));
    assert_eq!(gateway.proxy.report().iter().map(|server| server.failures).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_that_goes_away_did_not_begin_with_is_sent_again() {
    refused(2, |connection, id| match connection {
        // Last stream: none.
        0 => frame(GOAWAY, 0, 0, [0; 8]),
        _ => frame(HEADERS, END_HEADERS | END_STREAM, id, OK),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_is_sent_again() {
    // Fewer than a request has tries: it does not matter whose streams these are.
    refused(1, |_, id| match id {
        1 | 3 => frame(RST_STREAM, 0, id, REFUSED_STREAM),
        _ => frame(HEADERS, END_HEADERS | END_STREAM, id, OK),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_everything_is_asked_again_as_often_as_retries_are_left_on_one_connection() {
    let app = App::start(|_, id| frame(RST_STREAM, 0, id, REFUSED_STREAM)).await;
    let gateway = app.gateway().await;
    for _ in 0..20 {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert_eq!(ask(gateway.address, post).await.header("failure"), Some("Closed"));
    }
    assert_eq!(app.connections.load(Ordering::SeqCst), 1);
    assert_eq!(app.heads.load(Ordering::SeqCst), 20 + 10, "a new budget has ten retries");
    let report = &gateway.proxy.report()[0];
    assert_eq!((report.is_up, report.failures), (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_resets_otherwise_is_not_sent_again() {
    let app = App::start(|_, id| frame(RST_STREAM, 0, id, CANCEL)).await;
    let gateway = app.gateway().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(gateway.address, post).await.header("failure"), Some("Closed"));
    assert_eq!(app.connections.load(Ordering::SeqCst), 1);
}
