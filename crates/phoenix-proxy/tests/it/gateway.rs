//! A gateway for tests: hyper's server, which passes every request to the proxy and says in a header why one failed.
//! And a client that speaks in plain bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use phoenix_proxy::{
    HealthCheck, Options, Parts, Protocol, Proxy, ServerOrigin, UpstreamConfig, check_framing,
};
use phoenix_testkit::upstream::Upstream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest wait of a test.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// What can be set.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) max_body: u64,
    pub(crate) deadline: Duration,
    pub(crate) idle: Duration,
    pub(crate) client_pause: Option<Duration>,
    pub(crate) keep_host: bool,
    pub(crate) max_tunnels: usize,
    pub(crate) fields: Bytes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 1 << 40,
            deadline: BOUND,
            idle: BOUND,
            client_pause: None,
            keep_host: true,
            max_tunnels: 100,
            fields: Bytes::new(),
        }
    }
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Proxy,
    pub(crate) drain: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) held: Arc<()>,
    stop: CancellationToken,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.drain.cancel();
    }
}

pub(crate) fn config(servers: &[SocketAddr]) -> UpstreamConfig {
    let origin = |address: &SocketAddr| ServerOrigin {
        https: false,
        host: address.ip().to_string(),
        port: address.port(),
    };
    UpstreamConfig {
        name: "app".to_owned(),
        servers: servers.iter().map(origin).collect(),
        protocol: Protocol::Auto,
        connect_timeout: Duration::from_secs(5),
        max_connections: 1000,
        health: None,
        tls: None,
    }
}

/// A check of health every ten milliseconds, each of which counts.
pub(crate) fn often_checked() -> HealthCheck {
    HealthCheck {
        path: "/health".to_owned(),
        interval: Duration::from_millis(10),
        timeout: BOUND,
        healthy_after: 1,
        unhealthy_after: 1,
    }
}

pub(crate) fn parts(drain: &CancellationToken, tasks: &TaskTracker, max_tunnels: usize) -> Parts {
    let start = Instant::now();
    Parts {
        via: "phoenix-test".to_owned(),
        tasks: tasks.clone(),
        connections: tasks.clone(),
        drain: drain.clone(),
        max_tunnels,
        clock: Arc::new(move || start.elapsed()),
        random: Arc::new(|| 0),
    }
}

impl Gateway {
    pub(crate) async fn to(upstream: &Upstream) -> Self {
        Self::with(config(&[upstream.address()]), Settings::default()).await
    }

    pub(crate) async fn with(config: UpstreamConfig, settings: Settings) -> Self {
        let (drain, tasks, stop) = (CancellationToken::new(), TaskTracker::new(), CancellationToken::new());
        let parts = parts(&drain, &tasks, settings.max_tunnels);
        let clock = Arc::clone(&parts.clock);
        let proxy = Proxy::new(&[config], parts).expect("the configuration is right");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let address = listener.local_addr().expect("bound");
        let held = Arc::new(());
        let (served, stopped, given) = (proxy.clone(), stop.clone(), Arc::clone(&held));
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                let Ok((stream, peer)) = accepted else { return };
                let (proxy, settings, stopped) = (served.clone(), settings.clone(), stopped.clone());
                let (clock, given) = (Arc::clone(&clock), Arc::clone(&given));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let options = Options {
                            fields: settings.fields.clone(),
                            client: peer.ip(),
                            is_https: false,
                            max_body: settings.max_body,
                            deadline: settings.deadline,
                            idle: settings.idle,
                            client_pause: settings.client_pause,
                            keep_host: settings.keep_host,
                            now: clock(),
                            hold: Some(Box::new(Arc::clone(&given))),
                        };
                        serve(proxy.clone(), request, options)
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = served => {}
                        () = stopped.cancelled() => {}
                    }
                });
            }
        });
        Self { address, proxy, drain, tasks, held, stop }
    }
}

type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

async fn serve(
    proxy: Proxy,
    request: Request<Incoming>,
    options: Options,
) -> Result<Response<Body>, Infallible> {
    let (mut parts, body) = request.into_parts();
    if let Err(error) = check_framing(&mut parts) {
        return Ok(problem(&format!("{error:?}")));
    }
    match proxy.forward(0, Request::from_parts(parts, body), options).await {
        Ok(answer) => Ok(answer.map(|body| SyncBody(Mutex::new(body)).boxed())),
        Err(failure) => Ok(problem(&format!("{failure:?}"))),
    }
}

/// The answer that says why there is none of the application.
fn problem(name: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(name.to_owned())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    let value = name.parse().expect("a word");
    response.headers_mut().insert("failure", value);
    response
}

/// Lets a body that is not `Sync` be boxed with the others.
struct SyncBody(Mutex<phoenix_proxy::AnswerBody>);

impl http_body::Body for SyncBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let body = self.get_mut().0.get_mut().expect("nobody else holds it");
        std::pin::Pin::new(body).poll_frame(context).map(|next| next.map(|next| next.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().expect("nobody else holds it").is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.lock().expect("nobody else holds it").size_hint()
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    /// With its framing.
    pub(crate) body: String,
    /// All of it.
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|values| {
            assert_eq!(values.len(), 1, "{name}: {values:?}");
            values[0].as_str()
        })
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("the answer has a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Self { status: status.expect("a status"), headers, body: body.to_owned(), text: text.clone() }
    }
}

/// A connection to a gateway.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("the gateway listens"))
    }

    pub(crate) async fn write(&mut self, text: &str) {
        within(self.0.write_all(text.as_bytes())).await.expect("the gateway reads");
    }

    /// All until these bytes stand at the end, or the end of the connection.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            let mut byte = [0];
            if !matches!(within(self.0.read(&mut byte)).await, Ok(1)) {
                break;
            }
            all.push(byte[0]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// All until the end of the connection, however it ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = within(self.0.read_to_end(&mut all)).await;
        all
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(BOUND, future).await.expect("in time")
}

/// One request, which must ask for the connection to be closed, and its answer.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Got {
    let mut client = Client::open(address).await;
    client.write(request).await;
    Got::parse(&client.rest().await)
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Got {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")).await
}

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
