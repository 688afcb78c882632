//! One key that signs assertions: reading it, its name, its public form, and signing. Knows no claims.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

use super::jwks::PublicKey;

/// Bytes of a coordinate of P-256.
const COORDINATE_BYTES: usize = 32;

/// Why a text is no key that can sign assertions. Says nothing of what stands in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum KeyRefusal {
    /// It is protected by a password.
    #[error(
        "the private key is encrypted; store it unencrypted with mode 0600, for example with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    Encrypted,
    /// No private key in PEM.
    #[error(
        "there is no private key in PEM form; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    NoKey,
    /// RSA, Ed25519, another curve, or damaged.
    #[error(
        "the private key is damaged, or not one of the curve P-256; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    WrongKind,
}

/// A private key of P-256 with everything that does not change from token to token.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
    /// The encoded header and its dot.
    head: String,
}

impl SigningKey {
    /// From the text of a PEM file: PKCS#8 (RFC 5958) or SEC 1 (RFC 5915). The first private key in it counts.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyRefusal> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            let encrypted = b"BEGIN ENCRYPTED PRIVATE KEY";
            let is_encrypted = pem.windows(encrypted.len()).any(|window| window == encrypted);
            if is_encrypted { KeyRefusal::Encrypted } else { KeyRefusal::NoKey }
        })?;
        match key {
            PrivateKeyDer::Pkcs8(key) => Self::from_der(key.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(key) => Self::from_der(key.secret_sec1_der()),
            _ => None,
        }
        .ok_or(KeyRefusal::WrongKind)
    }

    /// From PKCS#8 or an `ECPrivateKey` of RFC 5915, with or without the public point. `None` for anything but a key
    /// of P-256.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        // Uncompressed point (SEC 1 section 2.3.3): 4, x, y.
        let (&4, coordinates) = pair.public_key().as_ref().split_first()? else { return None };
        let (x, y) = coordinates.split_at_checked(COORDINATE_BYTES)?;
        let public = PublicKey::new(URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{}"}}"#, public.id());
        let head = URL_SAFE_NO_PAD.encode(header) + ".";
        Some(Self { pair, public, head })
    }

    /// The public half.
    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The compact form (RFC 7515 section 7.1) of a token with this payload. `None` if the library fails.
    pub(super) fn token(&self, payload: &[u8]) -> Option<String> {
        // Four characters for three bytes; a signature has 64 bytes.
        let mut token = String::with_capacity(self.head.len() + payload.len().div_ceil(3) * 4 + 1 + 86);
        token.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        // The library takes its nonces from a generator of its own and ignores this one.
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).ok()?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Some(token)
    }
}

/// The thumbprint of a public key (RFC 7638 section 3), in base64url.
pub(super) fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
}
