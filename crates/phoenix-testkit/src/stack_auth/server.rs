//! The listening side: accepts connections, counts calls, carries out faults, hands the rest to the routes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Shared;
use super::faults::{Fault, JwksMode, Route};
use super::reply::Reply;
use super::request::{Incoming, SeenRequest};
use super::routes::{self, Target};

/// Connections at once; further ones wait in the kernel.
const CONNECTIONS: usize = 16_384;
/// Largest request body.
const BODY_BYTES: usize = 1024 * 1024;
/// A proxy in front of the API says this in plain text.
const FAULT_TEXT: &str = "the fake was told to fail";

/// The connection is to be reset.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the fake was told to reset the connection")
    }
}

impl std::error::Error for Reset {}

type Answer = Result<Response<Full<Bytes>>, Reset>;

/// Serves until `stop` changes or its sender is gone; then all connections are closed.
pub(super) async fn run(listener: net::TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept(), if connections.len() < CONNECTIONS => {
                shared.counters.connected();
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    // Boxed, because hyper gives the stream back only if it may move the future.
    let service = service_fn(move |request| -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let shared = Arc::clone(&shared);
        Box::pin(async move { serve(&shared, request).await })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    if ended.is_err() {
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn serve(shared: &Shared, request: Request<Body>) -> Answer {
    let target = routes::target(request.method(), request.uri().path());
    let route = target.route();
    let _running = shared.counters.enter(route);
    let mut healed = shared.healed.subscribe();
    let (latency, fault) = {
        let mut state = shared.state();
        state.last[route as usize] = Some(SeenRequest {
            method: request.method().clone(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
        });
        let (latency, fault) = state.faults.next(route);
        match route {
            Route::Jwks => of_jwks(&state.jwks, latency, fault),
            _ => (latency, fault),
        }
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match fault {
        None => Ok(answer(shared, &target, request).await),
        Some(Fault::Status(status)) => Ok(Reply::text(status, FAULT_TEXT).bare()),
        Some(Fault::RateLimited { retry_after_s }) => {
            let reply = Reply::text(429, "Too many requests");
            Ok(match retry_after_s {
                Some(seconds) => reply.with(header::RETRY_AFTER, &seconds.to_string()).bare(),
                None => reply.bare(),
            })
        }
        Some(Fault::Body(body)) => Ok(Reply::json_bytes(body).bare()),
        Some(Fault::Reset) => Err(Reset),
        Some(Fault::Hang) => {
            // An error means that the fake is gone, and this future with it.
            let _ = healed.changed().await;
            Err(Reset)
        }
    }
}

/// A mode of the key set as a fault; a fault planned for the route comes first.
fn of_jwks(
    mode: &JwksMode,
    latency: std::time::Duration,
    fault: Option<Fault>,
) -> (std::time::Duration, Option<Fault>) {
    let by_mode = match mode {
        JwksMode::Normal | JwksMode::Oversized(_) => None,
        JwksMode::Empty => Some(Fault::Body(Bytes::from_static(br#"{"keys":[]}"#))),
        JwksMode::Garbage => {
            Some(Fault::Body(Bytes::from_static(b"<!doctype html><title>Maintenance</title>")))
        }
        JwksMode::Status(status) => Some(Fault::Status(*status)),
        JwksMode::Hang => Some(Fault::Hang),
        JwksMode::Slow(slow) => return (latency.max(*slow), fault),
    };
    (latency, fault.or(by_mode))
}

async fn answer(shared: &Shared, target: &Target, request: Request<Body>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
        return Reply::text(413, "The request body is too large.").enveloped(false);
    };
    let incoming = Incoming::new(parts.uri.query(), parts.headers, body.to_bytes());
    let reply = routes::dispatch(shared, target, &incoming);
    let reply = reply.unwrap_or_else(|failure| Reply::failure(&failure));
    reply.enveloped(incoming.header("override-error-status").is_some())
}
