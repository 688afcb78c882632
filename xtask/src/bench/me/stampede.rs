//! Ten thousand requests at once for one session that nobody has asked for yet.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Stage, block_on, counter, status};
use crate::bench::report::Bar;

const CONNECTIONS: usize = 100;
const STREAMS: usize = 100;

pub(super) fn run(stage: &Stage) -> Result<Vec<Bar>> {
    let server = stage.start(&[])?;
    let token = stage.tokens.first().context("there are sessions")?;
    let (right, reads) = block_on(async {
        let before = counter(&status(&server.client()).await?, "databaseReads")?;
        let right = storm(server.address(), token).await?;
        let after = counter(&status(&server.client()).await?, "databaseReads")?;
        Ok((right, after - before))
    })?;
    Ok(vec![
        Bar::at_least("stampede: right answers of 10,000", right as f64, "", (CONNECTIONS * STREAMS) as f64),
        // The second reading of the counters comes with a session of the administrator's own: one more read.
        Bar::at_most("stampede: database reads", reads - 1.0, "", 1.0),
    ])
}

async fn storm(address: std::net::SocketAddr, token: &str) -> Result<usize> {
    let mut connections = JoinSet::new();
    let start = Arc::new(Barrier::new(CONNECTIONS));
    for _ in 0..CONNECTIONS {
        let (start, token) = (Arc::clone(&start), token.to_owned());
        connections.spawn(async move { one_connection(address, &token, &start).await });
    }
    let mut right = 0;
    while let Some(outcome) = connections.join_next().await {
        right += outcome??;
    }
    Ok(right)
}

/// All streams of one connection, sent when every connection is open.
async fn one_connection(address: std::net::SocketAddr, token: &str, start: &Barrier) -> Result<usize> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    start.wait().await;
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let mut sender = sender.clone();
        let request = Request::get(format!("http://{address}/api/auth/me"))
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<Bytes>::new())?;
        streams.spawn(async move {
            let response = sender.send_request(request).await?;
            let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
            anyhow::Ok(status == 200 && body.starts_with(br#"{"authenticated":true"#))
        });
    }
    drop(sender);
    let mut right = 0;
    while let Some(outcome) = streams.join_next().await {
        right += usize::from(outcome??);
    }
    ensure!(right <= STREAMS, "more answers than requests");
    driver.await??;
    Ok(right)
}
