//! An application's side, on code other than the one that signs: `RustCrypto` instead of aws-lc-rs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::Value;

/// The claims of `token`, if a key of `jwks` made its signature.
pub(super) fn verified(jwks: &[u8], token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header: Value = json(header)?;
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["typ"], "JWT");
    let keys: Value = serde_json::from_slice(jwks).ok()?;
    let key = keys["keys"].as_array()?.iter().find(|key| key["kid"] == header["kid"])?;
    let coordinate = |name: &str| bytes(key[name].as_str()?);
    let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
    let signature = Signature::from_slice(&bytes(signature)?).ok()?;
    let key = VerifyingKey::from_sec1_bytes(&point).ok()?;
    key.verify(signed.as_bytes(), &signature).ok()?;
    json(payload)
}

/// Names of the keys of a set.
pub(super) fn ids(jwks: &[u8]) -> Vec<String> {
    let keys: Value = serde_json::from_slice(jwks).expect("JSON");
    let keys = keys["keys"].as_array().expect("keys").clone();
    keys.iter().map(|key| key["kid"].as_str().expect("a name").to_owned()).collect()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_slice(&bytes(text)?).ok()
}
