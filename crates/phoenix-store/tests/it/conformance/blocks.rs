//! Blocks outlive the process, end when that was first announced, and their changes can be followed.

use phoenix_auth::model::{Block, BlockCause, BlockId, BlockKey, BlockSubject, UserId};
use phoenix_auth::ports::{BlockChange, BlockCursor, BlockFilter};

use crate::fixtures::{at, next_uuid};
use crate::harness::{Db, on_each_backend};

pub(super) fn key(number: u8) -> BlockKey {
    BlockKey::from_bytes([number; 16])
}

/// A block of a key, by a limit, from and until milliseconds after noon.
pub(super) fn block(number: u8, since: i64, until: i64) -> Block {
    Block {
        id: BlockId::from_uuid(next_uuid()),
        key: key(number),
        class: "auth".to_owned(),
        subject: BlockSubject::address(format!("192.0.2.{number}")),
        cause: BlockCause::Limit,
        reason: String::new(),
        since: at(since),
        until: at(until),
        by: None,
    }
}

/// The same by an administrator.
pub(super) fn by_hand(number: u8, since: i64, until: i64) -> Block {
    Block {
        cause: BlockCause::Administrator,
        reason: "scraping \"prices\" 🦀".to_owned(),
        by: Some(UserId::from_uuid(next_uuid())),
        ..block(number, since, until)
    }
}

async fn put(db: &Db, blocks: &[Block]) -> u64 {
    db.store.put_blocks(blocks).await.expect("the store answers").acknowledge()
}

async fn live(db: &Db, now: i64) -> Vec<Block> {
    db.store.live_blocks(&BlockFilter::default(), at(now), 100).await.expect("the store answers")
}

async fn lift(db: &Db, id: BlockId, now: i64) -> Option<Block> {
    db.store.lift_block(id, at(now)).await.expect("the store answers").acknowledge()
}

/// Everything after `cursor`, which is moved, read in pages of two.
async fn changes(db: &Db, cursor: &mut BlockCursor, now: i64) -> Vec<BlockChange> {
    let mut all = Vec::new();
    loop {
        let page = db.store.blocks_since(*cursor, at(now), 2).await.expect("the store answers");
        assert!(page.changes.len() <= 2);
        let Some(last) = page.changes.last() else { return all };
        assert!(last.cursor > *cursor && last.cursor.changed <= page.last);
        *cursor = last.cursor;
        all.extend(page.changes);
    }
}

