//! What the HTTP surface asks of the rest of the process when an administrator looks after limits and blocks.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{Block, BlockId, UserId};
use phoenix_auth::ports::{BlockFilter, StoreError};

/// Whom limits are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitSubject {
    /// A client's address; an IPv4 address is never written as IPv6 here. What is counted as one client may be the
    /// whole network around it.
    Address(IpAddr),
    /// A user.
    User(UserId),
}

/// A block that an administrator wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedBlock {
    /// Whom.
    pub subject: LimitSubject,
    /// In which class of endpoints, one of [`LimitAdmin::classes`]; in all that count such a subject if absent.
    pub class: Option<String>,
    /// How long from now, at least a second.
    pub length: Duration,
    /// What the administrator says about it; may be empty.
    pub reason: String,
    /// The administrator.
    pub by: UserId,
}

/// Why a block was not made.
#[derive(Debug, thiserror::Error)]
pub enum LimitAdminError {
    /// The class, or every class, counts clients by something else.
    #[error("no limit counts this kind of subject")]
    NotCounted,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for LimitAdminError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Looks after limits and blocks, for administrators. What it acknowledges is in the database, obeyed by this node, and
/// by the others as soon as they hear of it or a few seconds later.
#[async_trait]
pub trait LimitAdmin: Send + Sync {
    /// The names of the classes of endpoints that have limits.
    fn classes(&self) -> Vec<String>;

    /// At most `limit` running blocks, the latest first.
    async fn blocks(&self, filter: &BlockFilter, limit: u32) -> Result<Vec<Block>, StoreError>;

    /// Begins a block in each class that is meant, in place of those that run.
    async fn block(&self, wanted: &WantedBlock) -> Result<Vec<Block>, LimitAdminError>;

    /// Ends a block, and forgets what its client did before: else its next request would begin another one. `None` when there is none of this name that runs.
    async fn lift(&self, id: BlockId) -> Result<Option<Block>, StoreError>;

    /// Forgets what was counted and ends the blocks, of one subject or of everybody. Returns how many blocks ended.
    async fn reset(&self, subject: Option<LimitSubject>) -> Result<u64, StoreError>;
}
