//! Public keys in JSON (RFC 7517), as applications fetch them. Writes only; `keys/jwk.rs` reads those of others.

use bytes::Bytes;
use serde::Serialize;

use super::key::thumbprint;

/// A public key of P-256 (RFC 7518 section 6.2.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
}

impl PublicKey {
    /// Of both coordinates in base64url. Its name is its thumbprint, so that it is the same wherever the key is.
    pub(super) fn new(x: String, y: String) -> Self {
        let kid = thumbprint(&x, &y);
        Self { kty: "EC", crv: "P-256", x, y, kid, purpose: "sig", alg: "ES256" }
    }

    pub(super) fn id(&self) -> &str {
        &self.kid
    }
}

#[derive(Serialize)]
struct Set<'a> {
    keys: &'a [PublicKey],
}

/// The set of these keys as JSON text.
pub(super) fn json(keys: &[PublicKey]) -> Bytes {
    serde_json::to_vec(&Set { keys }).expect("text without maps is always JSON").into()
}
