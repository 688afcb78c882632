//! Answer for every request: whose session is this?

use std::sync::Arc;

use super::Auth;
use crate::model::{ActiveSession, Liveness, Moment, TokenHash};
use crate::ports::{Lookup, StoreError, Tier};

/// A request's session, found and live.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The session and its user.
    pub active: Arc<ActiveSession>,
    /// The tier that knew it.
    pub tier: Tier,
    /// Hash of the token it came with.
    pub hash: TokenHash,
}

/// Why a credential does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Not a token of ours: wrong shape or checksum. Nothing was looked up.
    Malformed,
    /// No session has this token: it ended, or never was.
    Unknown,
    /// The session was not used for too long.
    Idle,
    /// The session reached its absolute time-out.
    Expired,
    /// The account is disabled.
    Disabled,
}

impl Auth {
    /// Answers from this process's memory, or not at all (`None`). No I/O, no allocation on a hit.
    #[must_use]
    pub fn authenticate_from_memory(
        &self,
        hash: &TokenHash,
        now: Moment,
    ) -> Option<Result<Authenticated, Rejection>> {
        let lookup = self.parts.cache.peek(hash, now)?;
        match self.judge(hash, lookup, now) {
            // The copy in memory may be behind another node's last-seen: ask the truth before saying so.
            Err(Rejection::Idle | Rejection::Expired | Rejection::Disabled) => None,
            verdict => Some(verdict),
        }
    }

    /// Answers from the first tier that knows.
    ///
    /// # Errors
    /// When the database had to be asked and failed.
    pub async fn authenticate(
        &self,
        hash: &TokenHash,
        now: Moment,
    ) -> Result<Result<Authenticated, Rejection>, StoreError> {
        let lookup = self.parts.cache.look_up(hash, now).await?;
        let tier = lookup.tier;
        match self.judge(hash, lookup, now) {
            Err(Rejection::Idle | Rejection::Expired | Rejection::Disabled) if tier != Tier::L3 => {
                let lookup = self.parts.cache.look_up_truth(hash, now).await?;
                Ok(self.judge(hash, lookup, now))
            }
            verdict => Ok(verdict),
        }
    }

    fn judge(&self, hash: &TokenHash, lookup: Lookup, now: Moment) -> Result<Authenticated, Rejection> {
        let Lookup { found, tier } = lookup;
        let active = found.ok_or(Rejection::Unknown)?;
        if !self.may_sign_in(&active.user) {
            return Err(Rejection::Disabled);
        }
        match active.session.liveness(now.wall, &self.parts.policy.sessions) {
            Liveness::Live => Ok(Authenticated { active, tier, hash: *hash }),
            Liveness::LiveUnrecorded => {
                let active = self.parts.cache.seen(hash, &active, now);
                Ok(Authenticated { active, tier, hash: *hash })
            }
            Liveness::Idle => Err(Rejection::Idle),
            Liveness::Expired => Err(Rejection::Expired),
        }
    }
}
