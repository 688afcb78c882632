//! One exchange with a provider: TLS, time-outs, a bound on the answer. Redirects are not followed, and neither a proxy
//! nor anything else is read from the environment.
//!
//! The pool of connections runs each of them on a task of its own, which ends when the connection is closed: after a
//! minute without use, or with the client. Nothing else is spawned.
//!
//! It knows nothing of what is fetched. [`Fetch`] is the seam where tests count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::config::{IdentityConfig, IdentityConfigError, IdentityLimits};

/// Idle connections kept for each host.
const IDLE_CONNECTIONS: usize = 4;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// Why an exchange failed. An answer with any status is no failure.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    /// No connection, no TLS, or the connection broke.
    #[error("exchange with the provider")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    /// The connection broke within the body, or the body was no HTTP.
    #[error("read the provider's answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is longer than allowed.
    #[error("the provider's answer is longer than {0} bytes")]
    TooLarge(usize),
    /// It took longer than allowed.
    #[error("the provider did not answer within {0:?}")]
    Timeout(Duration),
}

/// Sends a request without a body.
pub(crate) trait Fetch: Send + Sync + 'static {
    /// The whole answer, of at most `bytes` bytes.
    fn fetch(
        &self,
        request: Request<()>,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Response<Bytes>, FetchError>>;
}

/// The real thing: hyper with rustls.
pub(crate) struct HttpsClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    total_timeout: Duration,
}

impl HttpsClient {
    /// A client that trusts Mozilla's roots and the additional certificates.
    pub(crate) fn new(config: &IdentityConfig) -> Result<Self, IdentityConfigError> {
        let IdentityLimits { connect_timeout, total_timeout, .. } = config.limits;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.set_nodelay(true);
        // Which addresses may be plain http was decided when they were configured.
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config.trusted_certificates.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self { client, total_timeout })
    }
}

fn tls(additional: Option<&str>) -> Result<ClientConfig, IdentityConfigError> {
    let mut roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>();
    if let Some(pem) = additional {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| IdentityConfigError::Certificates)?;
            roots.add(certificate).map_err(|_| IdentityConfigError::Certificates)?;
        }
        if roots.len() == before {
            return Err(IdentityConfigError::Certificates);
        }
    }
    // The provider is named, because a default of the process would be somebody else's choice.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| IdentityConfigError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Fetch for HttpsClient {
    fn fetch(
        &self,
        request: Request<()>,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Response<Bytes>, FetchError>> {
        let answer = self.client.request(request.map(|()| Empty::new()));
        let whole = async move {
            let (head, body) = answer.await.map_err(FetchError::Exchange)?.into_parts();
            let body = Limited::new(body, bytes).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    FetchError::TooLarge(bytes)
                } else {
                    FetchError::Body(error)
                }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let limit = self.total_timeout;
        async move { tokio::time::timeout(limit, whole).await.map_err(|_| FetchError::Timeout(limit))? }
            .boxed()
    }
}
