//! The least that a proxy on hyper can do: hyper's server, hyper-util's pooled client, and nothing between them. What
//! Phoenix does besides is seen beside it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// Idle connections to the application.
const IDLE_CONNECTIONS: usize = 256;

/// Passes every request on, until the process is ended. On the calling thread alone.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve(listen: SocketAddr, origin: SocketAddr) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("make a runtime")?;
    runtime.block_on(accept(listen, origin))
}

async fn accept(listen: SocketAddr, origin: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    println!("listening on http://{}", listener.local_addr().context("ask for the own address")?);
    let authority: Authority = origin.to_string().parse().context("the application's address")?;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build_http::<Incoming>();
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        let (client, authority) = (client.clone(), authority.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(authority.clone());
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            client.request(request)
        });
        // A connection ends with its client; this program does nothing else.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
