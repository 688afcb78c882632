//! What must be true of a token's claims, by provider. The claims are judged before the signature is verified, so that
//! junk costs neither a fetch nor a verification; the result is locked away until the signature is proven.

pub(crate) mod claims;
pub(crate) mod oidc;
pub(crate) mod stack;

use crate::keys::jwk::Proof;
use crate::refusal::Refusal;
use crate::token::VerifiedToken;

/// Claims that were judged, under a signature that was not.
pub(crate) struct Candidate {
    token: VerifiedToken,
    /// Told only to those whose signature is good: they are who they say.
    policy: Option<Refusal>,
}

impl Candidate {
    pub(crate) fn new(token: VerifiedToken, policy: Option<Refusal>) -> Self {
        Self { token, policy }
    }

    /// The token, now that its signature is proven.
    ///
    /// # Errors
    /// The refusal by policy, if there is one.
    pub(crate) fn proven(self, _proof: Proof) -> Result<VerifiedToken, Refusal> {
        self.policy.map_or(Ok(self.token), Err)
    }
}
