//! Public keys in JSON (RFC 7517, 7518, 8037) and the signatures they verify. Each key is parsed once.
//!
//! Keys that are of no use to us (other types and curves, for encryption, too small, broken) are left out one by one:
//! they do not spoil the set.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::config::Algorithm;
use crate::refusal::Refusal;

/// Most keys of a set; those that come later are ignored.
pub const MAX_KEYS: usize = 64;
/// Bytes of a coordinate of P-256, and of a key of Ed25519.
const COORDINATE_BYTES: usize = 32;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Most bytes of an RSA exponent. Larger ones make verification slow, and nobody has them.
const EXPONENT_BYTES: usize = 4;

/// Padding is wrong in a key (RFC 7518 section 2), but harmless, and issuers have it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A key that verifies with exactly one algorithm.
pub(crate) struct VerificationKey {
    id: Option<String>,
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

/// That a signature was verified: the only way to trust what it covers.
#[must_use]
pub(crate) struct Proof(());

/// The usable keys of an issuer.
#[derive(Default)]
pub(crate) struct KeySet(Vec<Arc<VerificationKey>>);

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl KeySet {
    /// Reads a set, of at most [`MAX_KEYS`] keys, and keeps those for `algorithms`. Of keys with the same id the first
    /// counts. `None` if it is no key set at all.
    pub(crate) fn parse(json: &[u8], algorithms: &[Algorithm]) -> Option<Self> {
        let wire: WireSet = serde_json::from_slice(json).ok()?;
        let mut keys: Vec<Arc<VerificationKey>> = Vec::new();
        for value in wire.keys.into_iter().take(MAX_KEYS) {
            let Some(key) = serde_json::from_value(value).ok().and_then(VerificationKey::parse) else {
                continue;
            };
            let twice = key.id.is_some() && keys.iter().any(|other| other.id == key.id);
            if algorithms.contains(&key.algorithm) && !twice {
                keys.push(Arc::new(key));
            }
        }
        Some(Self(keys))
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that a token names, or `None`. A token that names none gets the only key for its algorithm, if there
    /// is only one.
    ///
    /// # Errors
    /// [`Refusal::Algorithm`] if the key is there, but for another algorithm.
    pub(crate) fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<&Arc<VerificationKey>>, Refusal> {
        if id.is_some() {
            let key = self.0.iter().find(|key| key.id.as_deref() == id);
            return match key {
                Some(key) if key.algorithm != algorithm => Err(Refusal::Algorithm),
                key => Ok(key),
            };
        }
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        let only = fitting.next();
        Ok(only.filter(|_| fitting.next().is_none()))
    }
}

impl VerificationKey {
    fn parse(wire: WireKey) -> Option<Self> {
        if wire.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
            || wire
                .key_ops
                .is_some_and(|operations| !operations.iter().any(|operation| operation == "verify"))
        {
            return None;
        }
        let (algorithm, parsed) = match (wire.kty.as_str(), wire.crv.as_deref()) {
            ("EC", Some("P-256")) => (Algorithm::Es256, p256(&wire.x?, &wire.y?)?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, ed25519(&wire.x?)?),
            ("RSA", _) => (Algorithm::Rs256, rsa(&wire.n?, &wire.e?)?),
            _ => return None,
        };
        if wire.alg.is_some_and(|name| Algorithm::named(&name) != Some(algorithm)) {
            return None;
        }
        Some(Self { id: wire.kid, algorithm, parsed })
    }

    /// Whether `signature` is this key's for `message`.
    ///
    /// # Errors
    /// [`Refusal::Signature`].
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<Proof, Refusal> {
        match self.parsed.verify_sig(message, signature) {
            Ok(()) => Ok(Proof(())),
            Err(_) => Err(Refusal::Signature),
        }
    }
}

fn p256(x: &str, y: &str) -> Option<ParsedPublicKey> {
    // Uncompressed point (SEC 1 section 2.3.3). The library checks that it is on the curve.
    let mut point = [0; 1 + 2 * COORDINATE_BYTES];
    point[0] = 4;
    let (x_place, y_place) = point[1..].split_at_mut(COORDINATE_BYTES);
    pad_left(x, x_place)?;
    pad_left(y, y_place)?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
}

/// Stack Auth drops leading zero bytes of a coordinate, against RFC 7518 section 6.2.1.2.
fn pad_left(coordinate: &str, place: &mut [u8]) -> Option<()> {
    let bytes = LENIENT.decode(coordinate).ok().filter(|bytes| !bytes.is_empty())?;
    let from = place.len().checked_sub(bytes.len())?;
    place[from..].copy_from_slice(&bytes);
    Some(())
}

fn ed25519(x: &str) -> Option<ParsedPublicKey> {
    let bytes = LENIENT.decode(x).ok().filter(|bytes| bytes.len() == COORDINATE_BYTES)?;
    ParsedPublicKey::new(&ED25519, bytes).ok()
}

fn rsa(n: &str, e: &str) -> Option<ParsedPublicKey> {
    let (n, e) = (number(n)?, number(e)?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    // The library would check the size with each signature only, and takes exponents that are none: under 1 every text
    // is its own signature.
    let exponent_is_odd = e.last().is_some_and(|last| last % 2 == 1);
    if !RSA_BITS.contains(&bits) || e == [1] || !exponent_is_odd || e.len() > EXPONENT_BYTES {
        return None;
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
}

/// A big-endian number without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = LENIENT.decode(text).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}
