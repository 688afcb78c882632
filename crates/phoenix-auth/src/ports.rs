//! What the domain needs from outside: a store, a cache, a clock, randomness, and a place to hash passwords.
//!
//! Implementations live in `phoenix-store` and in the binary. Methods that matter to security have no default
//! body. "Not found" is `Option`; everything else that can go wrong in a store is one opaque [`StoreError`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{
    ActiveSession, Durable, Email, EmailKey, Moment, PasswordHash, Profile, Relaxed, Role, Seq, Session,
    SessionId, SessionSummary, Timestamp, TokenHash, User, UserAgent, UserId,
};
use crate::ops::{PasswordJob, PasswordOutcome};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Moment;

    /// Reads the monotonic clock only: enough to measure how long something took.
    fn mono(&self) -> Duration;
}

/// Cryptographic randomness.
pub trait Entropy: Send + Sync {
    /// Overwrites `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// Why a store could not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// Cannot be reached, or the connection broke.
    Unavailable,
    /// Reached, but did not answer within its time.
    TimedOut,
    /// Refuses writes.
    ReadOnly,
    /// No space is left where it writes.
    StorageFull,
    /// A defect: bad SQL, a broken row, a violated assumption.
    Internal,
}

/// A store failed. Says which operation, never with what data; the cause is its source.
#[derive(Debug, thiserror::Error)]
#[error("the store could not {operation} ({kind:?})")]
pub struct StoreError {
    operation: &'static str,
    kind: StoreErrorKind,
    #[source]
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Names the operation that failed, for example `"open a session"`.
    pub fn new(
        operation: &'static str,
        kind: StoreErrorKind,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, kind, cause: Arc::from(cause.into()) }
    }

    /// Whether it is an outage or a defect.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl Clone for StoreError {
    /// For callers that waited on the same look-up.
    fn clone(&self) -> Self {
        Self { operation: self.operation, kind: self.kind, cause: Arc::clone(&self.cause) }
    }
}

/// An account to be made.
#[derive(Debug)]
pub struct NewUser {
    /// Its name.
    pub id: UserId,
    /// Address, unique by its key.
    pub email: Email,
    /// Its password.
    pub password_hash: PasswordHash,
    /// What it may do.
    pub role: Role,
    /// What the user says about themselves.
    pub profile: Profile,
    /// When it is made.
    pub created_at: Timestamp,
}

/// A session to be opened.
#[derive(Debug)]
pub struct NewSession {
    /// The session as it will be.
    pub session: Session,
    /// Hash of its token.
    pub token_hash: TokenHash,
    /// Where it is opened from.
    pub user_agent: UserAgent,
}

/// What is needed to check a password.
#[derive(Debug)]
pub struct Credentials {
    /// The account.
    pub user: User,
    /// Its password.
    pub password_hash: PasswordHash,
    /// Raised by every change of password or access; a session is opened only at the epoch it was checked at.
    pub auth_epoch: i64,
}

/// What became stale: cached copies loaded before it must be read again from the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stale {
    /// One session.
    Session(SessionId),
    /// A user and every session of theirs.
    User(UserId),
}

/// An entry of the invalidation log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalidation {
    /// Its place. Sequence order is commit order.
    pub seq: Seq,
    /// What it names.
    pub stale: Stale,
}

/// Result of making an account.
#[derive(Debug)]
pub enum UserCreated {
    /// Made, with its session if one was asked for.
    Created,
    /// An account with this email exists.
    EmailTaken,
}

/// Result of opening a session.
#[derive(Debug)]
pub enum SessionOpened {
    /// Open. Holds the invalidation of the session it replaced, if any.
    Opened(Option<Invalidation>),
    /// The account is gone, disabled, or changed since its password was checked.
    Refused,
}

/// A new password for an account, and the session that its owner goes on with.
#[derive(Debug)]
pub struct PasswordChange {
    /// Whose.
    pub user_id: UserId,
    /// The epoch at which the current password was checked.
    pub auth_epoch: i64,
    /// The new password.
    pub password_hash: PasswordHash,
    /// Opened in the same transaction; every other session of the user ends.
    pub session: Option<NewSession>,
    /// When.
    pub at: Timestamp,
}

