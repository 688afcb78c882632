//! The real client against real servers on loopback addresses: answers, bounds, time-outs, redirects, certificates.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::provider::{NOW, PROJECT, SESSION, STACK_KEYS, Signer, USER, normal, seconds, stack_config, with};
use crate::{
    Identity, IdentityConfig, IdentityConfigError, IdentityLimits, Refusal, StackApiError, StackConfig,
};

const AUTHORITY: &str = include_str!("data/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("data/server.pem");
const KEY: &[u8] = include_bytes!("data/server.key");

/// A server that ends with the test.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// What a server does with a request.
type Answer = Arc<dyn Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync>;

impl Server {
    async fn http(answer: Answer) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        Self::raw(requests, move |stream| serve(stream, Arc::clone(&answer), Arc::clone(&counter))).await
    }

    async fn https(answer: Answer) -> Self {
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let handle = move |stream| {
            let (acceptor, answer, counter) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&counter));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answer, counter).await;
                }
            }
        };
        Self::raw(requests, handle).await
    }

    async fn raw<F>(
        requests: Arc<AtomicUsize>,
        handle: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(handle(stream));
            }
        });
        Self { port, requests, _tasks: tasks }
    }

    fn config(&self, scheme: &str, host: &str) -> IdentityConfig {
        let stack =
            StackConfig { api_urls: vec![format!("{scheme}://{host}:{}", self.port)], ..stack_config() };
        IdentityConfig { stack: Some(stack), ..IdentityConfig::default() }
    }

    /// A token of this server's project.
    fn token(&self, signer: &Signer, scheme: &str, host: &str) -> String {
        let issuer = format!("{scheme}://{host}:{}/api/v1/projects/{PROJECT}", self.port);
        signer.token("k", &with(normal(), "iss", issuer))
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    answer: Answer,
    counter: Arc<AtomicUsize>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let answer = answer(&request);
        async move {
            drop(request.into_body().collect().await);
            Ok::<_, Infallible>(answer)
        }
    });
    // A client that hangs up is no failure of the server.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn text(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body)).expect("an answer")
}

/// Stack Auth with one key and one session.
fn stack(signer: &Signer) -> Answer {
    let keys = json!({"keys": [signer.jwk("k")]}).to_string();
    Arc::new(move |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", STACK_KEYS) => text(200, keys.clone()),
        ("GET", "/api/v1/auth/sessions") if request.headers()["x-stack-secret-server-key"] == "ssk_test" => {
            let session = json!({"id": SESSION, "user_id": USER, "created_at": 1, "last_used_at": null});
            text(200, json!({"items": [session], "is_paginated": false}).to_string())
        }
        ("DELETE", _) => text(200, "{}".to_owned()),
        _ => text(404, "Not found".to_owned()),
    })
}

async fn refusal(identity: &Identity, token: &str) -> Option<Refusal> {
    identity.verify(token, NOW, seconds(1)).await.err()
}

