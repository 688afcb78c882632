//! Fetches the keys over HTTP: TLS, one deadline, a bound on the answer. Redirects are not followed, and nothing is read
//! from the environment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::fetch::{Fetch, FetchError, Fetching};
use crate::jwks::MAX_JWKS_BYTES;

/// A fetch takes no longer, from its first step on.
const DEADLINE: Duration = Duration::from_secs(2);
/// Where the keys are.
const PATH: &str = "/.well-known/jwks.json";

/// Fetches the keys from where Phoenix is. Needs tokio.
pub struct HttpFetch {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    place: Uri,
}

impl HttpFetch {
    /// From the Phoenix at `origin`. Its certificate is checked against those in `authorities` (PEM), or against
    /// Mozilla's list.
    ///
    /// # Errors
    /// When `origin` is no `http` or `https` origin, or there are no certificates in `authorities`.
    pub fn new(origin: &str, authorities: Option<&str>) -> Result<Self, FetchError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(authorities)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // A connection that waits for minutes is closed by the other side as soon as it is needed.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, place: place(origin)? })
    }
}

fn place(origin: &str) -> Result<Uri, FetchError> {
    let origin: Uri = origin.parse().map_err(|_| FetchError::Address)?;
    let is_http = matches!(origin.scheme_str(), Some("http" | "https"));
    let is_bare = matches!(origin.path(), "" | "/") && origin.query().is_none();
    let authority = origin.authority().filter(|authority| !authority.as_str().contains('@'));
    let (Some(authority), Some(scheme), true, true) = (authority, origin.scheme(), is_http, is_bare) else {
        return Err(FetchError::Address);
    };
    let place = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(PATH);
    place.build().map_err(|_| FetchError::Address)
}

fn tls(authorities: Option<&str>) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|_| FetchError::Certificates)?;
                roots.add(certificate).map_err(|_| FetchError::Certificates)?;
            }
            if roots.is_empty() {
                return Err(FetchError::Certificates);
            }
        }
    }
    // Named, because a default of the process would be somebody else's choice.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| FetchError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Fetch for HttpFetch {
    fn fetch(&self) -> Fetching {
        let (client, place) = (self.client.clone(), self.place.clone());
        let whole = async move {
            let answer = client.get(place).await.map_err(|error| FetchError::Exchange(error.into()))?;
            if answer.status() != http::StatusCode::OK {
                return Err(FetchError::Status(answer.status().as_u16()));
            }
            let body = Limited::new(answer.into_body(), MAX_JWKS_BYTES).collect().await;
            Ok(body.map_err(FetchError::Exchange)?.to_bytes().to_vec())
        };
        Box::pin(async move { tokio::time::timeout(DEADLINE, whole).await.map_err(|_| FetchError::Timeout)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for origin in ["http://127.0.0.1:8080", "https://phoenix.example.com/", "http://[::1]:1"] {
            let place = place(origin).expect("an origin").to_string();
            assert_eq!(place, format!("{}/.well-known/jwks.json", origin.trim_end_matches('/')));
        }
        for other in [
            "",
            "phoenix",
            "/keys",
            "ftp://phoenix",
            "http://phoenix/base",
            "http://phoenix?x",
            "http://user:word@phoenix",
            "http://",
        ] {
            assert!(matches!(place(other), Err(FetchError::Address)), "{other}");
        }
    }

    #[test]
    fn authorities_that_are_none_are_refused() {
        for pem in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let refused = HttpFetch::new("https://phoenix.example.com", Some(pem)).err();
            assert!(matches!(refused, Some(FetchError::Certificates)), "{pem}");
        }
    }
}
