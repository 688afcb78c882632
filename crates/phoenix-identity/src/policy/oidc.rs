//! Claims of tokens of any other issuer (RFC 7519, RFC 9068, OIDC Core 1.0).

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::policy::Candidate;
use crate::policy::claims::{self, Now, NumericDate};
use crate::refusal::Refusal;
use crate::token::{SessionReference, VerifiedToken};

/// What is accepted of an issuer.
pub(crate) struct OidcPolicy {
    issuer: Arc<str>,
    audiences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Some issuers write the boolean as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Plain(bool),
    Text(String),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    iat: NumericDate,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    sid: Option<String>,
    jti: Option<String>,
    name: Option<String>,
    email: Option<String>,
    email_verified: Option<Flag>,
    picture: Option<String>,
    /// Only of security event tokens (RFC 8417 section 2.2), of which logout tokens are a kind.
    events: Option<IgnoredAny>,
}

impl OidcPolicy {
    pub(crate) fn new(issuer: Arc<str>, audiences: Vec<String>) -> Self {
        Self { issuer, audiences }
    }

    /// Judges the claims; `signed` is the text that the signature covers.
    pub(crate) fn judge(&self, payload: &[u8], signed: &str, now: Now) -> Result<Candidate, Refusal> {
        let claims: Claims = claims::parse(payload)?;
        if claims.events.is_some() {
            return Err(Refusal::TokenType);
        }
        if !claims.aud.names().iter().any(|name| self.audiences.contains(name)) {
            return Err(Refusal::Audience);
        }
        now.check(claims.exp, claims.nbf)?;
        let session = match (claims.sid, claims.jti) {
            (Some(sid), _) => SessionReference::Session(claims::id(sid)?),
            (None, Some(jti)) => SessionReference::Token(claims::id(jti)?),
            (None, None) => SessionReference::of_text(signed),
        };
        let verified = match claims.email_verified {
            Some(Flag::Plain(verified)) => verified,
            Some(Flag::Text(text)) => text == "true",
            None => false,
        };
        let token = VerifiedToken {
            provider: Arc::clone(&self.issuer),
            subject: claims::id(claims.sub)?,
            session,
            issued_at: claims.iat.0,
            expires_at: claims.exp.0,
            email_verified: claims.email.is_some() && verified,
            email: claims.email,
            name: claims.name,
            picture: claims.picture,
        };
        Ok(Candidate::new(token, None))
    }
}
