//! An issuer of tokens (`OpenID` Connect Discovery 1.0) on a free port of this machine: its keys, its documents, and how
//! often each was asked for. It signs with keys made for the test.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(super) const DISCOVERY: &str = "/realm/.well-known/openid-configuration";
pub(super) const KEYS: &str = "/realm/keys";

/// A key pair.
pub(super) enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    /// One of each kind.
    pub(super) fn all() -> [Self; 3] {
        [
            Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Self::EdDsa(Ed25519KeyPair::generate().unwrap()),
        ]
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk = match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
            }
            Self::Rs256(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let text = |number: &[u8]| base64url(number);
                let n = text(n.big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": text(e.big_endian_without_leading_zero())})
            }
            Self::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
        };
        jwk["alg"] = self.algorithm().into();
        jwk["kid"] = self.algorithm().into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": self.algorithm(), "typ": "at+jwt"});
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        format!("{signed}.{}", base64url(self.sign(signed.as_bytes())))
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[derive(Default)]
struct Shared {
    documents: Mutex<HashMap<String, String>>,
    calls: Mutex<HashMap<String, u64>>,
}

/// A running issuer. Dropping it closes it.
pub(super) struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

impl Issuer {
    /// An issuer with these keys and a discovery document.
    pub(super) async fn start(signers: &[Signer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        let issuer = Self { address, shared, _accepting: accepting };
        let keys: Vec<Value> = signers.iter().map(Signer::jwk).collect();
        issuer.publish(KEYS, &json!({ "keys": keys }));
        let jwks_uri = format!("http://{address}{KEYS}");
        issuer.publish(DISCOVERY, &json!({"issuer": issuer.name(), "jwks_uri": jwks_uri}));
        issuer
    }

    /// What its tokens say in `iss`.
    pub(super) fn name(&self) -> String {
        format!("http://{}/realm", self.address)
    }

    /// Where its keys are.
    pub(super) fn keys(&self) -> String {
        format!("http://{}{KEYS}", self.address)
    }

    /// Puts a document at a path.
    pub(super) fn publish(&self, path: &str, document: &Value) {
        self.shared.documents.lock().unwrap().insert(path.to_owned(), document.to_string());
    }

    /// How often a path was asked for.
    pub(super) fn calls(&self, path: &str) -> u64 {
        self.shared.calls.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    /// Claims of a token for this audience, issued at `now_s` for ten minutes.
    pub(super) fn claims(&self, audience: &str, now_s: i64) -> Value {
        json!({
            "iss": self.name(), "sub": "user-1", "aud": audience, "iat": now_s, "exp": now_s + 600,
            "sid": "session-1", "email": "ada@example.com", "email_verified": true, "name": "Ada",
        })
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&shared, &request))));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    *shared.calls.lock().unwrap().entry(path.to_owned()).or_default() += 1;
    let document = shared.documents.lock().unwrap().get(path).cloned();
    let mut response = Response::new(Full::new(Bytes::from(document.clone().unwrap_or_default())));
    if document.is_none() {
        *response.status_mut() = http::StatusCode::NOT_FOUND;
    }
    response
}
