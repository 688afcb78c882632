//! Why a token is not accepted. One closed list: callers map it to an answer and to a metric label.
//!
//! It owns no HTTP status: an outage is told from policy by [`Refusal::is_outage`], and the rest is the caller's.

use thiserror::Error;

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// Not three base64url parts of at most 8 KiB, not JSON, a claim that must be there is missing or has the wrong
    /// type, a claim is there twice, or the header asks for an extension (`crit`).
    #[error("the token is malformed")]
    Malformed,
    /// `typ` names something else than an access token (RFC 8725 section 3.11).
    #[error("the token is of another type")]
    TokenType,
    /// The issuer is not configured.
    #[error("the issuer of the token is unknown")]
    UnknownIssuer,
    /// The issuer was asked, and has no such key.
    #[error("the key of the token is unknown")]
    UnknownKey,
    /// The algorithm is not allowed for the issuer, or the key is not one for that algorithm.
    #[error("the algorithm of the token is not allowed")]
    Algorithm,
    /// The signature is wrong.
    #[error("the signature of the token is wrong")]
    Signature,
    /// `exp` is over by more than the leeway.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is ahead by more than the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Made for somebody else: another audience, or another project.
    #[error("the token is for another audience")]
    Audience,
    /// Claims contradict each other.
    #[error("the claims of the token contradict each other")]
    Inconsistent,
    /// A restricted user of Stack Auth, and these are not allowed.
    #[error("restricted users are not allowed")]
    RestrictedUser,
    /// An anonymous user of Stack Auth, and these are not allowed.
    #[error("anonymous users are not allowed")]
    AnonymousUser,
    /// The issuer's keys could not be had, so nobody knows whether the token is good.
    #[error("the keys of the issuer are not available")]
    KeysUnavailable,
}

impl Refusal {
    /// Whether the fault is not the token's: the same token may be accepted later.
    #[must_use]
    pub fn is_outage(self) -> bool {
        self == Self::KeysUnavailable
    }

    /// A name for metrics and logs: one of a closed list, never made from the token.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TokenType => "token_type",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Inconsistent => "inconsistent",
            Self::RestrictedUser => "restricted_user",
            Self::AnonymousUser => "anonymous_user",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}
