//! Users and sessions for which an outside identity provider vouches.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Invalidation, SessionCap, SessionsEnded, StoreError};
use crate::model::{
    ActiveSession, Durable, Email, Identity, Moment, Profile, Provider, Relaxed, Session, SessionId,
    Timestamp, TokenHash, User, UserAgent, UserId,
};

/// What a provider says about a user. Only what meets our own bounds is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExternalProfile {
    /// Their address, if they have one.
    pub email: Option<Email>,
    /// Whether the provider checked it.
    pub email_verified: bool,
    /// What else it says.
    pub profile: Profile,
}

/// A token whose signature, issuer, audience and times are right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedToken {
    /// Who vouches.
    pub provider: Provider,
    /// For whom.
    pub identity: Identity,
    /// The provider's name of the session.
    pub session: String,
    /// When this token was issued.
    pub issued_at: Timestamp,
    /// When it ends, leeway included.
    pub expires_at: Timestamp,
    /// What it says about the user.
    pub user: ExternalProfile,
}

/// Why an outside token does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// Not a token, or forged, or another server's.
    #[error("the token is not one that is accepted here")]
    Invalid,
    /// Right, but over.
    #[error("the token has expired")]
    Expired,
    /// Right, but of a kind of user that is not let in: anonymous or restricted.
    #[error("this kind of user is not let in")]
    NotAllowed,
    /// The provider's keys are not known and cannot be had.
    #[error("the keys of the identity provider cannot be had")]
    Unavailable,
}

/// Checks tokens of outside identity providers.
#[async_trait]
pub trait IdentityVerifier: Send + Sync {
    /// Whether a text has the shape of such a token at all. No I/O.
    fn has_shape(&self, text: &str) -> bool;

    /// Checks a token. Usually no I/O: keys are held.
    async fn verify(&self, token: &str, now: Moment) -> Result<VerifiedToken, VerifyError>;

    /// A session was seen with a token that was just verified.
    fn seen(&self, token: &VerifiedToken, user_id: UserId, session_id: SessionId);

    /// Sessions were ended here: the provider should be told.
    fn ended(&self, sessions: &[EndedExternal]);
}

/// A session of an outside provider that ended here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedExternal {
    /// Whose.
    pub identity: Identity,
    /// The provider's name of the session; none for all sessions of the user.
    pub session: Option<String>,
}

/// The session that an outside token belongs to, to be opened if it is not.
#[derive(Clone, Debug)]
pub struct NewExternalSession {
    /// For whom the provider vouches.
    pub identity: Identity,
    /// The account to be made if the identity has none. Role `user`.
    pub user_id: UserId,
    /// What the provider says about the user.
    pub profile: ExternalProfile,
    /// The session as it will be. Its `user_id` counts only if the account is made.
    pub session: Session,
    /// The provider's name of the session.
    pub external_id: String,
    /// Name of the session in every tier.
    pub token_hash: TokenHash,
    /// Where it is opened from.
    pub user_agent: UserAgent,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// How many sessions the user may have.
    pub cap: Option<SessionCap>,
}

/// Result of opening an outside provider's session.
#[derive(Debug)]
pub enum ExternalOpened {
    /// It is open: now, or by another request a moment ago.
    Opened {
        /// The session and its user.
        active: Arc<ActiveSession>,
        /// Sessions that were evicted for it.
        ended: SessionsEnded,
        /// Whether the account was made.
        created_user: bool,
    },
    /// It was ended here, or everything issued up to the token's time was. It stays ended.
    Ended,
    /// The account is disabled.
    Disabled,
    /// The user has as many sessions as they may.
    CapReached,
}

/// Identities at outside providers.
#[async_trait]
pub trait ExternalStore: Send + Sync {
    /// Makes the account of the identity unless it has one, and opens the session unless it is open, in one
    /// transaction. However many do so at once: one account, one session.
    async fn open_external(&self, new: &NewExternalSession) -> Result<Durable<ExternalOpened>, StoreError>;

    /// The account of an identity.
    async fn user_of_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError>;

    /// Takes over what the provider said at `said_at`, unless the account was changed later than that. `None` when
    /// nothing changed or there is no such account. `at` is now.
    async fn update_external(
        &self,
        identity: &Identity,
        profile: &ExternalProfile,
        said_at: Timestamp,
        at: Timestamp,
    ) -> Result<Durable<Option<Invalidation>>, StoreError>;

    /// Whether a webhook delivery with this id is remembered.
    async fn knows_delivery(&self, id: &str) -> Result<bool, StoreError>;

    /// Remembers a webhook delivery by its id.
    async fn remember_delivery(&self, id: &str, at: Timestamp) -> Result<Durable<()>, StoreError>;

    /// Forgets deliveries before `deliveries_before` and ended outside sessions before `endings_before`, at most
    /// `limit` of each.
    async fn trim_external(
        &self,
        deliveries_before: Timestamp,
        endings_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError>;
}
