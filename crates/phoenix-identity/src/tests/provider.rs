//! A provider for tests: key pairs, tokens, and answers that are counted and can be held back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::http::{Fetch, FetchError};
use crate::{Identity, IdentityConfig, IdentityConfigError, StackConfig};

pub(crate) const PROJECT: &str = "8a2f4a3e-1111-4222-8333-5b1f6a7c9d10";
pub(crate) const USER: &str = "6f1c2b3a-4444-4555-8666-7d8e9fa0b1c2";
pub(crate) const SESSION: &str = "0a1b2c3d-7777-4888-8999-aabbccddeeff";
pub(crate) const BASE: &str = "https://api.stack-auth.com";
/// Seconds since 1970 of the tests.
pub(crate) const NOW: i64 = 1_800_000_000;
/// Where Stack Auth's keys are.
pub(crate) const STACK_KEYS: &str =
    "/api/v1/projects/8a2f4a3e-1111-4222-8333-5b1f6a7c9d10/.well-known/jwks.json";

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A key pair.
pub(crate) enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair"))
    }

    pub(crate) fn rs256(size: KeySize) -> Self {
        Self::Rs256(RsaKeyPair::generate(size).expect("a key pair"))
    }

    pub(crate) fn ed25519() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().expect("a key pair"))
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The coordinates of an ES256 key.
    pub(crate) fn point(&self) -> (Vec<u8>, Vec<u8>) {
        let Self::Es256(pair) = self else { panic!("no point") };
        let point = pair.public_key().as_ref();
        (point[1..33].to_vec(), point[33..].to_vec())
    }

    /// The public key, as Stack Auth writes it: without `use` and `key_ops`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(_) => {
                let (x, y) = self.point();
                let (x, y) = (base64url(x), base64url(y));
                json!({"kty": "EC", "alg": "ES256", "crv": "P-256", "x": x, "y": y, "kid": kid})
            }
            Self::Rs256(pair) => {
                let n = base64url(pair.public_key().modulus().big_endian_without_leading_zero());
                let e = base64url(pair.public_key().exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "alg": "RS256", "n": n, "e": e, "kid": kid, "use": "sig"})
            }
            Self::EdDsa(pair) => {
                let x = base64url(pair.public_key().as_ref());
                json!({"kty": "OKP", "alg": "EdDSA", "crv": "Ed25519", "x": x, "kid": kid})
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, word by word.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = base64url(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_of(&json!({"alg": self.alg(), "kid": kid}).to_string(), &claims.to_string())
    }
}

/// Claims of a normal user.
pub(crate) fn normal() -> Value {
    json!({
        "sub": USER, "iss": format!("{BASE}/api/v1/projects/{PROJECT}"), "aud": PROJECT,
        "iat": NOW, "exp": NOW + 600, "project_id": PROJECT, "branch_id": "main", "refresh_token_id": SESSION,
        "role": "authenticated", "name": "Ada", "email": "ada@example.com", "selected_team_id": null,
        "email_verified": true, "is_anonymous": false, "is_restricted": false, "requires_totp_mfa": false,
        "signed_up_at": NOW - 1000, "restricted_reason": null,
    })
}

/// Claims of a restricted user.
pub(crate) fn restricted() -> Value {
    let mut claims = normal();
    set(&mut claims, "iss", &format!("{BASE}/api/v1/projects-restricted-users/{PROJECT}").into());
    set(&mut claims, "aud", &format!("{PROJECT}:restricted").into());
    set(&mut claims, "is_restricted", &true.into());
    set(&mut claims, "restricted_reason", &json!({"type": "email_not_verified"}));
    claims
}

/// Claims of an anonymous user.
pub(crate) fn anonymous() -> Value {
    let mut claims = restricted();
    set(&mut claims, "iss", &format!("{BASE}/api/v1/projects-anonymous-users/{PROJECT}").into());
    set(&mut claims, "aud", &format!("{PROJECT}:anon").into());
    set(&mut claims, "is_anonymous", &true.into());
    set(&mut claims, "restricted_reason", &json!({"type": "anonymous"}));
    claims
}

pub(crate) fn set(claims: &mut Value, name: &str, value: &Value) {
    claims[name] = value.clone();
}

/// The claims with one of them changed.
pub(crate) fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    set(&mut claims, name, &value.into());
    claims
}

/// The claims without one of them.
pub(crate) fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("an object").remove(name).expect("the claim was there");
    claims
}

pub(crate) fn stack_config() -> StackConfig {
    StackConfig {
        project_id: PROJECT.to_owned(),
        secret_server_key: Zeroizing::new("ssk_test".to_owned()),
        publishable_client_key: Some("pck_test".to_owned()),
        api_urls: vec![BASE.to_owned()],
        allow_restricted: false,
        allow_anonymous: false,
    }
}

/// Answers by path; what has none fails like a provider that is away.
pub(crate) struct Provider {
    answers: Mutex<HashMap<String, Response<Bytes>>>,
    requests: Mutex<Vec<Request<()>>>,
    held: watch::Sender<bool>,
}

impl Provider {
    pub(crate) fn new() -> Arc<Self> {
        let held = watch::Sender::new(false);
        Arc::new(Self { answers: Mutex::default(), requests: Mutex::default(), held })
    }

    /// Stack Auth with these keys.
    pub(crate) fn stack(keys: &[Value]) -> Arc<Self> {
        let provider = Self::new();
        provider.publish(STACK_KEYS, keys);
        provider
    }

    pub(crate) fn answer(&self, path: &str, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(body.into()).expect("an answer");
        self.answers.lock().expect("whole").insert(path.to_owned(), answer);
    }

    pub(crate) fn publish(&self, path: &str, keys: &[Value]) {
        let headers = [("cache-control", "public, max-age=3600")];
        self.answer(path, 200, &headers, json!({"keys": keys}).to_string());
    }

    pub(crate) fn goes_away(&self) {
        self.answers.lock().expect("whole").clear();
    }

    /// Holds answers back until they are released.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn requests(&self) -> Vec<Request<()>> {
        self.requests.lock().expect("whole").clone()
    }

    pub(crate) fn fetches(&self) -> usize {
        self.requests().len()
    }

    pub(crate) fn identity(self: &Arc<Self>, config: &IdentityConfig) -> Identity {
        self.try_identity(config).expect("a good configuration")
    }

    pub(crate) fn try_identity(
        self: &Arc<Self>,
        config: &IdentityConfig,
    ) -> Result<Identity, IdentityConfigError> {
        Identity::with_fetch(config, Arc::<Self>::clone(self))
    }

    /// An identity with Stack Auth only.
    pub(crate) fn with_stack(self: &Arc<Self>, config: StackConfig) -> Identity {
        self.identity(&IdentityConfig { stack: Some(config), ..IdentityConfig::default() })
    }
}

impl Fetch for Provider {
    fn fetch(
        &self,
        request: Request<()>,
        bytes: usize,
    ) -> BoxFuture<'static, Result<Response<Bytes>, FetchError>> {
        let answer = self.answers.lock().expect("whole").get(request.uri().path()).cloned();
        self.requests.lock().expect("whole").push(request);
        let mut held = self.held.subscribe();
        async move {
            held.wait_for(|held| !held).await.expect("the provider lives as long as its client");
            let answer = answer.ok_or(FetchError::Timeout(Duration::ZERO))?;
            if answer.body().len() > bytes { Err(FetchError::TooLarge(bytes)) } else { Ok(answer) }
        }
        .boxed()
    }
}
