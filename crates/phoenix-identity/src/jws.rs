//! The compact form of a JWS (RFC 7515 section 7.1): taking it apart and reading its header.
//!
//! Nothing here is trusted: it says what a token claims to be. Of the header only `alg`, `kid`, `typ` and the presence
//! of `crit` are read; `jku`, `jwk`, `x5u` and `x5c` are never looked at, because the key comes from the configured
//! issuer and from nowhere else (RFC 8725 section 3.10).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::config::Algorithm;
use crate::refusal::Refusal;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token taken apart, and nothing of it trusted.
#[derive(Debug)]
pub struct Jws<'a> {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<String>,
    /// Header and payload as they were sent: what the signature covers.
    pub signing_input: &'a str,
    /// The decoded payload: JSON, or so it should be.
    pub payload: Vec<u8>,
    /// The decoded signature.
    pub signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// `true` for any value: the member is there, be it null.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Whether `text` has the shape of a token at all.
///
/// No memory is taken and nothing is decoded.
pub(crate) fn looks_like_token(text: &str) -> bool {
    if text.len() > MAX_TOKEN_BYTES || !text.starts_with("eyJ") {
        return false;
    }
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut parts = text.split('.');
    parts.by_ref().take(3).filter(|text| part(text)).count() == 3 && parts.next().is_none()
}

impl<'a> Jws<'a> {
    /// Takes a token apart and reads its header.
    ///
    /// # Errors
    /// When it has not the form of a token, or its header names what is not accepted.
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if !looks_like_token(token) {
            return Err(Refusal::Malformed);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Refusal::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refusal::Malformed)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(Refusal::Algorithm)?;
        // Extensions that a verifier must understand: we understand none.
        if header.crit {
            return Err(Refusal::Malformed);
        }
        if header.typ.is_some_and(|typ| !is_access_token(&typ)) {
            return Err(Refusal::TokenType);
        }
        Ok(Self {
            algorithm,
            key_id: header.kid,
            signing_input,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }
}

/// Strict base64url without padding: only one text stands for given bytes.
fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)
}

/// `JWT`, or an access token by RFC 9068. A token made for something else (`logout+jwt`, `dpop+jwt`) names itself so.
fn is_access_token(typ: &str) -> bool {
    let typ = typ
        .get(.."application/".len())
        .filter(|head| head.eq_ignore_ascii_case("application/"))
        .map_or(typ, |head| &typ[head.len()..]);
    typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"), "AAAA")
    }

    fn refusal(header: &str) -> Option<Refusal> {
        Jws::parse(&token(header)).err()
    }

    #[test]
    fn the_shape_is_three_parts_of_base64url_that_begin_with_a_brace() {
        assert!(looks_like_token("eyJ.a.b"));
        assert!(looks_like_token(&token(r#"{"alg":"ES256"}"#)));
        for other in [
            "",
            "eyJ",
            "eyJ.a",
            "eyJ.a.",
            "eyJ..b",
            ".a.b",
            "eyJ.a.b.c",
            "eyJ.a.b.",
            "abc.a.b",
            "eyJ.a=.b",
            "eyJ.ä.b",
        ] {
            assert!(!looks_like_token(other), "{other}");
        }
        let longest = format!("eyJ.a.{}", "b".repeat(MAX_TOKEN_BYTES - 6));
        assert!(looks_like_token(&longest));
        assert!(!looks_like_token(&format!("{longest}b")));
    }

    #[test]
    fn only_three_algorithms_have_a_name() {
        assert_eq!(refusal(r#"{"alg":"ES256"}"#), None);
        for alg in ["none", "None", "HS256", "es256", "ES384", "PS256", ""] {
            assert_eq!(refusal(&format!(r#"{{"alg":"{alg}"}}"#)), Some(Refusal::Algorithm), "{alg}");
        }
        assert_eq!(refusal(r#"{"kid":"a"}"#), Some(Refusal::Malformed));
        assert_eq!(refusal(r#"{"alg":["ES256"]}"#), Some(Refusal::Malformed));
    }

    #[test]
    fn extensions_and_other_types_are_refused() {
        assert_eq!(refusal(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#), Some(Refusal::Malformed));
        assert_eq!(refusal(r#"{"alg":"ES256","crit":null}"#), Some(Refusal::Malformed));
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
            assert_eq!(refusal(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)), None, "{typ}");
        }
        for typ in ["logout+jwt", "dpop+jwt", "", "application/", "ä", "secevent+jwt"] {
            let header = format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
            assert_eq!(refusal(&header), Some(Refusal::TokenType), "{typ}");
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        assert_eq!(refusal(r#"{"alg":"ES256","alg":"ES256"}"#), Some(Refusal::Malformed));
        assert_eq!(refusal(r#"{"alg":"ES256","kid":"a","kid":"b"}"#), Some(Refusal::Malformed));
    }

    #[test]
    fn base64url_is_strict() {
        assert!(decode("AA").is_ok());
        for other in ["AB", "A", "AA==", "A+", "A/"] {
            assert!(decode(other).is_err(), "{other}");
        }
    }
}
