//! Sessions by token hash, through the tiers.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::{ExternalOpened, Invalidation, NewExternalSession, StoreError};
use crate::model::{ActiveSession, Moment, Seq, Timestamp, TokenHash};

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

/// What is known of an outside provider's token that was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PooledToken {
    /// The session it belongs to, as it is named in every tier.
    pub session: TokenHash,
    /// When the token ends, leeway included.
    pub expires_at: Timestamp,
    /// Whether the session has ended here, for good.
    pub ended: bool,
}

/// Sessions by token hash, through the tiers.
#[async_trait]
pub trait SessionCache: Send + Sync {
    /// Answers from this process's memory, or not at all. Not counted: the caller may have to ask again.
    fn peek(&self, hash: &TokenHash, now: Moment) -> Option<Lookup>;

    /// Counts an answer of [`SessionCache::peek`] that was used.
    fn used(&self, tier: Tier, found: bool);

    /// Answers from the first tier that knows.
    async fn look_up(&self, hash: &TokenHash, now: Moment) -> Result<Lookup, StoreError>;

    /// Answers from the database, past every cache, and refills them.
    async fn look_up_truth(&self, hash: &TokenHash, now: Moment) -> Result<Lookup, StoreError>;

    /// Notes that the session was used, to be written later, and returns its updated form.
    fn seen(
        &self,
        hash: &TokenHash,
        active: &Arc<ActiveSession>,
        now: Moment,
        ip: Option<IpAddr>,
    ) -> Arc<ActiveSession>;

    /// The place in the log up to which this node knows everything. To be read before anything that
    /// [`SessionCache::opened`] will be told.
    fn stamp(&self) -> Seq;

    /// Fills the caches with a session that was just opened, so that its first use finds it.
    fn opened(&self, hash: &TokenHash, active: ActiveSession, stamp: Seq);

    /// Opens an outside provider's session. Callers that do so at once for the same session share one attempt.
    async fn open_external(&self, new: NewExternalSession) -> Result<Arc<ExternalOpened>, StoreError>;

    /// The database says that the session with this token reached a time-out: for a while nobody need ask it again.
    /// Never I/O.
    fn over(&self, hash: &TokenHash, now: Moment);

    /// A token that was verified before. Never I/O.
    fn pooled_token(&self, hash: &TokenHash) -> Option<PooledToken>;

    /// Keeps a verified token.
    fn pool_token(&self, hash: &TokenHash, token: PooledToken);

    /// Drops what this node just made stale, before the caller acknowledges it, and tells the other nodes.
    async fn invalidate(&self, invalidations: &[Invalidation]);
}
