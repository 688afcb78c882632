//! Blocks on their way from the database to this node's limiter: all that run at the start, then whatever changes.
//!
//! Nothing rests on a message of another node: the database is read every few seconds anyway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{BlockCause, BlockKey, Moment};
use phoenix_auth::ports::{BlockChange, BlockCursor, Clock, Store, StoreError};
use phoenix_store::bus::Bus;

use crate::lifecycle::Lifecycle;

/// Blocks in one read.
const PAGE: u32 = 1000;
/// Most reads at the start: a million blocks.
const LOAD_PAGES: u32 = 1000;
/// Most reads in one pass after that; the next pass goes on.
const PASS_PAGES: u32 = 100;
/// The database is read this often without being told to.
const INTERVAL: Duration = Duration::from_secs(5);
/// Shortest time between two passes, however many messages come.
const SHORTEST: Duration = Duration::from_millis(50);
/// A block's end is known to the millisecond. So much is taken off, so that it never ends later than announced.
const ROUNDING: Duration = Duration::from_millis(1);

/// Obeys blocks: this node's limiter.
#[async_trait]
pub trait BlockSink: Send + Sync {
    /// Refuses the key for `length` from `now`. With [`BlockCause::Limit`] a block that runs stays as it is, because a
    /// block ends when that was first announced; an administrator's takes its place. Called for thousands of blocks in a
    /// row at the start, so it should not wait for the network.
    async fn block(&self, key: BlockKey, length: Duration, cause: BlockCause, now: Duration);

    /// Refuses the key for `length` from `now`, in place of a block that runs. Where all nodes count together this is for
    /// the node on which an administrator asks for it; the others hear of it.
    async fn replace(&self, key: BlockKey, length: Duration, now: Duration);

    /// Ends a block, and forgets nothing else.
    async fn lift(&self, key: BlockKey, now: Duration);

    /// Forgets the block and what was counted, on every node.
    async fn reset(&self, key: BlockKey, now: Duration);

    /// The same for all keys.
    async fn reset_all(&self, now: Duration);
}

/// Follows the blocks in the database.
pub struct BlockReader {
    store: Arc<dyn Store>,
    sink: Arc<dyn BlockSink>,
    clock: Arc<dyn Clock>,
    /// Held while reading.
    cursor: tokio::sync::Mutex<BlockCursor>,
}

impl BlockReader {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, sink: Arc<dyn BlockSink>, clock: Arc<dyn Clock>) -> Self {
        Self { store, sink, clock, cursor: tokio::sync::Mutex::default() }
    }

    /// Hands over all blocks that run; to be done before the first request is answered. Returns how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load(&self) -> Result<u64, StoreError> {
        self.pass(LOAD_PAGES, true).await
    }

    /// Hands over what changed since. Returns how much.
    ///
    /// # Errors
    /// When the database does not answer; what was not read is read the next time.
    pub async fn follow(&self) -> Result<u64, StoreError> {
        self.pass(PASS_PAGES, false).await
    }

    /// Waits for a pass that is under way, and hands nothing over until what this returns is dropped: otherwise what was
    /// read just before a change would be handed over after it.
    pub async fn pause(&self) -> tokio::sync::MutexGuard<'_, impl Sized> {
        self.cursor.lock().await
    }

    /// The same reader, with what it knows, on another database.
    #[cfg(test)]
    pub(super) fn on(self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self }
    }

    async fn pass(&self, pages: u32, is_start: bool) -> Result<u64, StoreError> {
        let mut cursor = self.cursor.lock().await;
        let mut handed = 0;
        for _ in 0..pages {
            let now = self.clock.now();
            let page = self.store.blocks_since(*cursor, now.wall, PAGE).await?;
            if page.last < cursor.changed {
                tracing::warn!("the database knows less of blocks than before; all are read again");
                *cursor = BlockCursor::default();
                continue;
            }
            let full = page.changes.len() == PAGE as usize;
            for change in page.changes {
                *cursor = change.cursor;
                // Nobody to lift it from yet.
                if !(is_start && change.lifted_at.is_some()) {
                    self.hand_over(&change, now).await;
                    handed += 1;
                }
            }
            if !full {
                break;
            }
        }
        Ok(handed)
    }

    async fn hand_over(&self, BlockChange { block, lifted_at, .. }: &BlockChange, now: Moment) {
        if lifted_at.is_some() {
            self.sink.lift(block.key, now.mono).await;
            return;
        }
        let length = block.until.since(now.wall).saturating_sub(ROUNDING);
        if !length.is_zero() {
            self.sink.block(block.key, length, block.cause, now.mono).await;
        }
    }
}

