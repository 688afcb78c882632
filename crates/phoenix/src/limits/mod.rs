//! Rate limits and blocks as the process runs them: rules from the configuration and their exchange while requests are
//! served, blocks on their ways, the limiter's way to Redis.
//!
//! Does not own what the rules do (`phoenix-http`), nor how admissions are counted (`phoenix-limit`).

pub mod admin;
pub mod block_queue;
pub mod blocks;
pub(crate) mod enforcement;
mod link;
pub(crate) mod report;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use phoenix_auth::ports::{Clock, Entropy, Store, StoreError};
use phoenix_store::bus::Bus;

use crate::lifecycle::Lifecycle;
use admin::{Administration, LimitKeys};
use block_queue::BlockQueue;
use blocks::{BlockReader, BlockSink};

/// What blocks need.
pub struct BlockParts {
    /// Takes blocks that begin on this node.
    pub queue: Arc<BlockQueue>,
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// This node's limiter.
    pub sink: Arc<dyn BlockSink>,
    /// How clients are counted.
    pub keys: Arc<dyn LimitKeys>,
    /// The other nodes, if there can be any.
    pub bus: Option<Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Blocks on all their ways, put together. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    /// Takes blocks that begin on this node.
    pub queue: Arc<BlockQueue>,
    /// What administrators do.
    pub administration: Arc<Administration>,
    reader: Arc<BlockReader>,
}

impl Blocks {
    /// Nothing is read or written yet.
    #[must_use]
    pub fn new(parts: BlockParts) -> Self {
        let BlockParts { queue, store, sink, keys, bus, clock, entropy } = parts;
        let reader = BlockReader::new(Arc::clone(&store), Arc::clone(&sink), Arc::clone(&clock));
        let reader = Arc::new(reader);
        let administration = Administration {
            store,
            queue: Arc::clone(&queue),
            reader: Arc::clone(&reader),
            sink,
            keys,
            bus,
            clock,
            entropy,
        };
        Self { queue, administration: Arc::new(administration), reader }
    }

    /// Hands all blocks that run to the limiter, which must be done before the first request is answered, and from then
    /// on keeps limiter and database in step.
    ///
    /// # Errors
    /// When the database does not answer. Nothing runs then.
    pub async fn start(&self, lifecycle: &Lifecycle) -> Result<(), StoreError> {
        let blocks = self.reader.load().await?;
        if blocks > 0 {
            tracing::info!(blocks, "clients that were blocked before stay blocked");
        }
        let Administration { store, bus, clock, .. } = &*self.administration;
        let queue = Arc::clone(&self.queue);
        let writing =
            block_queue::write(lifecycle.clone(), queue, Arc::clone(store), Arc::clone(clock), bus.clone());
        lifecycle.spawn("block writer", writing);
        let reading = blocks::follow(lifecycle.clone(), Arc::clone(&self.reader), bus.clone());
        lifecycle.spawn("block reader", reading);
        Ok(())
    }

    /// Writes what waits, before the database is closed.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let Administration { store, clock, .. } = &*self.administration;
        self.queue.flush(&**store, &**clock).await.map(drop)
    }
}
