//! One GET of a server, for looking at it: over plain HTTP or TLS, in the version of HTTP that it is meant to speak,
//! bounded, without redirections.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_config::{Origin, Scheme, UpstreamProtocol};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::probe;

/// Longest answer in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Names of the versions of HTTP in TLS (RFC 7301 section 6).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Whose certificate is accepted.
#[derive(Clone)]
pub(super) enum Trust {
    /// Any, since the server is this machine's own.
    Anybody,
    /// Those that these settings vouch for.
    Verified(Arc<ClientConfig>),
}

/// Whom to ask, and how.
pub(super) struct Target {
    pub(super) origin: Origin,
    pub(super) trust: Trust,
    pub(super) protocol: UpstreamProtocol,
}

/// Something to read and write.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection on which nothing was said yet.
pub(super) struct Connected {
    stream: Box<dyn Stream>,
    is_http2: bool,
}

/// Connects, and says nothing.
pub(super) async fn reach(origin: &Origin) -> anyhow::Result<TcpStream> {
    let host = origin.host().trim_start_matches('[').trim_end_matches(']');
    TcpStream::connect((host, origin.port())).await.with_context(|| format!("cannot connect to {origin}"))
}

/// Connects, with the handshake of TLS where the origin asks for it.
pub(super) async fn connect(target: &Target) -> anyhow::Result<Connected> {
    let Target { origin, trust, protocol } = target;
    let stream = reach(origin).await?;
    if origin.scheme() == Scheme::Http {
        // By prior knowledge (RFC 9113 section 3.3), as the gateway does.
        let is_http2 = *protocol == UpstreamProtocol::Http2;
        return Ok(Connected { stream: Box::new(stream), is_http2 });
    }
    match trust {
        Trust::Anybody => Ok(Connected { stream: Box::new(probe::connect(stream).await?), is_http2: false }),
        Trust::Verified(config) => {
            let host = origin.host().trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned()).context("the host is no name for TLS")?;
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = offers(*protocol).iter().map(|name| name.to_vec()).collect();
            let connector = TlsConnector::from(Arc::new(config));
            let secured =
                connector.connect(name, stream).await.with_context(|| format!("TLS with {origin} failed"))?;
            let is_http2 = secured.get_ref().1.alpn_protocol() == Some(HTTP2);
            Ok(Connected { stream: Box::new(secured), is_http2 })
        }
    }
}

/// What is offered in the handshake (RFC 7301), as the gateway does.
const fn offers(protocol: UpstreamProtocol) -> &'static [&'static [u8]] {
    match protocol {
        UpstreamProtocol::Auto => &[HTTP2, HTTP1],
        UpstreamProtocol::Http1 => &[HTTP1],
        UpstreamProtocol::Http2 => &[HTTP2],
    }
}

/// Status and body.
pub(super) async fn get(
    target: &Target,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<(StatusCode, String)> {
    let Connected { stream, is_http2 } = connect(target).await?;
    let origin = target.origin.to_string();
    let authority = origin.split_once("://").map_or(origin.as_str(), |(_, authority)| authority);
    let request = if is_http2 {
        Request::get(format!("{origin}{path}"))
    } else {
        Request::get(path).header("host", authority)
    };
    let request = request.header("user-agent", "phoenix-doctor");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Empty::<Bytes>::new())?;
    if is_http2 { over_http2(stream, request).await } else { over_http1(stream, request).await }
}

async fn over_http1(
    stream: Box<dyn Stream>,
    request: Request<Empty<Bytes>>,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The sender ends with the exchange, and the connection with the sender.
    let exchange = async move { read(sender.send_request(request).await?).await };
    outcome(tokio::join!(exchange, connection))
}

async fn over_http2(
    stream: Box<dyn Stream>,
    request: Request<Empty<Bytes>>,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("HTTP/2 is not spoken")?;
    let exchange = async move { read(sender.send_request(request).await?).await };
    outcome(tokio::join!(exchange, connection))
}

async fn read(response: Response<Incoming>) -> anyhow::Result<(StatusCode, String)> {
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|_| anyhow::anyhow!("the answer is too long"))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The answer, or else what the connection says of the failure, which is more.
fn outcome<T>(both: (anyhow::Result<T>, hyper::Result<()>)) -> anyhow::Result<T> {
    match both {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error),
    }
}

/// The body of an answer that must be JSON and 200.
pub(super) async fn json(
    target: &Target,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    let (status, body) = get(target, path, headers).await?;
    ensure!(status == StatusCode::OK, "{path} answers {status}");
    let Ok(value) = serde_json::from_str(&body) else { bail!("{path} answers no JSON") };
    Ok(value)
}
