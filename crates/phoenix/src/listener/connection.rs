//! One connection, from its first byte to its end: HTTP/1.1 or HTTP/2, plain or over TLS, every wait with a
//! bound. Does not own the handshake (`tls`).

use std::convert::Infallible;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use phoenix_http::body::Body;
use phoenix_http::{Announced, ConnectionHold, Peer, Stack, Transport};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::admission::Place;
use super::gather::{Flowing, Gathering};
use super::proxy_protocol;
use super::reaper::{Order, UnderWay, Watched};
use super::{ConnectionLimits, Door, Entrance};
use crate::tls::Secured;

/// First bytes of HTTP/2 with prior knowledge (RFC 9113 section 3.4). No HTTP/1.1 request begins like this. All of them
/// are waited for here, because the protocol's own code would wait for the rest without a bound.
const HTTP2_MARK: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before looking again when less than the mark has arrived; it doubles with each look.
const SNIFF_PAUSE: Duration = Duration::from_millis(5);
/// Longest such pause.
const LONGEST_SNIFF_PAUSE: Duration = Duration::from_millis(500);
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
    entrance: Entrance,
    watched: Watched,
    idle_over: CancellationToken,
) {
    let Entrance { stack, door, limits } = entrance;
    // What comes before the first request has bounds of its own: the wait for a header begins after it.
    let opening = watched.marker().begin();
    // Not when the process begins to drain: the first request may be on the way.
    let peer = tokio::select! {
        () = idle_over.cancelled() => return,
        peer = identify(&mut stream, &mut place, peer.ip(), &stack, limits) => peer,
    };
    let Some(peer) = peer else { return };
    let door = match door {
        Door::Plain => None,
        // Boxed, so that a plain connection holds no room for what only TLS needs.
        Door::Tls(tls) => {
            let secured = tokio::select! {
                () = idle_over.cancelled() => return,
                secured = Box::pin(tls.accept(stream, limits.first_byte_timeout)) => secured,
            };
            let Some(secured) = secured else { return };
            drop(opening);
            return Box::pin(secure(secured, place, peer, stack, limits, watched)).await;
        }
        Door::Redirect(redirect) => Some(redirect),
    };
    let protocol = tokio::select! {
        () = idle_over.cancelled() => return,
        sniffed = tokio::time::timeout(limits.first_byte_timeout, sniff(&stream)) => sniffed,
    };
    // Nothing came in time, or the peer left: there is nobody to answer.
    let Ok(Ok(Some(protocol))) = protocol else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    drop(opening);
    if let Some(redirect) = door {
        let send_on =
            move |request: Request<Incoming>| ready(redirect.answer(request.uri(), request.headers()));
        return Box::pin(serve(stream, protocol, place, limits, watched, false, send_on)).await;
    }
    let gathers = stack.has_applications();
    let answer = move |request| stack.handle(peer, request);
    serve(stream, protocol, place, limits, watched, gathers, answer).await;
}

/// Serves a connection after its handshake.
async fn secure(
    secured: Secured,
    place: Place,
    peer: Peer,
    stack: Stack,
    limits: ConnectionLimits,
    watched: Watched,
) {
    let Secured { stream, is_http2, has_certificate } = secured;
    let peer = peer.over(Transport::Tls { has_certificate });
    let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
    let gathers = stack.has_applications();
    let answer = move |request| stack.handle(peer, request);
    serve(stream, protocol, place, limits, watched, gathers, answer).await;
}

