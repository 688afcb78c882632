//! Tokens that no verifier may accept though their claims are right.

use std::sync::Arc;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::encoding::base64;
use super::keys::{AudienceKeys, KeyIndex, SigningKey};
use super::token::sign;

/// Bytes of a base64 line in PEM.
const PEM_LINE: usize = 64;
const ES256_BYTES: usize = 64;

/// The forms in which a careless verifier may hand a public key to HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyForm {
    /// PEM, with a newline at the end.
    Pem,
    /// DER.
    Der,
    /// The JWK as JSON, as published.
    Jwk,
    /// The uncompressed point.
    Point,
}

/// A way to forge a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// `HS256` with the published key as the secret.
    Hs256(PublicKeyForm),
    /// This algorithm name, `none` in any spelling, and an empty signature.
    Unsigned(&'static str),
    /// This algorithm name over a good ES256 signature.
    Algorithm(&'static str),
    /// The attacker's key in the header's `jwk`, signed with it; the key id is the real one.
    EmbeddedJwk,
    /// The header's `jku` points to the attacker's key set, signed with the attacker's key and with its key id.
    Jku(String),
    /// The same with `x5u`.
    X5u(String),
    /// Signed with this other project's key, whose key id stands in the header.
    OtherProjectsKey(String),
    /// Signed with this other project's key under the right key id.
    OtherProjectsSignature(String),
    /// Signed with a key that belongs to nobody, under this key id.
    UnknownKid(String),
    /// A good signature, but no key id.
    NoKid,
    /// A good signature, but a `crit` header that nobody understands (RFC 7515, section 4.1.11).
    CriticalHeader,
    /// One bit of the signature is wrong.
    FlippedBit,
    /// r and s are zero, which CVE-2022-21449 accepted.
    ZeroSignature,
    /// The signature is empty.
    EmptySignature,
    /// A good signature in DER instead of the fixed form.
    DerSignature,
}

impl Forgery {
    /// Every way there is. `attacker` is the address of a key set, `other` another project.
    #[must_use]
    pub fn all(attacker: &str, other: &str) -> Vec<Self> {
        use PublicKeyForm::{Der, Jwk, Pem, Point};
        vec![
            Self::Hs256(Pem),
            Self::Hs256(Der),
            Self::Hs256(Jwk),
            Self::Hs256(Point),
            Self::Unsigned("none"),
            Self::Unsigned("NONE"),
            Self::Unsigned("nOnE"),
            Self::Unsigned(""),
            Self::Algorithm("RS256"),
            Self::Algorithm("ES384"),
            Self::Algorithm("EdDSA"),
            Self::EmbeddedJwk,
            Self::Jku(attacker.to_owned()),
            Self::X5u(attacker.to_owned()),
            Self::OtherProjectsKey(other.to_owned()),
            Self::OtherProjectsSignature(other.to_owned()),
            Self::UnknownKid("nobodysKid00".to_owned()),
            Self::NoKid,
            Self::CriticalHeader,
            Self::FlippedBit,
            Self::ZeroSignature,
            Self::EmptySignature,
            Self::DerSignature,
        ]
    }
}

/// The key set that `jku` and `x5u` point to.
pub(super) fn attacker_jwks() -> Value {
    json!({ "keys": [attacker().jwk()] })
}

fn attacker() -> SigningKey {
    SigningKey::foreign("attackersKid")
}

pub(super) fn forge(
    forgery: &Forgery,
    payload: &Value,
    key: &SigningKey,
    keys: impl Fn(&str) -> Arc<AudienceKeys>,
) -> String {
    let header = |alg: &str| json!({ "alg": alg, "kid": key.kid });
    let with = |name: &str, value: Value, kid: &str| json!({ "alg": "ES256", "kid": kid, name: value });
    match forgery {
        Forgery::Hs256(form) => sign(&header("HS256"), payload, |input| hs256(&secret(*form, key), input)),
        Forgery::Unsigned(alg) => sign(&header(alg), payload, |_| Vec::new()),
        Forgery::Algorithm(alg) => sign(&header(alg), payload, |input| key.sign(input)),
        Forgery::EmbeddedJwk => {
            let attacker = attacker();
            sign(&with("jwk", attacker.jwk(), &key.kid), payload, |input| attacker.sign(input))
        }
        Forgery::Jku(url) => {
            let attacker = attacker();
            sign(&with("jku", json!(url), &attacker.kid), payload, |input| attacker.sign(input))
        }
        Forgery::X5u(url) => {
            let attacker = attacker();
            sign(&with("x5u", json!(url), &attacker.kid), payload, |input| attacker.sign(input))
        }
        Forgery::OtherProjectsKey(project) => {
            let other = keys(project);
            let other = other.get(KeyIndex::Legacy);
            sign(&json!({ "alg": "ES256", "kid": other.kid }), payload, |input| other.sign(input))
        }
        Forgery::OtherProjectsSignature(project) => {
            let other = keys(project);
            sign(&header("ES256"), payload, |input| other.get(KeyIndex::Legacy).sign(input))
        }
        Forgery::UnknownKid(kid) => sign(&json!({ "alg": "ES256", "kid": kid }), payload, |input| {
            SigningKey::foreign(kid).sign(input)
        }),
        Forgery::NoKid => sign(&json!({ "alg": "ES256" }), payload, |input| key.sign(input)),
        Forgery::CriticalHeader => {
            let header = json!({ "alg": "ES256", "kid": key.kid, "crit": ["exp"], "exp": 1 });
            sign(&header, payload, |input| key.sign(input))
        }
        Forgery::FlippedBit => sign(&header("ES256"), payload, |input| {
            let mut signature = key.sign(input);
            signature[ES256_BYTES / 2] ^= 1;
            signature
        }),
        Forgery::ZeroSignature => sign(&header("ES256"), payload, |_| vec![0; ES256_BYTES]),
        Forgery::EmptySignature => sign(&header("ES256"), payload, |_| Vec::new()),
        Forgery::DerSignature => sign(&header("ES256"), payload, |input| der(&key.sign(input))),
    }
}

fn hs256(secret: &[u8], input: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input).as_ref().to_vec()
}

fn secret(form: PublicKeyForm, key: &SigningKey) -> Vec<u8> {
    match form {
        PublicKeyForm::Pem => pem(&key.spki()).into_bytes(),
        PublicKeyForm::Der => key.spki(),
        PublicKeyForm::Jwk => key.jwk().to_string().into_bytes(),
        PublicKeyForm::Point => key.point().to_vec(),
    }
}

fn pem(der: &[u8]) -> String {
    let mut text = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for line in base64(der).as_bytes().chunks(PEM_LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + "-----END PUBLIC KEY-----\n"
}

/// `SEQUENCE { r INTEGER, s INTEGER }` of a signature in the fixed form.
fn der(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(ES256_BYTES / 2);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, short(body.len())], body].concat()
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    let bytes = &bytes[zeros..];
    let sign = if bytes[0] < 0x80 { vec![] } else { vec![0] };
    [vec![0x02, short(sign.len() + bytes.len())], sign, bytes.to_vec()].concat()
}

fn short(length: usize) -> u8 {
    u8::try_from(length).expect("a P-256 signature is shorter than 128 bytes")
}
