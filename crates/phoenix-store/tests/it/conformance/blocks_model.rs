//! Random histories of blocks against a list that obeys the rules one block at a time.

use std::collections::BTreeMap;

use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, Timestamp};
use phoenix_auth::ports::{BlockCursor, BlockFilter};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use super::blocks::{block, by_hand, key};
use crate::fixtures::at;
use crate::harness::{TestStore, postgres_db, sqlite_db};

const KEYS: u8 = 4;
const NAMES: u8 = 4;

/// One step. Small numbers, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(u8, u8, i64, i64, bool)>),
    Lift { name: u8, at: i64 },
    LiftKeys { keys: Vec<u8>, at: i64 },
    LiftEvery { at: i64 },
    Trim { before: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let time = || 0..30_i64;
    let new = (0..KEYS, 0..NAMES, time(), 1..20_i64, prop::bool::weighted(0.2));
    prop_oneof![
        6 => prop::collection::vec(new, 0..4).prop_map(Step::Put),
        2 => (0..NAMES, time()).prop_map(|(name, at)| Step::Lift { name, at }),
        1 => (prop::collection::vec(0..KEYS, 0..3), time()).prop_map(|(keys, at)| Step::LiftKeys { keys, at }),
        1 => time().prop_map(|at| Step::LiftEvery { at }),
        1 => time().prop_map(|before| Step::Trim { before }),
    ]
}

/// A name belongs to one key. Few names, so that blocks are written again.
fn made(number: u8, name: u8, since: i64, length: i64, hand: bool) -> Block {
    let make = if hand { by_hand } else { block };
    let id = u128::from(name) << 64 | u128::from(number);
    Block { id: BlockId::from_uuid(Uuid::from_u128(id)), by: None, ..make(number, since, since + length) }
}

/// What should be in the table.
#[derive(Default)]
struct Model {
    held: BTreeMap<BlockKey, (Block, Option<Timestamp>)>,
}

impl Model {
    fn put(&mut self, block: &Block) {
        if let Some((old, lifted)) = self.held.get(&block.key) {
            let ended = lifted.unwrap_or(old.until) <= block.since;
            if old.id == block.id || !(ended || block.cause == BlockCause::Administrator) {
                return;
            }
        }
        self.held.insert(block.key, (block.clone(), None));
    }

    fn lift(&mut self, which: impl Fn(&Block) -> bool, now: Timestamp) -> u64 {
        let mut count = 0;
        for (block, lifted) in self.held.values_mut() {
            if which(block) && lifted.is_none() && block.until > now {
                *lifted = Some(now);
                count += 1;
            }
        }
        count
    }

    fn trim(&mut self, before: Timestamp) -> u64 {
        let count = self.held.len();
        self.held.retain(|_, (block, _)| block.until >= before);
        (count - self.held.len()) as u64
    }
}

/// Takes the step on both; the store says the same as the model.
async fn take(store: &dyn TestStore, model: &mut Model, step: &Step) {
    match step {
        Step::Put(new) => {
            let blocks: Vec<Block> = new.iter().map(|(k, n, s, l, h)| made(*k, *n, *s, *l, *h)).collect();
            store.put_blocks(&blocks).await.expect("answers").acknowledge();
            for block in &blocks {
                model.put(block);
            }
        }
        Step::Lift { name, at: now } => {
            let named = |block: &Block| block.id.as_uuid().as_u128() >> 64 == u128::from(*name);
            let ids: Vec<BlockId> =
                model.held.values().map(|(block, _)| block).filter(|b| named(b)).map(|b| b.id).collect();
            for id in ids {
                let lifted = store.lift_block(id, at(*now)).await.expect("answers").acknowledge();
                assert_eq!(model.lift(|block| block.id == id, at(*now)), u64::from(lifted.is_some()));
            }
        }
        Step::LiftKeys { keys, at: now } => {
            let keys: Vec<BlockKey> = keys.iter().map(|number| key(*number)).collect();
            let lifted = store.lift_keys(&keys, at(*now)).await.expect("answers").acknowledge();
            assert_eq!(lifted, model.lift(|block| keys.contains(&block.key), at(*now)));
        }
        Step::LiftEvery { at: now } => {
            let lifted = store.lift_every(at(*now), 100).await.expect("answers").acknowledge();
            assert_eq!(lifted, model.lift(|_| true, at(*now)));
        }
        Step::Trim { before } => {
            let trimmed = store.trim_blocks(at(*before), 100).await.expect("answers").into_inner();
            assert_eq!(trimmed, model.trim(at(*before)));
        }
    }
}

/// What is listed, and what a reader that followed every change holds, is what the model holds.
async fn compare(store: &dyn TestStore, model: &Model) {
    for now in [0, 10, 20, 40] {
        let mut listed = store.live_blocks(&BlockFilter::default(), at(now), 100).await.expect("answers");
        listed.sort_by_key(|block| block.key);
        let running =
            |(block, lifted): &&(Block, Option<Timestamp>)| lifted.is_none() && block.until > at(now);
        let expected: Vec<Block> =
            model.held.values().filter(running).map(|(block, _)| block.clone()).collect();
        assert_eq!(listed, expected);
    }
}

/// Follows the changes as a node does.
async fn follow(store: &dyn TestStore, cursor: &mut BlockCursor, seen: &mut BTreeMap<BlockKey, BlockId>) {
    let page = store.blocks_since(*cursor, at(-1), 100).await.expect("answers");
    for change in page.changes {
        *cursor = change.cursor;
        if change.lifted_at.is_some() {
            seen.remove(&change.block.key);
        } else {
            seen.insert(change.block.key, change.block.id);
        }
    }
}

// spec: D15
#[tokio::test]
async fn random_histories_are_kept_as_a_naive_list_would() {
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let handle = tokio::runtime::Handle::current();
    let dbs = [sqlite_db(), postgres_db().await];
    tokio::task::spawn_blocking(move || {
        let histories = prop::collection::vec(step(), 1..25);
        let outcome = runner.run(&histories, |steps| {
            for db in &dbs {
                handle.block_on(history(&*db.store, &steps));
            }
            Ok(())
        });
        outcome.expect("every history agrees");
    })
    .await
    .expect("the runner does not panic");
}

async fn history(store: &dyn TestStore, steps: &[Step]) {
    // What the history before left.
    store.trim_blocks(Timestamp::from_millis(i64::MAX), 1000).await.expect("answers").into_inner();
    let last = store.blocks_since(BlockCursor::default(), at(-1), 0).await.expect("answers").last;
    let mut cursor = BlockCursor { changed: last, key: Some(BlockKey::from_bytes([0xff; 16])) };
    let (mut model, mut seen) = (Model::default(), BTreeMap::new());
    for step in steps {
        take(store, &mut model, step).await;
        follow(store, &mut cursor, &mut seen).await;
        compare(store, &model).await;
        for (key, (block, lifted)) in &model.held {
            assert_eq!(seen.get(key), lifted.is_none().then_some(&block.id), "the reader holds the same");
        }
    }
}
