//! Answer for every request: whose session is this?

use std::net::IpAddr;
use std::sync::Arc;

use super::{Auth, ClientInfo};
use crate::model::{ActiveSession, EventKind, Liveness, Moment, TokenHash};
use crate::policy::Reaction;
use crate::ports::{Lookup, StoreError, Tier};

/// A request's session, found and live.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The session and its user.
    pub active: Arc<ActiveSession>,
    /// The tier that knew it.
    pub tier: Tier,
    /// The session's name in every tier.
    pub hash: TokenHash,
    /// Whether this use is to be recorded, once it is known to be in order: the last one recorded is a step old.
    unrecorded: bool,
}

/// What a request presents, hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credential<'a> {
    /// A token of ours.
    Own(TokenHash),
    /// A token of an outside identity provider.
    External {
        /// Its hash.
        hash: TokenHash,
        /// The token.
        text: &'a str,
    },
}

/// Why a credential does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Not a token that is accepted here: wrong shape, checksum or signature. No session was looked up.
    Malformed,
    /// No session has this token: it ended, or never was.
    Unknown,
    /// The session was not used for too long.
    Idle,
    /// The session reached its absolute time-out.
    Expired,
    /// The account is disabled.
    Disabled,
    /// An outside provider's token that is over; the provider gives another.
    TokenExpired,
    /// An outside provider's kind of user that is not let in.
    NotAllowed,
    /// An outside provider's user who has as many sessions as they may.
    CapReached,
    /// The session is used on another device or from another place, and the user must sign in there.
    Reauthenticate,
}

/// Why nobody can say whether a credential counts.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The keys of an outside identity provider cannot be had.
    #[error("the keys of the identity provider cannot be had")]
    ProviderUnavailable,
}

/// The verdict on a credential.
pub type Verdict = Result<Authenticated, Rejection>;

impl Auth {
    /// Answers from this process's memory, or not at all (`None`). No I/O, no allocation on a hit.
    ///
    /// `environment` is a hash of everything that tells devices and places apart, never zero.
    #[must_use]
    pub fn authenticate_from_memory(
        &self,
        credential: &Credential<'_>,
        environment: u64,
        now: Moment,
    ) -> Option<Verdict> {
        let hash = match credential {
            Credential::Own(hash) => *hash,
            Credential::External { hash, .. } => {
                let pooled = self.parts.cache.pooled_token(hash)?;
                if now.wall >= pooled.expires_at {
                    return Some(Err(Rejection::TokenExpired));
                }
                if pooled.ended {
                    return Some(Err(Rejection::Unknown));
                }
                pooled.session
            }
        };
        let lookup = self.parts.cache.peek(&hash, now)?;
        if lookup.found.is_none() && matches!(credential, Credential::External { .. }) {
            return None;
        }
        let (tier, found) = (lookup.tier, lookup.found.is_some());
        match self.judge(&hash, lookup, now) {
            // The copy in memory may be behind another node's last-seen: ask the truth before saying so.
            Err(Rejection::Idle | Rejection::Expired | Rejection::Disabled) => None,
            Ok(caller) if !caller.active.environments.contains(environment) => None,
            verdict => {
                self.parts.cache.used(tier, found);
                Some(verdict.map(|caller| self.record_use(caller, now, None)))
            }
        }
    }

    /// Answers from the first tier that knows.
    ///
    /// # Errors
    /// When the database or a provider's keys had to be asked for and could not be had.
    pub async fn authenticate(
        &self,
        credential: &Credential<'_>,
        client: &ClientInfo,
        now: Moment,
    ) -> Result<Verdict, AuthenticateError> {
        let verdict = match credential {
            Credential::Own(hash) => {
                let verdict = self.look_up(hash, now).await?;
                // Or one old token would be looked up in the database as often as somebody sends it.
                if matches!(verdict, Err(Rejection::Idle | Rejection::Expired)) {
                    self.parts.cache.over(hash, now);
                }
                verdict
            }
            Credential::External { hash, text } => {
                self.authenticate_external(hash, text, client, now).await?
            }
        };
        match verdict {
            Ok(caller) => Ok(self.check_environment(caller, client, now).await?),
            Err(rejection) => Ok(Err(rejection)),
        }
    }

    pub(super) async fn look_up(&self, hash: &TokenHash, now: Moment) -> Result<Verdict, StoreError> {
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

    pub(super) fn judge(&self, hash: &TokenHash, lookup: Lookup, now: Moment) -> Verdict {
        let Lookup { found, tier } = lookup;
        let active = found.ok_or(Rejection::Unknown)?;
        if !self.may_sign_in(&active.user) {
            return Err(Rejection::Disabled);
        }
        match active.session.liveness(now.wall, self.parts.policy.sessions.of(&active.user.role)) {
            Liveness::Live => Ok(Authenticated { active, tier, hash: *hash, unrecorded: false }),
            Liveness::LiveUnrecorded => Ok(Authenticated { active, tier, hash: *hash, unrecorded: true }),
            Liveness::Idle => Err(Rejection::Idle),
            Liveness::Expired => Err(Rejection::Expired),
        }
    }

    /// Notes a use that is in order: when it was, if the last one noted is a step old, and where, if that is new.
    fn record_use(&self, caller: Authenticated, now: Moment, moved_to: Option<IpAddr>) -> Authenticated {
        if !caller.unrecorded && moved_to.is_none() {
            return caller;
        }
        let active = self.parts.cache.seen(&caller.hash, &caller.active, now, moved_to);
        Authenticated { active, unrecorded: false, ..caller }
    }

    /// Looks at where a session is used, the first time it is used there. What is refused leaves no trace: neither does
    /// it keep the session alive, nor is it the use that the next one is compared with.
    async fn check_environment(
        &self,
        caller: Authenticated,
        client: &ClientInfo,
        now: Moment,
    ) -> Result<Verdict, StoreError> {
        if caller.active.environments.contains(client.environment) {
            return Ok(Ok(self.record_use(caller, now, None)));
        }
        match self.notice(&caller.active, client, now.wall) {
            None | Some(Reaction::Observe) => {
                let moved_to = client.ip.filter(|_| client.ip != caller.active.session.last_ip);
                let caller = self.record_use(caller, now, moved_to);
                caller.active.environments.remember(client.environment);
                Ok(Ok(caller))
            }
            Some(Reaction::Reauthenticate) => Ok(Err(Rejection::Reauthenticate)),
            Some(Reaction::Revoke) => {
                let session = &caller.active.session;
                let scope = crate::ports::EndScope::One(session.user_id, session.id);
                self.end_in_store(scope).await?;
                self.note_event(EventKind::SessionRevoked, &caller.active, client, String::new());
                Ok(Err(Rejection::Unknown))
            }
        }
    }
}
