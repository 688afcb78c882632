//! Blocks on their way to the database: noted at once, written many in one statement, kept while the database is away.
//!
//! Does not own the refusing: memory and Redis hold a block from the moment it begins. What is lost here is only that a
//! block outlives both.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::model::{Block, BlockKey, Timestamp};
use phoenix_auth::ports::{Clock, Store, StoreError};
use phoenix_store::bus::Bus;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Lifecycle;

/// Blocks waiting to be written, about 500 bytes each. At the bound the one that ends first is dropped.
const QUEUE: usize = 16_384;
/// Blocks written in one statement.
const BATCH: usize = 256;
/// Pause between two writes: what begins meanwhile shares a commit.
const GATHER: Duration = Duration::from_millis(20);
/// Pause after a write that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Blocks that wait to be written.
#[derive(Default)]
pub struct BlockQueue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// Held while writing: two at once would write the same.
    writing: tokio::sync::Mutex<()>,
    written: AtomicU64,
    dropped: AtomicU64,
}

/// One block for each key, and the keys in the order in which their blocks end.
#[derive(Default)]
struct Waiting {
    by_key: HashMap<BlockKey, Held>,
    by_end: BTreeSet<(Timestamp, BlockKey)>,
}

struct Held {
    block: Block,
    written: CancellationToken,
}

/// A queue that writes nothing at the moment.
pub struct Paused<'q> {
    queue: &'q BlockQueue,
    _writing: tokio::sync::MutexGuard<'q, ()>,
}

impl Paused<'_> {
    /// Takes back the blocks of these keys, or of all, that are not written.
    pub fn forget(&self, keys: Option<&[BlockKey]>) {
        let mut waiting = self.queue.lock();
        let Some(keys) = keys else {
            *waiting = Waiting::default();
            return;
        };
        for key in keys {
            waiting.remove(key);
        }
    }
}

/// Counters since the start, and the state of the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockQueueStats {
    /// Blocks that wait.
    pub waiting: u64,
    /// Blocks handed to the database.
    pub written: u64,
    /// Blocks dropped because too many waited.
    pub dropped: u64,
}

impl BlockQueue {
    /// Notes a block that began. Of two of one key the first stands while it runs.
    pub fn note(&self, block: Block) {
        self.add(block);
    }

    /// The same, and waits at most `patience` until it is in the database. Returns whether it is.
    pub async fn put(&self, block: Block, patience: Duration) -> bool {
        let written = self.add(block);
        tokio::time::timeout(patience, written.cancelled()).await.is_ok()
    }

    /// Done when the block of this key is written.
    fn add(&self, block: Block) -> CancellationToken {
        let mut waiting = self.lock();
        if let Some(held) = waiting.by_key.get(&block.key)
            && !block.replaces(&held.block)
        {
            return held.written.clone();
        }
        let written = CancellationToken::new();
        waiting.insert(Held { block, written: written.clone() });
        if waiting.by_key.len() > QUEUE && waiting.drop_first_to_end() {
            // Told once in a while: in a flood each would be a line.
            if self.dropped.fetch_add(1, Ordering::Relaxed).is_multiple_of(1024) {
                tracing::warn!("too many blocks wait for the database; those that end first are not written");
            }
        }
        drop(waiting);
        self.arrived.notify_one();
        written
    }

    /// Writes everything that waits and still runs. Returns whether anything was written.
    ///
    /// # Errors
    /// What could not be written goes on waiting.
    pub async fn flush(&self, store: &dyn Store, clock: &dyn Clock) -> Result<bool, StoreError> {
        let write = |batch: Arc<[Block]>| async move {
            store.put_blocks(&batch).await?.acknowledge();
            Ok(())
        };
        self.flush_by(clock, write).await
    }

