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
/// Every answer of Phoenix has it, and what it answers to this question when it is ready says nothing else.
const MARK: &str = "x-phoenix-version";
const READY: &str = "ready";
/// With this a port of ours for HTTPS answers plain HTTP, before there is a request.
const SPEAKS_HTTPS: &str = "This port speaks HTTPS";

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
        Ok(answer) => {
            answer.with_context(|| format!("nothing answers at {url}")).and_then(|answer| judge(answer, &url))
        }
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

/// What was answered.
struct Answer {
    status: StatusCode,
    is_phoenix: bool,
    text: String,
}

/// The answer of a Phoenix that is ready. Of another program nothing is repeated.
fn judge(Answer { status, is_phoenix, text }: Answer, url: &str) -> anyhow::Result<String> {
    if !is_phoenix && text.starts_with(SPEAKS_HTTPS) {
        bail!("{SPEAKS_HTTPS}, and {url} does not; set PHOENIX_TLS_CERTIFICATES as for the server");
    }
    if !is_phoenix {
        bail!("what answers at {url} is not Phoenix: {status} without the header X-Phoenix-Version");
    }
    if status != StatusCode::OK {
        bail!("the server at {url} is not ready: {text}");
    }
    if text != READY {
        bail!("what answers at {url} is not Phoenix: it says something else than \"{READY}\"");
    }
    Ok(text)
}

async fn ask(address: SocketAddr, is_https: bool) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    if is_https {
        exchange(probe::connect(stream).await?, address).await
    } else {
        exchange(stream, address).await
    }
}

async fn exchange<S>(stream: S, address: SocketAddr) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let (status, is_phoenix) = (response.status(), response.headers().contains_key(MARK));
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| anyhow::anyhow!("the answer is too long"))?.to_bytes();
        anyhow::Ok(Answer { status, is_phoenix, text: String::from_utf8_lossy(&body).trim().to_owned() })
    };
    // Both to their end: a server may close the connection with its answer. The sender ends with the exchange, and the
    // connection with the sender.
    let (answered, ended) = tokio::join!(exchange, connection);
    match (answered, ended) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error.context("the connection was closed without an answer")),
    }
}