// spec: D15
#[tokio::test]
async fn blocks_read_back_as_they_were_written_the_latest_first() {
    on_each_backend(async |db| {
        let blocks = [block(1, 0, 100), by_hand(2, 5, 200), block(3, 0, 50)];
        assert_eq!(put(db, &blocks).await, 3);
        assert_eq!(put(db, &[]).await, 0);
        let [first, second, third] = blocks;
        assert_eq!(live(db, 10).await, [third, second.clone(), first.clone()]);
        assert_eq!(live(db, 50).await, [second.clone(), first], "one has ended");
        assert_eq!(live(db, 100).await, [second]);
        assert_eq!(live(db, 200).await, []);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn pages_of_a_class_follow_each_other() {
    on_each_backend(async |db| {
        let class = |number: u8| if number.is_multiple_of(3) { "api" } else { "auth" };
        let blocks: Vec<Block> =
            (0..10).map(|n| Block { class: class(n).to_owned(), ..block(n, 0, 100) }).collect();
        put(db, &blocks).await;
        for wanted in [None, Some("api"), Some("auth"), Some("search")] {
            let expected: Vec<Block> = blocks
                .iter()
                .rev()
                .filter(|block| wanted.is_none_or(|class| class == block.class))
                .cloned()
                .collect();
            let mut filter = BlockFilter { class: wanted.map(str::to_owned), before: None };
            let mut listed = Vec::new();
            loop {
                let page = db.store.live_blocks(&filter, at(1), 2).await.expect("answers");
                assert!(page.len() <= 2);
                let Some(last) = page.last() else { break };
                filter.before = Some(last.id);
                listed.extend(page);
            }
            assert_eq!(listed, expected, "{wanted:?}");
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_running_block_is_neither_shortened_nor_extended_by_a_limit() {
    on_each_backend(async |db| {
        let first = block(1, 0, 100);
        put(db, std::slice::from_ref(&first)).await;
        assert_eq!(put(db, &[block(1, 50, 500), block(1, 99, 120)]).await, 0);
        assert_eq!(live(db, 60).await, [first]);
        let next = block(1, 100, 300);
        assert_eq!(put(db, std::slice::from_ref(&next)).await, 1, "the first has ended");
        assert_eq!(live(db, 100).await, [next]);
        // An administrator's takes its place, shorter or longer.
        let shorter = by_hand(1, 110, 150);
        assert_eq!(put(db, std::slice::from_ref(&shorter)).await, 1);
        assert_eq!(live(db, 120).await, [shorter]);
        assert_eq!(put(db, &[block(1, 120, 900)]).await, 0);
        let longer = by_hand(1, 130, 999);
        assert_eq!(put(db, std::slice::from_ref(&longer)).await, 1);
        assert_eq!(live(db, 998).await, [longer]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn of_several_blocks_of_one_key_in_one_statement_one_stands() {
    on_each_backend(async |db| {
        let (first, hand) = (block(1, 0, 100), by_hand(2, 0, 100));
        let batch = [first.clone(), block(1, 50, 500), block(2, 0, 900), hand.clone(), block(2, 1, 901)];
        assert_eq!(put(db, &batch).await, 3, "the second of the second key took the place of its first");
        assert_eq!(live(db, 1).await, [hand, first]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_lifted_block_stays_lifted_when_it_is_written_again_or_late() {
    on_each_backend(async |db| {
        let first = block(1, 0, 100);
        put(db, std::slice::from_ref(&first)).await;
        assert_eq!(lift(db, BlockId::from_uuid(next_uuid()), 10).await, None);
        assert_eq!(lift(db, first.id, 100).await, None, "it has ended by itself");
        assert_eq!(lift(db, first.id, 10).await, Some(first.clone()));
        assert_eq!(lift(db, first.id, 11).await, None, "it is lifted already");
        assert_eq!(live(db, 12).await, []);
        // A write whose answer was lost, and a block that began on another node before the lift.
        assert_eq!(put(db, std::slice::from_ref(&first)).await, 0);
        assert_eq!(put(db, &[block(1, 9, 109)]).await, 0);
        assert_eq!(live(db, 12).await, []);
        let hand = by_hand(2, 0, 100);
        assert_eq!(put(db, std::slice::from_ref(&hand)).await, 1);
        assert!(lift(db, hand.id, 10).await.is_some());
        assert_eq!(put(db, &[hand]).await, 0, "an administrator's too");
        let next = block(1, 10, 110);
        assert_eq!(put(db, std::slice::from_ref(&next)).await, 1, "it began after the lift");
        assert_eq!(live(db, 12).await, [next]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn blocks_are_lifted_by_key_and_all_together_in_batches() {
    on_each_backend(async |db| {
        let blocks: Vec<Block> = (1..=7).map(|n| block(n, 0, 100 + i64::from(n))).collect();
        put(db, &blocks).await;
        let by_key = db.store.lift_keys(&[key(1), key(2), key(99)], at(10)).await.expect("answers");
        assert_eq!(by_key.acknowledge(), 2);
        assert_eq!(db.store.lift_keys(&[], at(10)).await.expect("answers").acknowledge(), 0);
        assert_eq!(live(db, 11).await.len(), 5);
        for expected in [3, 1, 0] {
            let lifted = db.store.lift_every(at(103), 3).await.expect("answers").acknowledge();
            assert_eq!(lifted, expected);
        }
        assert_eq!(
            live(db, 11).await.iter().map(|block| block.key).collect::<Vec<_>>(),
            [key(3)],
            "ended before"
        );
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn changes_are_read_in_order_each_once_as_it_is_now() {
    on_each_backend(async |db| {
        let mut cursor = BlockCursor::default();
        assert_eq!(changes(db, &mut cursor, 0).await, []);
        let blocks: Vec<Block> = (1..=5).map(|n| block(n, 0, 100)).collect();
        put(db, &blocks).await;
        put(db, &[block(9, 0, 20)]).await;
        let mut late = cursor;
        let read = changes(db, &mut cursor, 10).await;
        let keys: Vec<BlockKey> = read.iter().map(|change| change.block.key).collect();
        assert_eq!(keys, [key(1), key(2), key(3), key(4), key(5), key(9)]);
        assert!(read.iter().all(|change| change.lifted_at.is_none()));
        assert_eq!(changes(db, &mut cursor, 10).await, [], "each once");

        lift(db, blocks[1].id, 15).await.expect("it ran");
        put(db, &[block(3, 16, 300)]).await;
        let hand = by_hand(4, 16, 300);
        put(db, std::slice::from_ref(&hand)).await;
        let read = changes(db, &mut cursor, 17).await;
        let told: Vec<_> = read.iter().map(|change| (change.block.id, change.lifted_at)).collect();
        assert_eq!(told, [(blocks[1].id, Some(at(15))), (hand.id, None)], "what is left out is no change");
        // Who reads late sees everything as it is now, and nothing that has ended.
        let read = changes(db, &mut late, 30).await;
        let keys: Vec<BlockKey> = read.iter().map(|change| change.block.key).collect();
        assert_eq!(keys, [key(1), key(3), key(5), key(2), key(4)]);
        let page = db.store.blocks_since(late, at(30), 0).await.expect("answers");
        assert!(page.last >= late.changed && page.changes.is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn blocks_that_ended_are_removed_in_bounded_batches() {
    on_each_backend(async |db| {
        let blocks: Vec<Block> = (1..=6).map(|n| block(n, 0, 10 * i64::from(n))).collect();
        put(db, &blocks).await;
        lift(db, blocks[5].id, 5).await.expect("it ran");
        let trim = async |before, limit| {
            db.store.trim_blocks(at(before), limit).await.expect("answers").into_inner()
        };
        assert_eq!(trim(10, 10).await, 0, "one that ends at that moment stays");
        assert_eq!(trim(41, 3).await, 3);
        assert_eq!(trim(41, 3).await, 1);
        assert_eq!(live(db, 0).await, [blocks[4].clone()]);
        assert_eq!(trim(61, 10).await, 2, "lifted ones too");
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn many_who_block_at_once_leave_one_block_and_no_hole_in_the_changes() {
    on_each_backend(async |db| {
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..24 {
            let store = std::sync::Arc::clone(&db.store);
            writers.spawn(async move {
                let batch: Vec<Block> = (1..=4).map(|n| block(n, 0, 100)).collect();
                store.put_blocks(&batch).await.expect("the store answers").acknowledge()
            });
        }
        let mut cursor = BlockCursor::default();
        let mut seen = Vec::new();
        let mut written = 0;
        while let Some(joined) = writers.join_next().await {
            written += joined.expect("no panic");
            seen.extend(changes(db, &mut cursor, 1).await);
        }
        assert_eq!(written, 4);
        seen.extend(changes(db, &mut cursor, 1).await);
        let mut keys: Vec<BlockKey> = seen.iter().map(|change| change.block.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, [key(1), key(2), key(3), key(4)]);
    })
    .await;
}
