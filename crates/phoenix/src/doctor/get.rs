//! One GET of a server, for looking at it: over plain HTTP or TLS, bounded, without redirections.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use phoenix_config::{Origin, Scheme};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::probe;

/// Longest answer in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Whose certificate is accepted.
#[derive(Clone)]
pub(super) enum Trust {
    /// Any, since the server is this machine's own.
    Anybody,
    /// Those that these settings vouch for.
    Verified(Arc<ClientConfig>),
}

/// Something to read and write.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects, with the handshake of TLS where the origin asks for it.
pub(super) async fn connect(origin: &Origin, trust: &Trust) -> anyhow::Result<Box<dyn Stream>> {
    let host = origin.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, origin.port()))
        .await
        .with_context(|| format!("cannot connect to {origin}"))?;
    if origin.scheme() == Scheme::Http {
        return Ok(Box::new(stream));
    }
    let secured = match trust {
        Trust::Anybody => probe::connect(stream).await?,
        Trust::Verified(config) => {
            let name = ServerName::try_from(host.to_owned()).context("the host is no name for TLS")?;
            let connector = TlsConnector::from(Arc::clone(config));
            connector.connect(name, stream).await.with_context(|| format!("TLS with {origin} failed"))?
        }
    };
    Ok(Box::new(secured))
}

/// Status and body.
pub(super) async fn get(
    origin: &Origin,
    trust: &Trust,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<(StatusCode, String)> {
    let stream = connect(origin, trust).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let authority = origin.to_string();
    let authority = authority.split_once("://").map_or(authority.as_str(), |(_, authority)| authority);
    let request = Request::get(path).header("host", authority).header("user-agent", "phoenix-doctor");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| anyhow::anyhow!("the answer is too long"))?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The sender ends with the exchange, and the connection with the sender.
    match tokio::join!(exchange, connection) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error),
    }
}

/// The body of an answer that must be JSON and 200.
pub(super) async fn json(
    origin: &Origin,
    trust: &Trust,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<serde_json::Value> {
    let (status, body) = get(origin, trust, path, headers).await?;
    ensure!(status == StatusCode::OK, "{path} answers {status}");
    let Ok(value) = serde_json::from_str(&body) else { bail!("{path} answers no JSON") };
    Ok(value)
}
