//! Blocks that outlive the process.

use async_trait::async_trait;
use phoenix_auth::model::{Block, BlockId, BlockKey, Durable, Relaxed, Timestamp, UserId};
use phoenix_auth::ports::{BlockCursor, BlockFilter, BlockPage, BlockStore, StoreError};
use rusqlite::params;
use uuid::Uuid;

use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, rows};
use crate::blocks::cursor_columns;

fn next_number(db: &Db<'_>) -> Result<i64, Failure> {
    db.one(Sql::BlockCounterNext, [], |row| Ok(row.get(0)?))
}

fn put(db: &Db<'_>, block: &Block, number: i64) -> Result<u64, Failure> {
    let Block { id, key, class, subject, cause, reason, since, until, by } = block;
    db.execute(
        Sql::BlockPut,
        params![
            key.as_bytes(),
            id.as_uuid().as_bytes(),
            class,
            subject.as_str(),
            cause.as_str(),
            reason,
            since.as_millis(),
            until.as_millis(),
            by.map(|id: UserId| id.as_uuid().into_bytes()),
            number,
        ],
    )
}

#[async_trait]
impl BlockStore for SqliteStore {
    async fn put_blocks(&self, blocks: &[Block]) -> Result<Durable<u64>, StoreError> {
        let blocks = blocks.to_vec();
        self.durable("write blocks", move |db| {
            let number = next_number(db)?;
            blocks.iter().try_fold(0, |written, block| Ok(written + put(db, block, number)?))
        })
        .await
    }

    async fn lift_block(&self, id: BlockId, at: Timestamp) -> Result<Durable<Option<Block>>, StoreError> {
        self.durable("lift a block", move |db| {
            let number = next_number(db)?;
            let params = (id.as_uuid().into_bytes(), at.as_millis(), number);
            let lifted = db.optional(Sql::BlockLift, params, rows::block_change)?;
            Ok(lifted.map(|change| change.block))
        })
        .await
    }

    async fn lift_keys(&self, keys: &[BlockKey], at: Timestamp) -> Result<Durable<u64>, StoreError> {
        let keys = keys.to_vec();
        self.durable("lift blocks", move |db| {
            let number = next_number(db)?;
            let lift =
                |key: &BlockKey| db.execute(Sql::BlockLiftKey, (key.as_bytes(), at.as_millis(), number));
            keys.iter().try_fold(0, |lifted, key| Ok(lifted + lift(key)?))
        })
        .await
    }

    async fn lift_every(&self, at: Timestamp, limit: u32) -> Result<Durable<u64>, StoreError> {
        self.durable("lift every block", move |db| {
            let number = next_number(db)?;
            db.execute(Sql::BlockLiftEvery, (at.as_millis(), limit, number))
        })
        .await
    }

    async fn blocks_since(
        &self,
        after: BlockCursor,
        now: Timestamp,
        limit: u32,
    ) -> Result<BlockPage, StoreError> {
        let (changed, key) = cursor_columns(after);
        self.read("read the changes of blocks", |db| {
            let params = (changed, key, now.as_millis(), limit);
            let lines = db.all(Sql::BlocksSince, params, rows::block_line)?;
            let last = lines.first().map_or(0, |(last, _)| *last);
            Ok(BlockPage { last, changes: lines.into_iter().filter_map(|(_, change)| change).collect() })
        })
    }

    async fn live_blocks(
        &self,
        filter: &BlockFilter,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        // The largest UUID is no block's.
        let before = filter.before.map_or(Uuid::max(), BlockId::as_uuid).into_bytes();
        let now_ms = now.as_millis();
        let found = self.read("list blocks", |db| match &filter.class {
            Some(class) => db.all(Sql::BlockPageOfClass, (before, now_ms, limit, class), rows::block_change),
            None => db.all(Sql::BlockPage, (before, now_ms, limit), rows::block_change),
        })?;
        Ok(found.into_iter().map(|change| change.block).collect())
    }

    async fn trim_blocks(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("trim blocks", move |db| db.execute(Sql::BlockTrim, (before.as_millis(), limit))).await
    }
}