/// A change of what an account may do.
#[derive(Clone, Debug)]
pub struct AccessChange {
    /// Whose.
    pub user_id: UserId,
    /// New role, if it changes.
    pub role: Option<Role>,
    /// Whether the account is disabled, if it changes.
    pub disabled: Option<bool>,
    /// When.
    pub at: Timestamp,
}

/// Result of a change of access.
#[derive(Debug)]
pub enum AccessChanged {
    /// Done; every session of the user ended unless nothing changed.
    Changed {
        /// The account as it is now.
        user: Box<User>,
        /// Present when sessions ended.
        invalidation: Option<Invalidation>,
    },
    /// No such account.
    NotFound,
    /// It would leave no enabled administrator.
    LastAdministrator,
}

/// Which sessions to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndScope {
    /// One session, if it is this user's.
    One(UserId, SessionId),
    /// All of the user's but one.
    Others(UserId, SessionId),
    /// All of the user's.
    All(UserId),
}

/// Sessions that ended.
#[derive(Debug)]
pub struct SessionsEnded {
    /// How many.
    pub count: u64,
    /// One entry for each, or one for the user. Empty when none ended.
    pub invalidations: Vec<Invalidation>,
}

/// A session found by its token.
#[derive(Debug)]
pub struct FoundSession {
    /// The session and its user.
    pub active: ActiveSession,
    /// The token was replaced by its successor a moment ago: usable for requests in flight, not to be cached.
    pub superseded: bool,
}

/// Replace a token by its successor.
#[derive(Debug)]
pub struct Rotation {
    /// Hash of the token presented.
    pub presented: TokenHash,
    /// Hash of its successor.
    pub successor: TokenHash,
    /// When.
    pub at: Timestamp,
    /// A token replaced later than this may be presented again.
    pub superseded_after: Timestamp,
}

/// Result of replacing a token.
#[derive(Debug)]
pub enum Rotated {
    /// The successor is now the session's token. Holds the invalidation of copies under the old one.
    Rotated(Box<ActiveSession>, Option<Invalidation>),
    /// No live session has this token, nor had it until a moment ago.
    Unknown,
    /// The token was replaced longer ago than the grace allows: somebody kept a copy. The session was ended.
    Replayed(UserId, Option<Invalidation>),
}

/// A session that was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Activity {
    /// Which.
    pub session_id: SessionId,
    /// Whose.
    pub user_id: UserId,
    /// When last.
    pub at: Timestamp,
}

/// Accounts.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Makes an account and, if asked, opens its first session, in one transaction.
    async fn create_user(
        &self,
        user: &NewUser,
        session: Option<&NewSession>,
    ) -> Result<Durable<UserCreated>, StoreError>;

    /// Whether any account exists.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// The account with this address, with its password.
    async fn credentials(&self, email: &EmailKey) -> Result<Option<Credentials>, StoreError>;

    /// The same by name.
    async fn credentials_by_id(&self, id: UserId) -> Result<Option<Credentials>, StoreError>;

    /// At most `limit` accounts with names after `after`, in order of their names.
    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Replaces a hash by a stronger one of the same password. Ends no session. False if it changed meanwhile.
    async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        from: &PasswordHash,
        to: &PasswordHash,
    ) -> Result<Durable<bool>, StoreError>;

    /// Sets a new password, ends every session of the user and opens the given one, in one transaction.
    /// `Refused` when the account is gone, disabled or changed since `auth_epoch`.
    async fn change_password(&self, change: &PasswordChange) -> Result<Durable<SessionOpened>, StoreError>;

    /// Changes role or access and ends every session of the user, in one transaction.
    async fn change_access(&self, change: &AccessChange) -> Result<Durable<AccessChanged>, StoreError>;
}

/// Sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Opens a session for an account that is enabled and still at `auth_epoch`; ends `replaces` with it.
    async fn open_session(
        &self,
        session: &NewSession,
        auth_epoch: i64,
        replaces: Option<SessionId>,
    ) -> Result<Durable<SessionOpened>, StoreError>;

    /// The session with this token and its user, whatever time has done to it. A token that was replaced later
    /// than `superseded_after` still finds its session.
    async fn find_session(
        &self,
        hash: &TokenHash,
        superseded_after: Timestamp,
    ) -> Result<Option<FoundSession>, StoreError>;

    /// Replaces a token by its successor, atomically.
    async fn rotate_token(&self, rotation: &Rotation) -> Result<Durable<Rotated>, StoreError>;

    /// A user's sessions, the last used first, at most `limit`.
    async fn sessions_of(&self, user_id: UserId, limit: u32) -> Result<Vec<SessionSummary>, StoreError>;

    /// Ends sessions.
    async fn end_sessions(
        &self,
        scope: EndScope,
        at: Timestamp,
    ) -> Result<Durable<SessionsEnded>, StoreError>;

    /// Writes when sessions and their users were last seen. Never moves a time backwards.
    async fn record_activity(&self, batch: &[Activity]) -> Result<Relaxed<u64>, StoreError>;

    /// Removes at most `limit` sessions that had expired, or were idle since before `idle_before`, at `now`.
    async fn remove_expired(
        &self,
        now: Timestamp,
        idle_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError>;
}

/// The log that tells every node what became stale.
#[async_trait]
pub trait InvalidationLog: Send + Sync {
    /// Entries after `seq` in order, at most `limit`.
    async fn invalidations_after(&self, seq: Seq, limit: u32) -> Result<Vec<Invalidation>, StoreError>;

    /// The last sequence number given out.
    async fn last_seq(&self) -> Result<Seq, StoreError>;

    /// Removes at most `limit` entries made before `before`.
    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError>;
}

/// Everything that the truth must offer.
pub trait Store: AccountStore + SessionStore + InvalidationLog {}
impl<T: AccountStore + SessionStore + InvalidationLog> Store for T {}

/// Which tier answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Memory of this process.
    L1,
    /// Redis.
    L2,
    /// The database.
    L3,
}

impl Tier {
    /// Value of the `X-Cache-Hit` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
            Self::L3 => "l3",
        }
    }
}

/// What a look-up found, and where.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The session, if one has this token.
    pub found: Option<Arc<ActiveSession>>,
    /// The tier that knew.
    pub tier: Tier,
}

/// Sessions by token hash, through the tiers.
#[async_trait]
pub trait SessionCache: Send + Sync {
    /// Answers from this process's memory, or not at all.
    fn peek(&self, hash: &TokenHash, now: Moment) -> Option<Lookup>;

    /// Answers from the first tier that knows.
    async fn look_up(&self, hash: &TokenHash, now: Moment) -> Result<Lookup, StoreError>;

    /// Answers from the database, past every cache, and refills them.
    async fn look_up_truth(&self, hash: &TokenHash, now: Moment) -> Result<Lookup, StoreError>;

    /// Notes that the session was used, to be written later, and returns its updated form.
    fn seen(&self, hash: &TokenHash, active: &Arc<ActiveSession>, now: Moment) -> Arc<ActiveSession>;

    /// Drops what this node just made stale, before the caller acknowledges it.
    async fn invalidate(&self, invalidations: &[Invalidation]);
}

/// Password work could not be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no password worker became free in time")]
pub struct PasswordPoolBusy {
    /// When trying again is sensible.
    pub retry_after: Duration,
}

/// Runs password work on a bounded number of threads.
#[async_trait]
pub trait PasswordPool: Send + Sync {
    /// Runs `job`, waiting a bounded time for a free worker.
    async fn run(&self, job: PasswordJob) -> Result<PasswordOutcome, PasswordPoolBusy>;
}

#[cfg(test)]
pub(crate) mod testing {
    //! Deterministic stand-ins for the clock and randomness.

    use std::sync::atomic::{AtomicU8, Ordering};

    /// Fills with a counter that rises with every call.
    #[derive(Default)]
    pub(crate) struct CountingEntropy(AtomicU8);

    impl super::Entropy for CountingEntropy {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }
}
