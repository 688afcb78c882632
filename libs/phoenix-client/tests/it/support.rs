//! A Phoenix for tests: makes keys, and tokens with anything in them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_795_392_000;
pub(crate) const ISSUER: &str = "https://planner.example.com";
pub(crate) const AUDIENCE: &str = "app";

pub(crate) fn at(unix_seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key with a name.
pub(crate) struct Key {
    pub(crate) id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(crate) fn new(id: &'static str) -> Self {
        Self::of(id, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// Of P-384.
    pub(crate) fn of_other_curve(id: &'static str) -> Self {
        Self::of(id, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn of(id: &'static str, algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(algorithm).expect("a key") }
    }

    /// The uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// As it stands in a set of keys.
    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.point()[1..].split_at(self.point().len() / 2);
        let curve = if x.len() == 32 { "P-256" } else { "P-384" };
        json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y), "kid": self.id, "use": "sig"})
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.id})
    }

    /// Signs texts that are taken for header and claims.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", base64(signature))
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

/// The text of a set of keys.
pub(crate) fn jwks(keys: &[&Key]) -> Vec<u8> {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// What Phoenix says of Ada.
pub(crate) fn ada() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "0198c0de-0000-7000-8000-000000000001",
        "sid": "0198c0de-0000-7000-8000-000000000002",
        "email": "ada@example.com",
        "email_verified": true,
        "role": "user",
        "iat": NOW,
        "exp": NOW + 60,
    })
}

/// `claims` with another value of one; `null` takes it away.
pub(crate) fn with(name: &str, value: Value) -> Value {
    let mut claims = ada();
    let members = claims.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims
}