/// Follows the blocks in the database until the process stops: at once when another node says that they changed, and
/// every few seconds.
pub async fn follow(lifecycle: Lifecycle, reader: Arc<BlockReader>, bus: Option<Bus>) {
    let told = || async {
        match &bus {
            Some(bus) => bus.blocks_changed().await,
            None => std::future::pending().await,
        }
    };
    let mut lost = false;
    while lifecycle.pause(SHORTEST).await {
        tokio::select! {
            () = lifecycle.stopping().cancelled() => return,
            // A message, or the time has come: either way it is read.
            _ = tokio::time::timeout(INTERVAL, told()) => {}
        }
        match reader.follow().await {
            Ok(_) => lost = false,
            Err(error) if lost => tracing::debug!(?error, "changes of blocks cannot be read yet"),
            Err(error) => {
                lost = true;
                tracing::warn!(?error, "changes of blocks cannot be read; it is tried every few seconds");
            }
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Blocks, a clock that a test sets, and a limiter that only writes down what it is told.

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicI64, Ordering};

    use phoenix_auth::model::{Block, BlockId, BlockSubject, Timestamp};
    use uuid::Uuid;

    use super::*;

    /// A block by a limit, of a key of its own, from and until milliseconds of the time of day.
    pub(in crate::limits) fn block(number: u32, since_ms: i64, until_ms: i64) -> Block {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&number.to_be_bytes());
        Block {
            id: BlockId::from_uuid(Uuid::from_u128(number.into())),
            key: BlockKey::from_bytes(key),
            class: "auth".to_owned(),
            subject: BlockSubject::address("192.0.2.1"),
            cause: BlockCause::Limit,
            reason: String::new(),
            since: Timestamp::from_millis(since_ms),
            until: Timestamp::from_millis(until_ms),
            by: None,
        }
    }

    /// A clock whose monotonic time is a second behind the time of day.
    pub(in crate::limits) struct Fixed(AtomicI64);

    impl Fixed {
        pub(in crate::limits) fn at(millis: i64) -> Self {
            Self(AtomicI64::new(millis))
        }

        pub(in crate::limits) fn set(&self, millis: i64) {
            self.0.store(millis, Ordering::SeqCst);
        }
    }

    impl Clock for Fixed {
        fn now(&self) -> Moment {
            Moment { wall: Timestamp::from_millis(self.0.load(Ordering::SeqCst)), mono: self.mono() }
        }

        fn mono(&self) -> Duration {
            Duration::from_millis(u64::try_from(self.0.load(Ordering::SeqCst) - 1000).unwrap_or(0))
        }
    }

    /// What a limiter was told.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(in crate::limits) enum Told {
        Block(BlockKey, Duration, BlockCause, Duration),
        Lift(BlockKey, Duration),
        Reset(BlockKey),
        ResetAll,
    }

    #[derive(Default)]
    pub(in crate::limits) struct Listener(Mutex<Vec<Told>>);

    impl Listener {
        /// What it was told since the last call.
        pub(in crate::limits) fn take(&self) -> Vec<Told> {
            std::mem::take(&mut *self.0.lock().expect("unpoisoned"))
        }

        fn hear(&self, told: Told) {
            self.0.lock().expect("unpoisoned").push(told);
        }
    }

    #[async_trait]
    impl BlockSink for Listener {
        async fn block(&self, key: BlockKey, length: Duration, cause: BlockCause, now: Duration) {
            self.hear(Told::Block(key, length, cause, now));
        }

        async fn replace(&self, key: BlockKey, length: Duration, now: Duration) {
            self.hear(Told::Block(key, length, BlockCause::Administrator, now));
        }

        async fn lift(&self, key: BlockKey, now: Duration) {
            self.hear(Told::Lift(key, now));
        }

        async fn reset(&self, key: BlockKey, _: Duration) {
            self.hear(Told::Reset(key));
        }

        async fn reset_all(&self, _: Duration) {
            self.hear(Told::ResetAll);
        }
    }
}
