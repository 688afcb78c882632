//! The log that tells every node what became stale.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Relaxed, Seq, SessionId, Timestamp, UserId};

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
    /// When it was made, by the clock of the node that made it.
    pub at: Timestamp,
}

/// A part of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogPage {
    /// The last sequence number given out when the page was read.
    pub last: Seq,
    /// Entries in order.
    pub entries: Vec<Invalidation>,
}

/// The log that tells every node what became stale.
#[async_trait]
pub trait InvalidationLog: Send + Sync {
    /// Entries after `seq` in order, at most `limit`, and the last number given out, from one snapshot.
    async fn log_after(&self, seq: Seq, limit: u32) -> Result<LogPage, StoreError>;

    /// Removes at most `limit` entries made before `before`.
    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError>;
}
