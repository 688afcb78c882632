//! Phoenix's public keys (RFC 7517): reading them. Only P-256 for ES256; others are left out.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use thiserror::Error;

/// Longest text of a set, in bytes. Phoenix's has about 600.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;
/// Most keys of a set; later ones are left out.
pub const MAX_KEYS: usize = 32;
/// Bytes of a coordinate of P-256. RFC 7518 section 6.2.1.2 wants all of them.
const COORDINATE_BYTES: usize = 32;

/// Why a text is no set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum JwksError {
    /// It is longer than [`MAX_JWKS_BYTES`].
    #[error("the set of keys is longer than {MAX_JWKS_BYTES} bytes")]
    TooLong,
    /// No JSON, or no member `keys`.
    #[error("it is no set of keys")]
    Malformed,
    /// None of its keys is of P-256, for signatures with ES256, and has a name.
    #[error("the set has no key for ES256")]
    NoKeys,
}

/// Phoenix's public keys.
#[derive(Debug)]
pub struct Jwks(Vec<(String, ParsedPublicKey)>);

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    crv: String,
    x: String,
    y: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

impl Jwks {
    /// Reads a set. Of keys with one name the first counts.
    ///
    /// # Errors
    /// When it is no set, or has no key of use.
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        if json.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong);
        }
        let set: WireSet = serde_json::from_slice(json).map_err(|_| JwksError::Malformed)?;
        let usable = set.keys.into_iter().take(MAX_KEYS);
        let keys: Vec<_> =
            usable.filter_map(|key| serde_json::from_value(key).ok().and_then(key_of)).collect();
        if keys.is_empty() { Err(JwksError::NoKeys) } else { Ok(Self(keys)) }
    }

    /// The key of a name.
    pub(crate) fn find(&self, id: &str) -> Option<&ParsedPublicKey> {
        self.0.iter().find(|(name, _)| name == id).map(|(_, key)| key)
    }
}

fn key_of(wire: WireKey) -> Option<(String, ParsedPublicKey)> {
    let is_for_signatures = wire.purpose.is_none_or(|purpose| purpose == "sig");
    let is_for_es256 = wire.alg.is_none_or(|alg| alg == "ES256");
    if wire.kty != "EC" || wire.crv != "P-256" || !is_for_signatures || !is_for_es256 {
        return None;
    }
    // Uncompressed point (SEC 1 section 2.3.3). The library checks that it is on the curve.
    let mut point = vec![4];
    for coordinate in [wire.x, wire.y] {
        let bytes =
            URL_SAFE_NO_PAD.decode(coordinate).ok().filter(|bytes| bytes.len() == COORDINATE_BYTES)?;
        point.extend_from_slice(&bytes);
    }
    Some((wire.kid, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?))
}
