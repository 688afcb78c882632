//! The signing keys: derived from the server's secret and the audience as Stack derives them, and written as JWKs as
//! Stack writes them. Which keys are published, and when, is the affair of `state`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use super::encoding::{base64url, from_base64url, sha256};

/// Characters of a key id.
const KID_CHARACTERS: usize = 12;
/// Bytes of a coordinate on P-256.
const COORDINATE_BYTES: usize = 32;
/// An `ECPrivateKey` (RFC 5915) without public key, up to the private scalar ...
const DER_BEFORE_SCALAR: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
/// ... and after it: the curve's name.
const DER_AFTER_SCALAR: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// A `SubjectPublicKeyInfo` (RFC 5280) of a P-256 key up to the point.
const SPKI_BEFORE_POINT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The three kinds of user, each with an issuer and an audience of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserType {
    /// May use everything.
    Normal,
    /// Signed up, but something is missing, for example a verified e-mail address.
    Restricted,
    /// Has not signed up.
    Anonymous,
}

impl UserType {
    /// All three, in the order of the key set.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Restricted, Self::Anonymous];

    /// The `aud` of this type's tokens.
    #[must_use]
    pub fn audience(self, project: &str) -> String {
        match self {
            Self::Normal => project.to_owned(),
            Self::Restricted => format!("{project}:restricted"),
            Self::Anonymous => format!("{project}:anon"),
        }
    }

    /// The `iss` of this type's tokens, below an API address such as `https://api.stack-auth.com`.
    #[must_use]
    pub fn issuer(self, api: &str, project: &str) -> String {
        let path = match self {
            Self::Normal => "projects",
            Self::Restricted => "projects-restricted-users",
            Self::Anonymous => "projects-anonymous-users",
        };
        format!("{api}/api/v1/{path}/{project}")
    }
}

/// Which of an audience's two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyIndex {
    /// The first of the set. Stack signs with it today.
    Legacy,
    /// The second of the set.
    New,
}

/// One signing key.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) kid: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// The key of a secret in base64url: its scalar is the SHA-256 of the secret's bytes.
    fn from_secret(secret: &str, kid: String) -> Self {
        let bytes = from_base64url(secret).expect("a secret is base64url, made below");
        Self { kid, pair: key_pair(&sha256(bytes)) }
    }

    /// A key that belongs to nobody.
    pub(super) fn foreign(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: key_pair(&sha256(b"a key that belongs to nobody")) }
    }

    /// Signs in the form that JWS wants: r and s, 32 bytes each.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.expect("P-256 signs any message").as_ref().to_vec()
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(message, signature).is_ok()
    }

    /// The point, uncompressed: 4, x, y.
    pub(super) fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key as DER, `SubjectPublicKeyInfo`.
    pub(super) fn spki(&self) -> Vec<u8> {
        [SPKI_BEFORE_POINT.as_slice(), self.point()].concat()
    }

    /// The JWK with exactly the members that Stack writes. A coordinate loses its leading zero bytes, as it does in
    /// Stack's big numbers.
    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({
            "kty": "EC", "alg": "ES256", "crv": "P-256", "kid": self.kid,
            "x": base64url(without_leading_zeros(x)), "y": base64url(without_leading_zeros(y)),
        })
    }

    /// Whether a coordinate is written with fewer than 32 bytes.
    pub(super) fn is_short(&self) -> bool {
        let (x, y) = self.coordinates();
        x[0] == 0 || y[0] == 0
    }

    fn coordinates(&self) -> (&[u8], &[u8]) {
        self.point()[1..].split_at(COORDINATE_BYTES)
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn key_pair(scalar: &[u8; 32]) -> EcdsaKeyPair {
    let der = [DER_BEFORE_SCALAR.as_slice(), scalar, &DER_AFTER_SCALAR].concat();
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
        .expect("all but one in 2^32 hashes is a scalar of P-256")
}

/// The two keys of an audience.
#[derive(Debug)]
pub(super) struct AudienceKeys {
    pub(super) legacy: SigningKey,
    pub(super) new: SigningKey,
}

impl AudienceKeys {
    /// Derives both keys from the server's secret.
    pub(super) fn derive(server_secret: &str, audience: &str) -> Self {
        let hash = |value: Value| base64url(sha256(value.to_string()));
        let with_audience = |purpose: &str| hash(json!([purpose, server_secret, { "audience": audience }]));
        let legacy_secret = hash(json!([server_secret, audience]));
        let legacy_kid = kid(&hash(json!([legacy_secret, "kid"])));
        let new_secret = with_audience("stack-jwk-audience-secret");
        let new_kid = kid(&with_audience("stack-jwk-kid"));
        Self {
            legacy: SigningKey::from_secret(&legacy_secret, legacy_kid),
            new: SigningKey::from_secret(&new_secret, new_kid),
        }
    }

    pub(super) fn get(&self, index: KeyIndex) -> &SigningKey {
        match index {
            KeyIndex::Legacy => &self.legacy,
            KeyIndex::New => &self.new,
        }
    }

    /// Both, legacy first.
    pub(super) fn both(&self) -> [&SigningKey; 2] {
        [&self.legacy, &self.new]
    }
}

fn kid(hash: &str) -> String {
    hash[..KID_CHARACTERS].to_owned()
}
