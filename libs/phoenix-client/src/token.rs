//! A token taken apart (RFC 7515 section 7.1). Nothing here is trusted: it says what a token claims to be.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::verifier::VerifyError;

/// Longest token, in bytes. Phoenix's have about 600.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token whose header is one that Phoenix could have written.
pub(crate) struct Token<'a> {
    pub(crate) key_id: String,
    /// What the signature covers.
    pub(crate) signed: &'a str,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// `jku`, `jwk`, `x5u` and `x5c` are never looked at: the key comes from Phoenix (RFC 8725 section 3.10).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// `true` for any value: the member is there, be it null.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> Token<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(VerifyError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(VerifyError::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| VerifyError::Malformed)?;
        if header.alg != "ES256" {
            return Err(VerifyError::Algorithm);
        }
        // Extensions that a verifier must understand: there are none.
        if header.crit {
            return Err(VerifyError::Malformed);
        }
        Ok(Self { key_id: header.kid, signed, payload: decode(payload)?, signature: decode(signature)? })
    }
}

/// Strict base64url without padding; a further dot is no letter of it.
fn decode(part: &str) -> Result<Vec<u8>, VerifyError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| VerifyError::Malformed)
}