/// Answers the requests of a connection. With `gathers` [`Gathering`] decides how each answer is written; without,
/// every answer is copied into one buffer, which costs small ones a little less.
async fn serve<S, F, A>(
    stream: S,
    protocol: Protocol,
    place: Place,
    limits: ConnectionLimits,
    watched: Watched,
    gathers: bool,
    answer: F,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> A + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let marker = watched.marker();
    // An upgrade outlives the connection that it began as, and counts for as long as it lasts.
    let hold = ConnectionHold(Arc::new(place));
    // Of an upgrade that was asked for and not granted. hyper gives such a connection back at its end, unclosed.
    let ungranted = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&ungranted);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let under_way = marker.clone().begin();
        let (mut wants_upgrade, mut is_coded) = (false, false);
        // One pass: most requests have neither, and a look-up costs as much.
        for name in request.headers().keys() {
            wants_upgrade |= *name == UPGRADE;
            is_coded |= *name == TRANSFER_ENCODING;
        }
        if wants_upgrade || request.method() == Method::CONNECT {
            let upgrade = hyper::upgrade::on(&mut request);
            request.extensions_mut().insert(upgrade.clone());
            *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
            request.extensions_mut().insert(hold.clone());
        }
        let in_doubt = request.method() == Method::CONNECT || (is_coded && is_coding_odd(request.headers()));
        let asked = wants_upgrade.then(|| Arc::clone(&asked));
        answer(request).map(move |mut response| {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                under_way.becomes_tunnel();
                // From now on it is whoever asked for it that waits for it.
                asked.and_then(|asked| asked.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            if protocol == Protocol::Http1 && (in_doubt || under_way.is_last()) {
                say_it_is_the_last(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| Marked { body, _under_way: under_way }))
        })
    });
    let stream = Flowing::new(stream, watched.flow());
    match protocol {
        Protocol::Http1 => {
            let io = TokioIo::new(Gathering::new(stream));
            {
                let mut connection =
                    pin!(http1(limits).writev(gathers).serve_connection(io, service).with_upgrades());
                let finish = http1::UpgradeableConnection::graceful_shutdown;
                obey(&watched, connection.as_mut(), Order::Finish, finish).await;
                // Dropped before the upgrade is waited for: a connection that failed will never grant it.
            }
            let upgrade = ungranted.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(upgrade) = upgrade {
                let closed = async {
                    if let Ok(connection) = upgrade.await {
                        let _ = TokioIo::new(connection).shutdown().await;
                    }
                };
                obey(&watched, pin!(closed), Order::Close, |_| ()).await;
            }
        }
        Protocol::Http2 => {
            watched.speaks_http2();
            let mut connection = pin!(http2(limits).serve_connection(TokioIo::new(stream), service));
            // Loses no request: the client is told which is the last one, and those before it are answered.
            obey(&watched, connection.as_mut(), Order::Last, http2::Connection::graceful_shutdown).await;
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

/// Whether others may take the request to end elsewhere than hyper does, which reads the last coding alone. As after
/// `CONNECT`, where a client may go on inside the tunnel that it hopes for, what follows must not be taken for a request,
/// whatever is answered (RFC 9112 section 6.3). Beside a coding and a length, hyper closes by itself.
fn is_coding_odd(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings
        .next()
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some())
}

/// Tells the client to send no further request (RFC 9112 section 9.6). hyper closes the connection after the answer.
fn say_it_is_the_last(response: &mut Response<Body>) {
    // The connection goes on as something else.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Drives a connection to its end, or as far as the reaper lets it. `finish` is called once, at an order of `from` or
/// above.
async fn obey<C: Future>(
    watched: &Watched,
    mut connection: Pin<&mut C>,
    from: Order,
    finish: impl Fn(Pin<&mut C>),
) {
    let mut finishing = false;
    std::future::poll_fn(move |context| {
        match watched.order(context) {
            Order::Close => return Poll::Ready(()),
            order if order >= from && !finishing => {
                finishing = true;
                finish(connection.as_mut());
            }
            _ => {}
        }
        // How it ended is the peer's business: it left, or broke the protocol.
        connection.as_mut().poll(context).map(|_| ())
    })
    .await;
}

/// What the first bytes say, without taking them. `None` when the peer closed.
async fn sniff(stream: &TcpStream) -> std::io::Result<Option<Protocol>> {
    let mut bytes = [0; HTTP2_MARK.len()];
    let mut next = SNIFF_PAUSE;
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
        pause(next).await;
        next = next.saturating_mul(2).min(LONGEST_SNIFF_PAUSE);
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