#[tokio::test]
async fn keys_and_sessions_come_over_one_connection_that_is_kept() {
    let signer = Signer::es256();
    let server = Server::http(stack(&signer)).await;
    let identity = Identity::new(&server.config("http", "127.0.0.1")).expect("good");
    assert_eq!(refusal(&identity, &server.token(&signer, "http", "127.0.0.1")).await, None);
    let api = identity.stack().expect("configured");
    let sessions = api.sessions(USER).await.expect("a list").expect("a user");
    assert_eq!((sessions.len(), sessions[0].id.as_str()), (1, SESSION));
    assert!(api.end_session(USER, SESSION).await.expect("ended"));
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn ten_thousand_verifications_are_one_request() {
    let signer = Signer::es256();
    let server = Server::http(stack(&signer)).await;
    let identity = Identity::new(&server.config("http", "127.0.0.1")).expect("good");
    let token = server.token(&signer, "http", "127.0.0.1");
    let all = (0..10_000).map(|_| refusal(&identity, &token));
    assert!(futures_util::future::join_all(all).await.into_iter().all(|refusal| refusal.is_none()));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn certificates_are_verified() {
    let signer = Signer::es256();
    let server = Server::https(stack(&signer)).await;
    let trusting = |host| IdentityConfig {
        trusted_certificates: Some(AUTHORITY.to_owned()),
        ..server.config("https", host)
    };
    let good = Identity::new(&trusting("localhost")).expect("good");
    assert_eq!(refusal(&good, &server.token(&signer, "https", "localhost")).await, None);
    assert_eq!(server.requests(), 1);
    let stranger = Identity::new(&server.config("https", "localhost")).expect("good");
    let other_name = Identity::new(&trusting("127.0.0.1")).expect("good");
    for (identity, host) in [(stranger, "localhost"), (other_name, "127.0.0.1")] {
        let token = server.token(&signer, "https", host);
        assert_eq!(refusal(&identity, &token).await, Some(Refusal::KeysUnavailable), "{host}");
        let error = identity.stack().expect("configured").sessions(USER).await;
        assert!(matches!(error, Err(StackApiError::Unreachable(_))));
    }
    assert_eq!(server.requests(), 1, "nothing was asked of a server that was not proven");
}

#[test]
fn certificates_to_trust_must_be_certificates() {
    let private_key = String::from_utf8_lossy(KEY).into_owned();
    let broken = AUTHORITY.replace("MII", "AII");
    for bad in [String::new(), "x".to_owned(), private_key, broken] {
        let config = IdentityConfig { trusted_certificates: Some(bad), ..IdentityConfig::default() };
        assert_eq!(Identity::new(&config).err(), Some(IdentityConfigError::Certificates));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let signer = Signer::es256();
    let target = Server::http(stack(&signer)).await;
    let location = format!("http://127.0.0.1:{}{STACK_KEYS}", target.port);
    let server = Server::http(Arc::new(move |_| {
        let answer = Response::builder().status(307).header("location", &location);
        answer.body(Full::default()).expect("an answer")
    }))
    .await;
    let identity = Identity::new(&server.config("http", "127.0.0.1")).expect("good");
    let token = server.token(&signer, "http", "127.0.0.1");
    assert_eq!(refusal(&identity, &token).await, Some(Refusal::KeysUnavailable));
    let error = identity.stack().expect("configured").sessions(USER).await;
    assert!(matches!(error, Err(StackApiError::Refused { .. })));
    assert_eq!((server.requests(), target.requests()), (2, 0));
}

/// A server that sends `beginning` and then nothing, or more and more of it.
async fn stubborn(beginning: &'static [u8], endless: bool) -> Server {
    Server::raw(Arc::default(), move |mut stream| async move {
        let mut request = [0; 1024];
        // What was asked does not matter.
        drop(stream.read(&mut request).await);
        drop(stream.write_all(beginning).await);
        while endless && stream.write_all(&[b'a'; 4096]).await.is_ok() {}
        // Until the client hangs up.
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await
}

#[tokio::test]
async fn slow_and_endless_answers_end_with_the_time_or_the_bound() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n";
    for (beginning, endless, slow) in [
        (b"".as_slice(), false, true),
        (b"HTTP/1.1 200 OK\r\n", false, true),
        (HEAD, false, true),
        (HEAD, true, false),
        (b"SSH-2.0-OpenSSH_9.2\r\n", false, false),
    ] {
        let server = stubborn(beginning, endless).await;
        let limits = IdentityLimits {
            // Long enough for what does not depend on it, short for what does.
            total_timeout: if slow { Duration::from_millis(50) } else { seconds(60) },
            ..IdentityLimits::default()
        };
        let config = IdentityConfig { limits, ..server.config("http", "127.0.0.1") };
        let identity = Identity::new(&config).expect("good");
        let token = server.token(&Signer::es256(), "http", "127.0.0.1");
        assert_eq!(refusal(&identity, &token).await, Some(Refusal::KeysUnavailable));
        let error = identity.stack().expect("configured").sessions(USER).await.expect_err("no answer");
        assert!(error.is_outage(), "{error:?}");
    }
}

#[tokio::test]
async fn the_bound_of_an_answer_is_exact() {
    let signer = Signer::es256();
    let keys = json!({"keys": [signer.jwk("k")]}).to_string();
    let bound = IdentityLimits::default().response_bytes;
    for (bytes, expected) in [(bound, None), (bound + 1, Some(Refusal::KeysUnavailable))] {
        let body = format!("{keys}{}", " ".repeat(bytes - keys.len()));
        let server = Server::http(Arc::new(move |_| text(200, body.clone()))).await;
        let identity = Identity::new(&server.config("http", "127.0.0.1")).expect("good");
        assert_eq!(refusal(&identity, &server.token(&signer, "http", "127.0.0.1")).await, expected);
    }
}

#[tokio::test]
async fn nobody_listening_is_an_outage() {
    let server = Server::http(stack(&Signer::es256())).await;
    let config = server.config("http", "127.0.0.1");
    let token = server.token(&Signer::es256(), "http", "127.0.0.1");
    let Server { _tasks: mut tasks, .. } = server;
    tasks.shutdown().await;
    let identity = Identity::new(&config).expect("good");
    assert_eq!(refusal(&identity, &token).await, Some(Refusal::KeysUnavailable));
}
