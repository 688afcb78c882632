//! Blocks from the queue to the database and from there to a limiter, on the embedded database.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, BlockSubject, UserId};
use phoenix_auth::ports::{BlockFilter, BlockStore, Store, StoreErrorKind};
use phoenix_http::{LimitAdmin, LimitAdminError, LimitSubject, WantedBlock};
use phoenix_store::sqlite::{self, SqliteConfig, SqliteStore};
use phoenix_testkit::wait;
use tempfile::TempDir;
use uuid::Uuid;

use super::admin::{Administration, CountedAs, LimitKeys};
use super::block_queue::{self, BlockQueue};
use super::blocks::testing::{Fixed, Listener, Told, block};
use super::blocks::{self, BlockReader};
use crate::entropy::SystemEntropy;
use crate::lifecycle::Lifecycle;

/// Longest wait for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);
/// When tests begin, in milliseconds of the time of day.
const START: i64 = 10_000;

/// A node on a database of its own.
struct Node {
    store: Arc<SqliteStore>,
    clock: Arc<Fixed>,
    limiter: Arc<Listener>,
    _folder: TempDir,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = SqliteConfig::in_folder(folder.path());
        sqlite::migrate(&config).expect("a new file can be migrated");
        let store = Arc::new(SqliteStore::open(config).expect("a migrated file can be opened"));
        Self { store, clock: Arc::new(Fixed::at(START)), limiter: Arc::default(), _folder: folder }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<SqliteStore>::clone(&self.store)
    }

    fn reader(&self) -> BlockReader {
        BlockReader::new(
            self.store(),
            Arc::<Listener>::clone(&self.limiter) as _,
            Arc::<Fixed>::clone(&self.clock) as _,
        )
    }

    fn administration(&self) -> Administration {
        Administration {
            store: self.store(),
            queue: Arc::default(),
            reader: Arc::new(self.reader()),
            sink: Arc::<Listener>::clone(&self.limiter) as _,
            keys: Arc::new(Rules),
            bus: None,
            clock: Arc::<Fixed>::clone(&self.clock) as _,
            entropy: Arc::new(SystemEntropy),
        }
    }

    async fn put(&self, blocks: &[Block]) {
        self.store.put_blocks(blocks).await.expect("answers").acknowledge();
    }

    async fn live(&self) -> Vec<Block> {
        use phoenix_auth::ports::Clock;
        self.store.live_blocks(&BlockFilter::default(), self.clock.now().wall, 100).await.expect("answers")
    }
}

/// `api` counts addresses and users, `auth` addresses only.
struct Rules;

impl LimitKeys for Rules {
    fn classes(&self) -> Vec<String> {
        vec!["auth".to_owned(), "api".to_owned()]
    }

