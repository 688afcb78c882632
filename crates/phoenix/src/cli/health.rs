//! `phoenix health`: for container health checks and scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use phoenix_config::Config;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Failure, output};
use crate::tls::probe;

/// Longest answer of a probe in bytes.
const MAX_ANSWER: usize = 4096;

#[derive(Args, Debug)]
pub(super) struct HealthArgs {
    /// Address to ask [default: the configured one]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, args: &HealthArgs) -> Result<(), Failure> {
    let address = args.address.unwrap_or_else(|| reachable(config.server.listen));
    let is_https = !config.tls.certificates.is_empty();
    let url = format!("{}://{address}/readyz", if is_https { "https" } else { "http" });
    let asked = tokio::time::timeout(Duration::from_secs(args.timeout), ask(address, is_https)).await;
    let answer = match asked {
        Ok(answer) => answer.with_context(|| format!("nothing answers at {url}")),
        Err(_elapsed) => Err(anyhow::anyhow!("no answer from {url} within {} s", args.timeout)),
    };
    if args.json {
        let view = match &answer {
            Ok(text) => json!({"ready": true, "answer": text}),
            Err(error) => json!({"ready": false, "answer": format!("{error:#}")}),
        };
        output::text(&format!("{view:#}\n"))?;
    }
    let text = answer?;
    if args.json { Ok(()) } else { output::text(&format!("{text}\n")) }
}

/// Where a server that listens everywhere can be reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr, is_https: bool) -> anyhow::Result<String> {
    let stream = TcpStream::connect(address).await?;
    if is_https {
        exchange(probe::connect(stream).await?, address).await
    } else {
        exchange(stream, address).await
    }
}

async fn exchange<S>(stream: S, address: SocketAddr) -> anyhow::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| anyhow::anyhow!("the answer is too long"))?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
    };
    // Both to their end: a server may close the connection with its answer. The sender ends with the exchange, and the
    // connection with the sender.
    let (answered, ended) = tokio::join!(exchange, connection);
    let (status, text) = match (answered, ended) {
        (Ok(answer), _) => answer,
        (Err(_), Err(error)) => return Err(error.into()),
        (Err(error), Ok(())) => return Err(error.context("the connection was closed without an answer")),
    };
    if status != StatusCode::OK {
        bail!("the server is not ready: {text}");
    }
    Ok(text)
}