    async fn flush_by<W, F>(&self, clock: &dyn Clock, write: W) -> Result<bool, StoreError>
    where
        W: Fn(Arc<[Block]>) -> F,
        F: Future<Output = Result<(), StoreError>>,
    {
        let _writing = self.writing.lock().await;
        let mut any = false;
        loop {
            let batch: Arc<[Block]> = self.lock().batch(clock.now().wall).into();
            if batch.is_empty() {
                return Ok(any);
            }
            write(Arc::clone(&batch)).await?;
            any = true;
            self.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
            let mut waiting = self.lock();
            for block in &*batch {
                waiting.settle(block);
            }
        }
    }

    /// Waits for a write that is under way, and writes nothing more until what this returns is dropped.
    pub async fn pause(&self) -> Paused<'_> {
        Paused { queue: self, _writing: self.writing.lock().await }
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> BlockQueueStats {
        BlockQueueStats {
            waiting: self.lock().by_key.len() as u64,
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn insert(&mut self, held: Held) {
        let key = held.block.key;
        self.remove(&key);
        self.by_end.insert((held.block.until, key));
        self.by_key.insert(key, held);
    }

    fn remove(&mut self, key: &BlockKey) -> Option<Held> {
        let held = self.by_key.remove(key)?;
        self.by_end.remove(&(held.block.until, *key));
        Some(held)
    }

    fn drop_first_to_end(&mut self) -> bool {
        self.by_end.first().copied().is_some_and(|(_, key)| self.remove(&key).is_some())
    }

    /// What to write next: those that end last, which are worth the most. Those that have ended are let go.
    fn batch(&mut self, now: Timestamp) -> Vec<Block> {
        while self.by_end.first().is_some_and(|(until, _)| *until <= now) {
            self.drop_first_to_end();
        }
        let last = self.by_end.iter().rev().take(BATCH);
        last.filter_map(|(_, key)| self.by_key.get(key)).map(|held| held.block.clone()).collect()
    }

    /// The block is in the database, unless another one of its key came meanwhile.
    fn settle(&mut self, block: &Block) {
        if self.by_key.get(&block.key).is_some_and(|held| held.block.id == block.id)
            && let Some(held) = self.remove(&block.key)
        {
            held.written.cancel();
        }
    }
}

/// Writes blocks as they begin, and tells the other nodes. The last ones are to be written by who closes the database.
pub async fn write(
    lifecycle: Lifecycle,
    queue: Arc<BlockQueue>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    bus: Option<Bus>,
) {
    let stopping = lifecycle.stopping().clone();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = queue.arrived.notified() => {}
        }
        loop {
            match queue.flush(&*store, &*clock).await {
                Ok(false) => break,
                Ok(true) => {
                    if let Some(bus) = &bus {
                        bus.tell_blocks_changed().await;
                    }
                    break;
                }
                Err(error) => {
                    tracing::warn!(?error, "blocks were not written; they wait for the next time");
                    if !lifecycle.pause(PAUSE).await {
                        return;
                    }
                }
            }
        }
        if !lifecycle.pause(GATHER).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use phoenix_auth::ports::StoreErrorKind;

    use super::*;
    use crate::limits::blocks::testing::{Fixed, block};

    fn failed() -> StoreError {
        StoreError::new("write blocks", StoreErrorKind::Unavailable, "away")
    }

    /// Writes all; returns the numbers of the blocks of each statement.
    async fn flushed(queue: &BlockQueue, now_ms: i64) -> Vec<Vec<u128>> {
        let statements = RefCell::new(Vec::new());
        let clock = Fixed::at(now_ms);
        let write = |batch: Arc<[Block]>| {
            let numbers = batch.iter().map(|block| block.id.as_uuid().as_u128()).collect();
            statements.borrow_mut().push(numbers);
            std::future::ready(Ok(()))
        };
        queue.flush_by(&clock, write).await.expect("it writes");
        statements.into_inner()
    }

    #[tokio::test]
    async fn what_ends_last_is_written_first_and_what_ended_is_not() {
        let queue = BlockQueue::default();
        for (number, until) in [(1, 100), (2, 300), (3, 200), (4, 50)] {
            queue.note(block(number, 0, until));
        }
        assert_eq!(flushed(&queue, 50).await, [vec![2, 3, 1]]);
        assert_eq!(queue.stats(), BlockQueueStats { waiting: 0, written: 3, dropped: 0 });
        assert!(flushed(&queue, 50).await.is_empty());
    }

    #[tokio::test]
    async fn of_two_blocks_of_one_key_the_first_stands_while_it_runs() {
        let queue = BlockQueue::default();
        let again =
            |number: u32, since, until| Block { key: block(1, 0, 1).key, ..block(number, since, until) };
        queue.note(again(1, 0, 100));
        queue.note(again(2, 99, 900));
        assert_eq!(queue.stats().waiting, 1);
        assert_eq!(flushed(&queue, 10).await, [vec![1]]);
        queue.note(again(3, 0, 100));
        queue.note(again(4, 100, 200));
        assert_eq!(flushed(&queue, 10).await, [vec![4]]);
    }

    #[tokio::test]
    async fn a_flood_is_bounded_and_costs_the_blocks_that_end_first() {
        let queue = BlockQueue::default();
        let all = u32::try_from(QUEUE).expect("small") + 100;
        for number in 0..all {
            queue.note(block(number, 0, i64::from(number) + 1));
        }
        assert_eq!(queue.stats(), BlockQueueStats { waiting: QUEUE as u64, written: 0, dropped: 100 });
        let statements = flushed(&queue, 0).await;
        assert!(statements.iter().all(|statement| statement.len() <= BATCH));
        let mut written: Vec<u128> = statements.into_iter().flatten().collect();
        written.sort_unstable();
        assert_eq!(written, (100..u128::from(all)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_write_that_fails_loses_nothing_and_whoever_waits_is_told_when_it_succeeds() {
        let queue = BlockQueue::default();
        let mut waiting = std::pin::pin!(queue.put(block(1, 0, 100), Duration::from_secs(20)));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let away = queue.flush_by(&Fixed::at(0), |_| std::future::ready(Err(failed()))).await;
        assert!(away.is_err());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        // Another one who waits for the same block.
        let mut other = std::pin::pin!(queue.put(block(1, 5, 500), Duration::from_secs(20)));
        assert!(futures_util::poll!(other.as_mut()).is_pending());
        assert_eq!(flushed(&queue, 0).await, [vec![1]]);
        assert!(waiting.await && other.await);
        assert!(!queue.put(block(2, 0, 100), Duration::ZERO).await, "nobody writes");
    }

    #[tokio::test]
    async fn a_block_that_comes_while_its_key_is_written_is_written_too() {
        let queue = BlockQueue::default();
        queue.note(block(1, 0, 100));
        let written = RefCell::new(Vec::new());
        let write = |batch: Arc<[Block]>| {
            if written.borrow().is_empty() {
                queue.note(Block { key: block(1, 0, 1).key, ..block(2, 100, 200) });
            }
            written.borrow_mut().extend(batch.iter().map(|block| block.id.as_uuid().as_u128()));
            std::future::ready(Ok(()))
        };
        queue.flush_by(&Fixed::at(0), write).await.expect("it writes");
        assert_eq!(written.into_inner(), [1, 2]);
        assert_eq!(queue.stats().waiting, 0);
    }

    #[tokio::test]
    async fn what_is_taken_back_is_not_written() {
        let queue = BlockQueue::default();
        let note_four = || {
            for number in 1..=4 {
                queue.note(block(number, 0, 100));
            }
        };
        note_four();
        queue.pause().await.forget(Some(&[block(2, 0, 1).key, block(9, 0, 1).key]));
        assert_eq!(flushed(&queue, 0).await, [vec![4, 3, 1]]);
        note_four();
        queue.pause().await.forget(None);
        assert!(flushed(&queue, 0).await.is_empty());
    }
}
