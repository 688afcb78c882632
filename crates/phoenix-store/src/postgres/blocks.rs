//! Blocks that outlive every memory.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Block, BlockId, BlockKey, Durable, Relaxed, Timestamp, UserId};
use phoenix_auth::ports::{BlockCursor, BlockFilter, BlockPage, BlockStore, StoreError};
use uuid::Uuid;

use super::db::{Db, Params};
use super::failure::Failure;
use super::sql::Sql;
use super::{PgStore, rows};
use crate::blocks::{self, cursor_columns, rounds};

/// Takes the next number; until the commit nobody else changes a block.
async fn next_number(db: &Db) -> Result<i64, Failure> {
    db.one(Sql::BlockCounterNext, &[], |row| Ok(row.try_get(0)?)).await
}

/// Writes blocks of different keys.
async fn put(db: &Db, blocks: &[&Block], number: i64) -> Result<u64, Failure> {
    let keys: &Vec<&[u8]> = &blocks.iter().map(|block| &block.key.as_bytes()[..]).collect();
    let ids: &Vec<Uuid> = &blocks.iter().map(|block| block.id.as_uuid()).collect();
    let classes: &Vec<&str> = &blocks.iter().map(|block| block.class.as_str()).collect();
    let subjects: &Vec<&str> = &blocks.iter().map(|block| block.subject.as_str()).collect();
    let causes: &Vec<&str> = &blocks.iter().map(|block| block.cause.as_str()).collect();
    let reasons: &Vec<&str> = &blocks.iter().map(|block| block.reason.as_str()).collect();
    let since: &Vec<i64> = &blocks.iter().map(|block| block.since.as_millis()).collect();
    let until: &Vec<i64> = &blocks.iter().map(|block| block.until.as_millis()).collect();
    let makers: &Vec<Option<Uuid>> = &blocks.iter().map(|block| block.by.map(UserId::as_uuid)).collect();
    let columns: Params<'_> = &[keys, ids, classes, subjects, causes, reasons, since, until, makers, &number];
    db.execute(Sql::BlockPut, columns).await
}

#[async_trait]
impl BlockStore for PgStore {
    async fn put_blocks(&self, blocks: &[Block]) -> Result<Durable<u64>, StoreError> {
        let rounds = &rounds(blocks);
        self.durable("write blocks", |db: Arc<Db>| async move {
            let number = next_number(&db).await?;
            let mut written = 0;
            for round in rounds {
                written += put(&db, round, number).await?;
            }
            Ok(written)
        })
        .await
    }

    async fn lift_block(&self, id: BlockId, at: Timestamp) -> Result<Durable<Option<Block>>, StoreError> {
        let (id, at_ms) = (id.as_uuid(), at.as_millis());
        self.durable("lift a block", |db: Arc<Db>| async move {
            let number = next_number(&db).await?;
            let lifted = db.optional(Sql::BlockLift, &[&id, &at_ms, &number], rows::block_change).await?;
            Ok(lifted.map(|change| change.block))
        })
        .await
    }

    async fn lift_keys(&self, keys: &[BlockKey], at: Timestamp) -> Result<Durable<u64>, StoreError> {
        let keys: &Vec<&[u8]> = &keys.iter().map(|key| &key.as_bytes()[..]).collect();
        let at_ms = at.as_millis();
        self.durable("lift blocks", |db: Arc<Db>| async move {
            let number = next_number(&db).await?;
            db.execute(Sql::BlockLiftKeys, &[keys, &at_ms, &number]).await
        })
        .await
    }

    async fn lift_every(&self, at: Timestamp, limit: u32) -> Result<Durable<u64>, StoreError> {
        let (at_ms, limit) = (at.as_millis(), i64::from(limit));
        self.durable("lift every block", |db: Arc<Db>| async move {
            let number = next_number(&db).await?;
            db.execute(Sql::BlockLiftEvery, &[&at_ms, &limit, &number]).await
        })
        .await
    }

    async fn blocks_since(
        &self,
        after: BlockCursor,
        now: Timestamp,
        limit: u32,
    ) -> Result<BlockPage, StoreError> {
        let (changed, key) = &cursor_columns(after);
        let (now_ms, limit) = (now.as_millis(), i64::from(limit));
        self.read("read the changes of blocks", |db: Arc<Db>| async move {
            let read = |row: &tokio_postgres::Row| {
                Ok((blocks::changed(row.try_get(rows::BLOCK_LAST)?)?, rows::block_change_or_none(row)?))
            };
            let lines = db.all(Sql::BlocksSince, &[changed, key, &now_ms, &limit], read).await?;
            let last = lines.first().map(|(last, _)| *last).ok_or(Failure::NoRow)?;
            Ok(BlockPage { last, changes: lines.into_iter().filter_map(|(_, change)| change).collect() })
        })
        .await
    }

    async fn live_blocks(
        &self,
        filter: &BlockFilter,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Block>, StoreError> {
        // The largest UUID is no block's.
        let before = filter.before.map_or(Uuid::max(), BlockId::as_uuid);
        let (now_ms, limit) = (now.as_millis(), i64::from(limit));
        let found = self
            .read("list blocks", |db: Arc<Db>| async move {
                match &filter.class {
                    Some(class) => {
                        let params: Params<'_> = &[&before, &now_ms, &limit, class];
                        db.all(Sql::BlockPageOfClass, params, rows::block_change).await
                    }
                    None => db.all(Sql::BlockPage, &[&before, &now_ms, &limit], rows::block_change).await,
                }
            })
            .await?;
        Ok(found.into_iter().map(|change| change.block).collect())
    }

    async fn trim_blocks(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        let (before_ms, limit) = (before.as_millis(), i64::from(limit));
        self.relaxed("trim blocks", |db: Arc<Db>| async move {
            db.execute(Sql::BlockTrim, &[&before_ms, &limit]).await
        })
        .await
    }
}
