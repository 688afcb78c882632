//! What administrators do with limits and blocks: first in the database, then on this node, then the others are told.
//!
//! Does not own how clients are counted: [`LimitKeys`] says under which keys.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, BlockSubject};
use phoenix_auth::ports::{BlockFilter, Clock, Entropy, Store, StoreError};
use phoenix_http::{LimitAdmin, LimitAdminError, LimitSubject, WantedBlock};
use phoenix_store::bus::Bus;

use super::block_queue::BlockQueue;
use super::blocks::{BlockReader, BlockSink};

/// Blocks lifted in one statement when all are.
const LIFT_BATCH: u32 = 1000;
/// Most statements when all are lifted: a million blocks.
const LIFT_BATCHES: u32 = 1000;

/// A client as one class counts it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CountedAs {
    /// What is counted.
    pub key: BlockKey,
    /// The same for people: an IPv6 address may be counted as the network around it.
    pub subject: BlockSubject,
}

/// Knows how clients are counted.
pub trait LimitKeys: Send + Sync {
    /// The names of the classes of endpoints, none twice.
    fn classes(&self) -> Vec<String>;

    /// How a class counts a client, a few keys at most; nothing if it counts by something else.
    fn keys_of(&self, subject: LimitSubject, class: &str) -> Vec<CountedAs>;
}

/// Looks after limits and blocks.
pub struct Administration {
    /// Where blocks are kept.
    pub store: Arc<dyn Store>,
    /// Blocks on their way there.
    pub queue: Arc<BlockQueue>,
    /// Blocks on their way from there. Waits while they are changed.
    pub reader: Arc<BlockReader>,
    /// This node's limiter.
    pub sink: Arc<dyn BlockSink>,
    /// How clients are counted.
    pub keys: Arc<dyn LimitKeys>,
    /// The other nodes, if there can be any.
    pub bus: Option<Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for names of blocks.
    pub entropy: Arc<dyn Entropy>,
}

impl Administration {
    async fn tell_the_others(&self) {
        if let Some(bus) = &self.bus {
            bus.tell_blocks_changed().await;
        }
    }

    fn blocks_of(&self, wanted: &WantedBlock) -> Vec<Block> {
        let since = self.clock.now().wall;
        let mut blocks = Vec::new();
        for class in self.keys.classes() {
            if wanted.class.as_ref().is_some_and(|only| *only != class) {
                continue;
            }
            for CountedAs { key, subject } in self.keys.keys_of(wanted.subject, &class) {
                blocks.push(Block {
                    id: BlockId::generate(since, &*self.entropy),
                    key,
                    class: class.clone(),
                    subject,
                    cause: BlockCause::Administrator,
                    reason: wanted.reason.clone(),
                    since,
                    until: since.plus(wanted.length),
                    by: Some(wanted.by),
                });
            }
        }
        blocks
    }

    async fn reset_keys(&self, keys: &[BlockKey]) -> Result<u64, StoreError> {
        // What waits to be written would come back.
        let queue = self.queue.pause().await;
        let _reading = self.reader.pause().await;
        let lifted = self.store.lift_keys(keys, self.clock.now().wall).await?.acknowledge();
        queue.forget(Some(keys));
        for key in keys {
            self.sink.reset(*key, self.clock.mono()).await;
        }
        Ok(lifted)
    }

    async fn reset_everybody(&self) -> Result<u64, StoreError> {
        let queue = self.queue.pause().await;
        let _reading = self.reader.pause().await;
        let at = self.clock.now().wall;
        let mut lifted = 0;
        for _ in 0..LIFT_BATCHES {
            let batch = self.store.lift_every(at, LIFT_BATCH).await?.acknowledge();
            lifted += batch;
            if batch < u64::from(LIFT_BATCH) {
                break;
            }
        }
        queue.forget(None);
        self.sink.reset_all(self.clock.mono()).await;
        Ok(lifted)
    }
}

#[async_trait]
impl LimitAdmin for Administration {
    fn classes(&self) -> Vec<String> {
        self.keys.classes()
    }

    async fn blocks(&self, filter: &BlockFilter, limit: u32) -> Result<Vec<Block>, StoreError> {
        self.store.live_blocks(filter, self.clock.now().wall, limit).await
    }

    async fn block(&self, wanted: &WantedBlock) -> Result<Vec<Block>, LimitAdminError> {
        let blocks = self.blocks_of(wanted);
        if blocks.is_empty() {
            return Err(LimitAdminError::NotCounted);
        }
        let reading = self.reader.pause().await;
        self.store.put_blocks(&blocks).await?.acknowledge();
        for block in &blocks {
            self.sink.replace(block.key, wanted.length, self.clock.mono()).await;
        }
        drop(reading);
        tracing::info!(by = %wanted.by, subject = ?wanted.subject, blocks = blocks.len(), "an administrator blocked a client");
        self.tell_the_others().await;
        Ok(blocks)
    }

    async fn lift(&self, id: BlockId) -> Result<Option<Block>, StoreError> {
        let reading = self.reader.pause().await;
        let lifted = self.store.lift_block(id, self.clock.now().wall).await?.acknowledge();
        if let Some(block) = &lifted {
            self.sink.reset(block.key, self.clock.mono()).await;
            drop(reading);
            tracing::info!(%id, subject = block.subject.as_str(), "an administrator lifted a block");
            self.tell_the_others().await;
        }
        Ok(lifted)
    }

    async fn reset(&self, subject: Option<LimitSubject>) -> Result<u64, StoreError> {
        let lifted = match subject {
            None => self.reset_everybody().await?,
            Some(subject) => {
                let classes = self.keys.classes();
                let counted = classes.iter().flat_map(|class| self.keys.keys_of(subject, class));
                let keys: Vec<BlockKey> = counted.map(|counted| counted.key).collect();
                self.reset_keys(&keys).await?
            }
        };
        tracing::info!(?subject, lifted, "an administrator reset the rate limits");
        self.tell_the_others().await;
        Ok(lifted)
    }
}
