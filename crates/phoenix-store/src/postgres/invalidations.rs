//! The log of what became stale.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Relaxed, Seq, Timestamp};
use phoenix_auth::ports::{Invalidation, InvalidationLog, LogPage, Stale, StoreError};
use uuid::Uuid;

use super::db::Db;
use super::failure::Failure;
use super::sql::Sql;
use super::{PgStore, rows};
use crate::decode;

/// Adds entries as the last act of the open transaction: the counter's row stays locked until the commit, which
/// makes sequence order commit order, and must not be held for long.
pub(super) async fn append(db: &Db, stale: &[Stale], at: Timestamp) -> Result<Vec<Invalidation>, Failure> {
    if stale.is_empty() {
        return Ok(Vec::new());
    }
    let (kinds, subjects): (Vec<&str>, Vec<Uuid>) =
        stale.iter().map(|stale| decode::stale_columns(*stale)).unzip();
    let mut given = db
        .all(Sql::InvalidationAppend, &[&kinds, &subjects, &at.as_millis()], |row| {
            Ok(decode::seq(row.try_get(0)?)?)
        })
        .await?;
    given.sort_unstable();
    Ok(given.into_iter().zip(stale).map(|(seq, stale)| Invalidation { seq, stale: *stale, at }).collect())
}

impl PgStore {
    /// One statement on a shared connection: one snapshot, one round trip, and it waits for no one.
    async fn read_log(&self, seq: Seq, limit: u32) -> Result<LogPage, Failure> {
        let (after, limit) = (decode::seq_number(seq), i64::from(limit));
        let rows = self.lanes.query_all(Sql::LogAfter, &[&after, &limit]).await?;
        let last = rows.first().ok_or(Failure::NoRow)?.try_get(0)?;
        let entries = rows.iter().filter_map(|row| rows::invalidation(row).transpose());
        Ok(LogPage { last: decode::seq(last)?, entries: entries.collect::<Result<_, _>>()? })
    }
}

#[async_trait]
impl InvalidationLog for PgStore {
    async fn log_after(&self, seq: Seq, limit: u32) -> Result<LogPage, StoreError> {
        let page = self.read_log(seq, limit).await;
        page.map_err(|failure| failure.into_store_error("read the log of invalidations"))
    }

    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        let (before, limit) = (before.as_millis(), i64::from(limit));
        self.relaxed("trim invalidations", |db: Arc<Db>| async move {
            db.execute(Sql::InvalidationTrim, &[&before, &limit]).await
        })
        .await
    }
}
