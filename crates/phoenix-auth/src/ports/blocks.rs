//! Blocks that outlive every memory.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Block, BlockId, BlockKey, Durable, Relaxed, Timestamp};

/// How far a node has read the changes of blocks. The default is before all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BlockCursor {
    /// Number of the last change read. The order of numbers is the order of commits.
    pub changed: u64,
    /// Of the blocks with that number, the last one read.
    pub key: Option<BlockKey>,
}

/// A block as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockChange {
    /// The block.
    pub block: Block,
    /// When it was lifted, if it was.
    pub lifted_at: Option<Timestamp>,
    /// Its place among the changes.
    pub cursor: BlockCursor,
}

/// A part of the changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockPage {
    /// The last number given out when the page was read. Less than the reader has seen: the database was replaced by
    /// an older one, and everything must be read again.
    pub last: u64,
    /// In order.
    pub changes: Vec<BlockChange>,
}

/// Which blocks to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockFilter {
    /// Only of this class.
    pub class: Option<String>,
    /// Only before this one.
    pub before: Option<BlockId>,
}

/// Blocks that outlive every memory.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// Writes blocks that began, in one statement. One whose key has a block that it does not replace
    /// ([`Block::replaces`]), or that began before its key was last lifted, is left out. Writing one again changes
    /// nothing, also when it was lifted meanwhile. Returns how many were written.
    async fn put_blocks(&self, blocks: &[Block]) -> Result<Durable<u64>, StoreError>;

    /// Ends a block. `None` when there is none of this name that runs at `at`.
    async fn lift_block(&self, id: BlockId, at: Timestamp) -> Result<Durable<Option<Block>>, StoreError>;

    /// Ends the blocks of these keys. Returns how many ran.
    async fn lift_keys(&self, keys: &[BlockKey], at: Timestamp) -> Result<Durable<u64>, StoreError>;

    /// Ends at most `limit` blocks that run at `at`. Returns how many.
    async fn lift_every(&self, at: Timestamp, limit: u32) -> Result<Durable<u64>, StoreError>;

    /// What changed after `after`, in order, at most `limit` blocks: those that run at `now`, and those that would if
    /// they had not been lifted. From one snapshot.
    async fn blocks_since(
        &self,
        after: BlockCursor,
        now: Timestamp,
        limit: u32,
    ) -> Result<BlockPage, StoreError>;

    /// At most `limit` blocks that run at `now`, the latest first.
    async fn live_blocks(
        &self,
        filter: &BlockFilter,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError>;

    /// Removes at most `limit` blocks that ended by themselves before `before`, lifted or not.
    async fn trim_blocks(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError>;
}