    fn keys_of(&self, subject: LimitSubject, class: &str) -> Vec<CountedAs> {
        let number = if class == "api" { 1 } else { 2 };
        let key = |kind: u8| BlockKey::from_bytes([number, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        match subject {
            LimitSubject::Address(address) => {
                vec![CountedAs { key: key(1), subject: BlockSubject::address(address) }]
            }
            LimitSubject::User(id) if class == "api" => {
                vec![CountedAs { key: key(2), subject: BlockSubject::user(id) }]
            }
            LimitSubject::User(_) => Vec::new(),
        }
    }
}

fn told(block: &Block, left_ms: u64, now_ms: u64) -> Told {
    // A millisecond less, for rounding; monotonic time is a second behind.
    let length = Duration::from_millis(left_ms - 1);
    Told::Block(block.key, length, block.cause, Duration::from_millis(now_ms - 1000))
}

fn lifted(block: &Block, now_ms: u64) -> Told {
    Told::Lift(block.key, Duration::from_millis(now_ms - 1000))
}

#[tokio::test]
async fn all_that_run_are_loaded_and_then_each_change_once() {
    let node = Node::new();
    let many: Vec<Block> = (0..2500).map(|number| block(number, START, START + 5000)).collect();
    node.put(&many).await;
    node.put(&[block(3000, START - 100, START), block(3001, START, START + 9000)]).await;
    let gone = block(3002, START, START + 9000);
    node.put(std::slice::from_ref(&gone)).await;
    node.store.lift_block(gone.id, gone.since).await.expect("answers").acknowledge().expect("it ran");
    let reader = node.reader();
    assert_eq!(reader.load().await.expect("answers"), 2501);
    let heard = node.limiter.take();
    assert_eq!(heard.len(), 2501, "neither the one that ended nor the one that was lifted");
    assert_eq!(heard[0], told(&many[0], 5000, 10_000));
    assert_eq!(heard[2500], told(&block(3001, 0, 0), 9000, 10_000));

    assert_eq!(reader.follow().await.expect("answers"), 0);
    node.clock.set(START + 2000);
    node.store.lift_block(many[7].id, many[7].since).await.expect("answers").acknowledge().expect("it ran");
    let later = block(4000, START + 1000, START + 4000);
    let hand =
        Block { cause: BlockCause::Administrator, key: many[8].key, ..block(4001, START, START + 2500) };
    node.put(&[later.clone(), hand.clone()]).await;
    assert_eq!(reader.follow().await.expect("answers"), 3);
    let mut heard = node.limiter.take();
    assert_eq!(heard.remove(0), lifted(&many[7], 12_000));
    assert!(
        heard.contains(&told(&later, 2000, 12_000)) && heard.contains(&told(&hand, 500, 12_000)),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_database_that_was_set_back_is_read_again() {
    let (node, older) = (Node::new(), Node::new());
    for number in 0..3 {
        node.put(&[block(number, START, START + 5000)]).await;
    }
    older.put(&[block(9, START, START + 5000)]).await;
    let reader = node.reader();
    reader.load().await.expect("answers");
    // The same reader, on the database as it was before.
    let reader = reader.on(older.store());
    node.limiter.take();
    assert_eq!(reader.follow().await.expect("answers"), 1);
    assert_eq!(node.limiter.take(), [told(&block(9, 0, 0), 5000, 10_000)]);
}

#[tokio::test]
async fn a_lock_out_is_in_the_database_when_its_request_is_answered_and_reaches_the_limiter_of_the_next_start()
 {
    let node = Node::new();
    let lifecycle = Lifecycle::new();
    let queue = Arc::<BlockQueue>::default();
    lifecycle.spawn(
        "blocks",
        block_queue::write(
            lifecycle.clone(),
            Arc::clone(&queue),
            node.store(),
            Arc::<Fixed>::clone(&node.clock) as _,
            None,
        ),
    );
    let lock_out = block(1, START, START + 5000);
    assert!(queue.put(lock_out.clone(), SOON).await);
    assert_eq!(node.live().await, std::slice::from_ref(&lock_out));
    let started = Arc::new(node.reader());
    started.load().await.expect("answers");
    assert_eq!(node.limiter.take(), [told(&lock_out, 5000, 10_000)]);
    lifecycle.spawn("followed", blocks::follow(lifecycle.clone(), started, None));
    let next = block(2, START, START + 5000);
    queue.note(next.clone());
    wait::until(SOON, "the block to be read", || async {
        node.limiter.take().contains(&told(&next, 5000, 10_000))
    })
    .await;
    assert!(lifecycle.stop(SOON).await, "both end");
}

#[tokio::test]
async fn while_the_database_is_away_blocks_wait() {
    let node = Node::new();
    let queue = BlockQueue::default();
    queue.note(block(1, START, START + 5000));
    node.store.close().await;
    let failed = queue.flush(&*node.store, &*node.clock).await.expect_err("it is closed");
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable);
    assert_eq!(queue.stats().waiting, 1);
    assert!(!queue.put(block(1, START, START + 5000), Duration::ZERO).await);
}

fn wanted(subject: LimitSubject, class: Option<&str>) -> WantedBlock {
    WantedBlock {
        subject,
        class: class.map(str::to_owned),
        length: Duration::from_mins(1),
        reason: "scraping".to_owned(),
        by: UserId::from_uuid(Uuid::from_u128(7)),
    }
}

#[tokio::test]
async fn an_administrator_blocks_in_each_class_that_counts_the_client() {
    let node = Node::new();
    let administration = node.administration();
    let user = LimitSubject::User(UserId::from_uuid(Uuid::from_u128(5)));
    let address = LimitSubject::Address([192, 0, 2, 1].into());
    let refused = administration.block(&wanted(user, Some("auth"))).await.expect_err("not counted by user");
    assert!(matches!(refused, LimitAdminError::NotCounted));
    let made = administration.block(&wanted(user, None)).await.expect("answers");
    assert_eq!(made.iter().map(|block| block.class.as_str()).collect::<Vec<_>>(), ["api"]);
    let made = administration.block(&wanted(address, None)).await.expect("answers");
    assert_eq!(made.iter().map(|block| block.class.as_str()).collect::<Vec<_>>(), ["auth", "api"]);
    assert_eq!(node.live().await.len(), 3);
    let heard = node.limiter.take();
    assert_eq!(heard.len(), 3);
    let now = Duration::from_secs(9);
    let expected = Told::Block(made[0].key, Duration::from_mins(1), BlockCause::Administrator, now);
    assert_eq!(heard[1], expected);

    let [auth, api] = &made[..] else { unreachable!("two") };
    assert_eq!(administration.lift(auth.id).await.expect("answers").as_ref(), Some(auth));
    assert_eq!(node.limiter.take(), [Told::Reset(auth.key)]);
    assert_eq!(administration.lift(auth.id).await.expect("answers"), None);
    let nobody = BlockId::from_uuid(Uuid::from_u128(1));
    assert_eq!(administration.lift(nobody).await.expect("answers"), None);
    assert_eq!(node.limiter.take(), []);

    assert_eq!(administration.reset(Some(address)).await.expect("answers"), 1);
    assert_eq!(node.limiter.take(), [Told::Reset(auth.key), Told::Reset(api.key)]);
    assert_eq!(administration.reset(None).await.expect("answers"), 1, "the user's");
    assert_eq!(node.limiter.take(), [Told::ResetAll]);
    assert_eq!(node.live().await, []);
}

#[tokio::test]
async fn what_waits_to_be_written_does_not_outlive_a_reset() {
    let node = Node::new();
    let administration = node.administration();
    let address = LimitSubject::Address([192, 0, 2, 1].into());
    for subject in [Some(address), None] {
        let [counted] = &Rules.keys_of(address, "api")[..] else { unreachable!("one") };
        administration.queue.note(Block { key: counted.key, ..block(1, START, START + 5000) });
        assert_eq!(administration.reset(subject).await.expect("answers"), 0);
        administration.queue.flush(&*node.store, &*node.clock).await.expect("answers");
        assert_eq!(node.live().await, []);
    }
}

#[tokio::test]
async fn without_the_database_an_administrator_changes_nothing() {
    let node = Node::new();
    let administration = node.administration();
    administration.queue.note(block(1, START, START + 5000));
    node.store.close().await;
    let address = LimitSubject::Address([192, 0, 2, 1].into());
    assert!(matches!(administration.block(&wanted(address, None)).await, Err(LimitAdminError::Store(_))));
    assert!(administration.reset(None).await.is_err());
    assert!(administration.reset(Some(address)).await.is_err());
    assert!(administration.lift(BlockId::from_uuid(Uuid::from_u128(1))).await.is_err());
    assert_eq!(administration.queue.stats().waiting, 1, "it goes on waiting");
    assert_eq!(node.limiter.take(), []);
}
