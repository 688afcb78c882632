//! Sessions.

use std::net::IpAddr;

use async_trait::async_trait;

use super::{EndedExternal, Invalidation, StoreError};
use crate::model::{
    ActiveSession, Durable, Relaxed, Session, SessionId, SessionSummary, Timestamp, TokenHash, UserAgent,
    UserId,
};

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

/// How many sessions a user may have at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionCap {
    /// Most live sessions, the new one included. At least 1.
    pub most: u32,
    /// What happens at the cap.
    pub policy: CapPolicy,
    /// A session last seen before this has ended by idleness and is not counted. Nor is an expired one.
    pub idle_before: Timestamp,
}

/// What happens when a user with the most sessions opens another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CapPolicy {
    /// The session opened first ends.
    EvictOldest,
    /// The new one is refused.
    Refuse,
}

/// Result of opening a session.
#[derive(Debug)]
pub enum SessionOpened {
    /// Open. Holds what ended for it: the session it replaced, and those it evicted.
    Opened(SessionsEnded),
    /// The account is gone, disabled, or changed since its password was checked.
    Refused,
    /// The user has as many sessions as they may.
    CapReached,
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
#[derive(Debug, Default)]
pub struct SessionsEnded {
    /// How many.
    pub count: u64,
    /// One entry for each, or one for the user. Empty when none ended.
    pub invalidations: Vec<Invalidation>,
    /// Those of them that an outside provider had opened.
    pub external: Vec<EndedExternal>,
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
    /// From where, if known.
    pub ip: Option<IpAddr>,
}

/// Sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Opens a session for an account that is enabled and still at `auth_epoch`; ends `replaces` with it. The cap
    /// holds exactly, however many sessions of the user are opened at once and on however many nodes.
    async fn open_session(
        &self,
        session: &NewSession,
        auth_epoch: i64,
        replaces: Option<SessionId>,
        cap: Option<SessionCap>,
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

    /// At most `limit` sessions with the hashes of their tokens, the last used first: for warming caches.
    async fn recently_used(&self, limit: u32) -> Result<Vec<(TokenHash, ActiveSession)>, StoreError>;

    /// Ends sessions. A session that an outside provider opened is remembered as ended, so that the provider's
    /// token cannot open it again. With `All` and `Others`, sessions of the user at an outside provider that were
    /// never seen here end, too: tokens issued until `at` open none.
    async fn end_sessions(
        &self,
        scope: EndScope,
        at: Timestamp,
    ) -> Result<Durable<SessionsEnded>, StoreError>;

    /// Writes when and from where sessions were last seen, and when their users were. Never moves a time backwards.
    async fn record_activity(&self, batch: &[Activity]) -> Result<Relaxed<u64>, StoreError>;

    /// Removes at most `limit` sessions that had expired, or were idle since before `idle_before`, at `now`.
    async fn remove_expired(
        &self,
        now: Timestamp,
        idle_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError>;
}
