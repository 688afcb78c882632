//! The log of what became stale.

use async_trait::async_trait;
use phoenix_auth::model::{Relaxed, Seq, Timestamp};
use phoenix_auth::ports::{Invalidation, InvalidationLog, Stale, StoreError};

use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, rows};
use crate::decode;

/// Adds an entry inside the open transaction. There is one writer, so sequence order is commit order.
pub(super) fn append(db: &Db<'_>, stale: Stale, at: Timestamp) -> Result<Invalidation, Failure> {
    let number: i64 = db.one(Sql::CounterNext, [], |row| Ok(row.get(0)?))?;
    let (kind, subject) = decode::stale_columns(stale);
    db.execute(Sql::InvalidationInsert, (number, kind, subject.as_bytes(), at.as_millis()))?;
    Ok(Invalidation { seq: decode::seq(number)?, stale })
}

#[async_trait]
impl InvalidationLog for SqliteStore {
    async fn invalidations_after(&self, seq: Seq, limit: u32) -> Result<Vec<Invalidation>, StoreError> {
        self.read("read invalidations", |db| {
            db.all(Sql::InvalidationsAfter, (decode::seq_number(seq), limit), rows::invalidation)
        })
    }

    async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read("read the last sequence number", |db| {
            Ok(decode::seq(db.one(Sql::LastSeq, [], |row| Ok(row.get(0)?))?)?)
        })
    }

    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("trim invalidations", move |db| {
            db.execute(Sql::InvalidationTrim, (before.as_millis(), limit))
        })
        .await
    }
}
