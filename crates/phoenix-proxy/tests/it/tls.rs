//! TLS to applications: trust, names, and the protocol that both sides agree on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use phoenix_proxy::{ConfigError, Protocol, Proxy, ServerOrigin, UpstreamConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::{Client, Gateway, Settings, config, get, parts};

/// An application behind TLS that says what it was asked with; it agrees to be `echo`, and then says nothing.
struct App {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    connections: Arc<AtomicUsize>,
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    if request.headers().contains_key("upgrade") {
        let answer =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        return Ok(answer.body(Full::default()).unwrap());
    }
    let version = if request.version() == Version::HTTP_2 { "h2" } else { "h1" };
    Ok(Response::new(Full::new(Bytes::from(version))))
}

impl App {
    async fn start(name: &str, offers: &[&[u8]]) -> Self {
        let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = issued.cert.der().clone();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        server.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
        Self { address, certificate, connections }
    }

    /// Reached by a name, and trusting what is given.
    fn config(&self, host: &str, trusted: &[&CertificateDer<'static>]) -> UpstreamConfig {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add((*certificate).clone()).unwrap();
        }
        let mut config = config(&[]);
        config.servers = vec![ServerOrigin { https: true, host: host.to_owned(), port: self.address.port() }];
        config.tls = Some(Arc::new(builder().with_root_certificates(roots).with_no_client_auth()));
        config
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_agree_on_a_protocol() {
    for (offers, protocol, expected, connections) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], Protocol::Auto, "h2", 1),
        (&[b"http/1.1"], Protocol::Auto, "h1", 1),
        (&[], Protocol::Auto, "h1", 1),
        (&[b"h2", b"http/1.1"], Protocol::Http1, "h1", 1),
        (&[b"h2", b"http/1.1"], Protocol::Http2, "h2", 1),
    ] {
        let app = App::start("localhost", offers).await;
        let mut config = app.config("localhost", &[&app.certificate]);
        config.protocol = protocol;
        let gateway = Gateway::with(config, Settings::default()).await;
        for _ in 0..3 {
            let got = get(gateway.address, "/").await;
            assert!(got.body.contains(expected), "{offers:?} {protocol:?}: {}", got.text);
        }
        assert_eq!(app.connections.load(Ordering::SeqCst), connections, "{offers:?} {protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_uses_http1_and_disturbs_nobody() {
    let app = App::start("localhost", &[b"h2", b"http/1.1"]).await;
    let gateway = Gateway::with(app.config("localhost", &[&app.certificate]), Settings::default()).await;
    assert!(get(gateway.address, "/").await.body.contains("h2"));
    let mut client = Client::open(gateway.address).await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for _ in 0..3 {
        assert!(get(gateway.address, "/").await.body.contains("h2"));
    }
    assert_eq!(app.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_trusted_gets_no_request() {
    let (app, other) = (App::start("localhost", &[]).await, App::start("other.test", &[]).await);
    // A certificate that nobody vouches for, and one that is somebody else's.
    let strange = Gateway::with(app.config("localhost", &[&other.certificate]), Settings::default()).await;
    assert_eq!(get(strange.address, "/").await.header("failure"), Some("Untrusted"));
    let misnamed = Gateway::with(other.config("localhost", &[&other.certificate]), Settings::default()).await;
    assert_eq!(get(misnamed.address, "/").await.header("failure"), Some("Untrusted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shakes_no_hands_runs_into_the_bound_on_connecting() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App::start("localhost", &[]).await;
    let mut config = app.config("localhost", &[&app.certificate]);
    config.servers[0].port = silent.local_addr().unwrap().port();
    config.connect_timeout = Duration::from_millis(100);
    let gateway = Gateway::with(config, Settings::default()).await;
    assert_eq!(get(gateway.address, "/").await.header("failure"), Some("ConnectTimeout"));
}

#[test]
fn what_cannot_be_spoken_to_is_no_configuration() {
    let new = |change: &dyn Fn(&mut UpstreamConfig)| {
        let mut config = config(&[([127, 0, 0, 1], 1).into()]);
        change(&mut config);
        let parts = parts(&CancellationToken::new(), &TaskTracker::new(), 1);
        Proxy::new(&[config], parts).map(|_| ())
    };
    assert!(new(&|_| {}).is_ok());
    assert!(matches!(new(&|config| config.servers.clear()), Err(ConfigError::Servers(_))));
    assert!(matches!(new(&|config| config.servers[0].https = true), Err(ConfigError::NoTls(_))));
    for host in ["", "a b", "a@b", "a/b"] {
        let result = new(&|config| host.clone_into(&mut config.servers[0].host));
        assert!(matches!(result, Err(ConfigError::Origin { .. })), "{host:?}");
    }
    let mut parts = parts(&CancellationToken::new(), &TaskTracker::new(), 1);
    parts.via = "two words".to_owned();
    assert!(matches!(Proxy::new(&[], parts), Err(ConfigError::Via(_))));
}
