//! Whether a token counts, and what it says. No I/O, and the time is an argument.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use thiserror::Error;

use crate::identity::Identity;
use crate::jwks::Jwks;
use crate::token::Token;

/// How far the clocks of Phoenix and of the application may be apart.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Why a token does not count. For logs: clients need not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Longer than [`crate::MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// No token in compact form, or header or claims are not those of an assertion; also a member that is there twice.
    #[error("it is no assertion")]
    Malformed,
    /// Not ES256.
    #[error("the algorithm is not ES256")]
    Algorithm,
    /// It names a key that Phoenix does not have.
    #[error("the key is unknown")]
    UnknownKey,
    /// The signature is not of that key.
    #[error("the signature is wrong")]
    Signature,
    /// Not from this Phoenix.
    #[error("the issuer is another")]
    Issuer,
    /// For another application.
    #[error("the audience is another")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Perhaps it counts: Phoenix did not answer when it was asked for keys. The only one that is not the token's
    /// fault.
    #[error("the keys cannot be had from Phoenix")]
    KeysUnavailable,
}

/// What is expected of every token.
pub(crate) struct Expected {
    pub(crate) audience: String,
    pub(crate) issuer: String,
}

/// Verifies assertions with given keys.
pub struct Verifier {
    keys: Jwks,
    expected: Arc<Expected>,
}

/// The claims (RFC 7519 section 4.1). Claims that are not named here are passed over.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    email: Option<String>,
    email_verified: bool,
    role: String,
    iat: u64,
    nbf: Option<u64>,
    exp: u64,
}

impl Verifier {
    /// For assertions that Phoenix, called `issuer`, made for the application called `audience`.
    #[must_use]
    pub fn new(keys: Jwks, audience: &str, issuer: &str) -> Self {
        Self::expecting(keys, Arc::new(Expected { audience: audience.to_owned(), issuer: issuer.to_owned() }))
    }

    pub(crate) fn expecting(keys: Jwks, expected: Arc<Expected>) -> Self {
        Self { keys, expected }
    }

    /// Who `token` is about, if it counts at `now`.
    ///
    /// # Errors
    /// Never [`VerifyError::KeysUnavailable`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, VerifyError> {
        self.verify_parsed(&Token::parse(token)?, now)
    }

    pub(crate) fn verify_parsed(&self, token: &Token<'_>, now: SystemTime) -> Result<Identity, VerifyError> {
        let key = self.keys.find(&token.key_id).ok_or(VerifyError::UnknownKey)?;
        key.verify_sig(token.signed.as_bytes(), &token.signature).map_err(|_| VerifyError::Signature)?;
        let claims: Claims = serde_json::from_slice(&token.payload).map_err(|_| VerifyError::Malformed)?;
        self.judge(claims, now)
    }

    /// Judges claims whose signature is right.
    fn judge(&self, claims: Claims, now: SystemTime) -> Result<Identity, VerifyError> {
        if claims.iss != self.expected.issuer {
            return Err(VerifyError::Issuer);
        }
        if claims.aud != self.expected.audience {
            return Err(VerifyError::Audience);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now >= Duration::from_secs(claims.exp).saturating_add(LEEWAY) {
            return Err(VerifyError::Expired);
        }
        let earliest = claims.nbf.unwrap_or(0).max(claims.iat);
        if now.saturating_add(LEEWAY) < Duration::from_secs(earliest) {
            return Err(VerifyError::NotYetValid);
        }
        // Nobody signs numbers that a clock cannot show; if so, it is no assertion.
        let time =
            |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(VerifyError::Malformed);
        Ok(Identity {
            user_id: claims.sub,
            session_id: claims.sid,
            email: claims.email,
            email_verified: claims.email_verified,
            role: claims.role,
            issued_at: time(claims.iat)?,
            expires_at: time(claims.exp)?,
        })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expected { audience, issuer } = &*self.expected;
        f.debug_struct("Verifier").field("audience", audience).field("issuer", issuer).finish_non_exhaustive()
    }
}
