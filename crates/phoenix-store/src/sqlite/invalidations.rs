//! The log of what became stale.

use async_trait::async_trait;
use phoenix_auth::model::{Relaxed, Seq, Timestamp};
use phoenix_auth::ports::{Invalidation, InvalidationLog, LogPage, Stale, StoreError};

use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, rows};
use crate::decode;

/// Adds entries inside the open transaction. There is one writer, so sequence order is commit order.
pub(super) fn append(db: &Db<'_>, stale: &[Stale], at: Timestamp) -> Result<Vec<Invalidation>, Failure> {
    let append_one = |stale: &Stale| {
        let number: i64 = db.one(Sql::CounterNext, [], |row| Ok(row.get(0)?))?;
        let (kind, subject) = decode::stale_columns(*stale);
        db.execute(Sql::InvalidationInsert, (number, kind, subject.as_bytes(), at.as_millis()))?;
        Ok(Invalidation { seq: decode::seq(number)?, stale: *stale, at })
    };
    stale.iter().map(append_one).collect()
}

#[async_trait]
impl InvalidationLog for SqliteStore {
    async fn log_after(&self, seq: Seq, limit: u32) -> Result<LogPage, StoreError> {
        self.read("read the log of invalidations", |db| {
            let lines = db.all(Sql::LogAfter, (decode::seq_number(seq), limit), rows::log_line)?;
            let last = lines.first().map_or(0, |(last, _)| *last);
            let entries = lines.into_iter().filter_map(|(_, entry)| entry).collect();
            Ok(LogPage { last: decode::seq(last)?, entries })
        })
    }

    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("trim invalidations", move |db| {
            db.execute(Sql::InvalidationTrim, (before.as_millis(), limit))
        })
        .await
    }
}
