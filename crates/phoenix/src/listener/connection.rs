//! One connection, from its first byte to its end: HTTP/1.1 or HTTP/2, every wait with a bound.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use phoenix_http::body::Body;
use phoenix_http::{Announced, Peer, Stack};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::ConnectionLimits;
use super::admission::Place;
use super::proxy_protocol;
use super::reaper::{Order, UnderWay, Watched};

/// First bytes of HTTP/2 with prior knowledge (RFC 9113 section 3.4). No HTTP/1.1 request begins like this. All of them
/// are waited for here, because the protocol's own code would wait for the rest without a bound.
const HTTP2_MARK: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before looking again when less than the mark has arrived.
const SNIFF_PAUSE: Duration = Duration::from_millis(5);
/// An HTTP/2 peer must answer a ping within this.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams that a peer may open and reset before it is disconnected (CVE-2023-44487).
const HTTP2_MAX_RESETS: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves the connection until it ends, or the reaper ends it.
pub(super) async fn run(
    mut stream: TcpStream,
    mut place: Place,
    peer: SocketAddr,
    stack: Stack,
    limits: ConnectionLimits,
    watched: Watched,
    draining: CancellationToken,
) {
    let peer = tokio::select! {
        () = draining.cancelled() => return,
        peer = identify(&mut stream, &mut place, peer.ip(), &stack, limits) => peer,
    };
    let Some(peer) = peer else { return };
    let protocol = tokio::select! {
        () = draining.cancelled() => return,
        sniffed = tokio::time::timeout(limits.first_byte_timeout, sniff(&stream)) => sniffed,
    };
    // Nothing came in time, or the peer left: there is nobody to answer.
    let Ok(Ok(Some(protocol))) = protocol else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let marker = watched.marker();
    // Its wait for a header begins now, not when it was accepted.
    drop(marker.clone().begin());
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = marker.clone().begin();
        let wrap = |body| Marked { body, _under_way: under_way };
        stack.handle(peer, request).map(|response| Ok::<_, Infallible>(response.map(wrap)))
    });
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let mut connection = pin!(http1(limits).serve_connection(io, service).with_upgrades());
            obey(&watched, connection.as_mut(), http1::UpgradeableConnection::graceful_shutdown).await;
        }
        Protocol::Http2 => {
            let mut connection = pin!(http2(limits).serve_connection(io, service));
            obey(&watched, connection.as_mut(), http2::Connection::graceful_shutdown).await;
        }
    }
}

/// Whose the connection is. `None` when it cannot be served: a proxy that must say so did not in time, or the client
/// that it named has too many.
async fn identify(
    stream: &mut TcpStream,
    place: &mut Place,
    peer: IpAddr,
    stack: &Stack,
    limits: ConnectionLimits,
) -> Option<Peer> {
    if !limits.proxy_protocol || !stack.trusts(peer) {
        return Some(Peer::direct(peer));
    }
    let said = tokio::time::timeout(limits.first_byte_timeout, proxy_protocol::read(stream)).await;
    let Ok(Ok(Some(announced))) = said else {
        tracing::debug!(
            "a connection of a trusted proxy was closed: it did not begin with the PROXY protocol"
        );
        return None;
    };
    if let Announced::Client(address) = announced
        && !place.count_for(address)
    {
        tracing::debug!("a connection was refused: the client that the proxy named has too many open");
        return None;
    }
    Some(Peer::behind(peer, announced))
}

/// A body that marks its request as under way until it is sent, however slowly the peer reads.
struct Marked {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Marked {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Drives a connection to its end, or as far as the reaper lets it.
async fn obey<C: Future>(watched: &Watched, mut connection: Pin<&mut C>, finish: impl Fn(Pin<&mut C>)) {
    let mut finishing = false;
    std::future::poll_fn(move |context| {
        match watched.order(context) {
            Order::Serve => {}
            Order::Finish if finishing => {}
            Order::Finish => {
                finishing = true;
                finish(connection.as_mut());
            }
            Order::Close => return Poll::Ready(()),
        }
        // How it ended is the peer's business: it left, or broke the protocol.
        connection.as_mut().poll(context).map(|_| ())
    })
    .await;
}

/// What the first bytes say, without taking them. `None` when the peer closed.
async fn sniff(stream: &TcpStream) -> std::io::Result<Option<Protocol>> {
    let mut bytes = [0; HTTP2_MARK.len()];
    loop {
        let count = stream.peek(&mut bytes).await?;
        let arrived = bytes.get(..count).unwrap_or_default();
        if arrived.is_empty() {
            return Ok(None);
        }
        if arrived == HTTP2_MARK {
            return Ok(Some(Protocol::Http2));
        }
        if !HTTP2_MARK.starts_with(arrived) {
            return Ok(Some(Protocol::Http1));
        }
        // `peek` does not wait for more than it has seen. The caller bounds the loop.
        pause(SNIFF_PAUSE).await;
    }
}

async fn pause(pause: Duration) {
    let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
}

fn http1(limits: ConnectionLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // No `pipeline_flush`: it keeps back every answer while unread bytes wait, so that 431 and 400 are never sent.
    builder
        // The reaper bounds the wait for a header: hyper would arm a timer for each request.
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes)
        // One buffer: our answers are small, and copying one costs less than the segments of a gathered write.
        .writev(false)
        .half_close(false);
    builder
}

fn http2(limits: ConnectionLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_max_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_MAX_RESETS)
        .max_local_error_reset_streams(HTTP2_MAX_RESETS)
        .keep_alive_interval(limits.header_read_timeout)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}
