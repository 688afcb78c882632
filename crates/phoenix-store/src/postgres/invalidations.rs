//! The log of what became stale.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Relaxed, Seq, Timestamp};
use phoenix_auth::ports::{Invalidation, InvalidationLog, Stale, StoreError};

use super::db::Db;
use super::failure::Failure;
use super::sql::Sql;
use super::{PgStore, rows};
use crate::decode;

/// Adds an entry as the last act of the open transaction: the counter's row stays locked until the commit, which
/// makes sequence order commit order, and must not be held for long.
pub(super) async fn append(db: &Db, stale: Stale, at: Timestamp) -> Result<Invalidation, Failure> {
    let (kind, subject) = decode::stale_columns(stale);
    let number: i64 = db
        .one(Sql::InvalidationAppend, &[&kind, &subject, &at.as_millis()], |row| Ok(row.try_get(0)?))
        .await?;
    Ok(Invalidation { seq: decode::seq(number)?, stale })
}

#[async_trait]
impl InvalidationLog for PgStore {
    async fn invalidations_after(&self, seq: Seq, limit: u32) -> Result<Vec<Invalidation>, StoreError> {
        let (after, limit) = (decode::seq_number(seq), i64::from(limit));
        self.read("read invalidations", |db: Arc<Db>| async move {
            db.all(Sql::InvalidationsAfter, &[&after, &limit], rows::invalidation).await
        })
        .await
    }

    async fn last_seq(&self) -> Result<Seq, StoreError> {
        self.read("read the last sequence number", |db: Arc<Db>| async move {
            Ok(decode::seq(db.one(Sql::LastSeq, &[], |row| Ok(row.try_get(0)?)).await?)?)
        })
        .await
    }

    async fn trim_invalidations(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        let (before, limit) = (before.as_millis(), i64::from(limit));
        self.relaxed("trim invalidations", |db: Arc<Db>| async move {
            db.execute(Sql::InvalidationTrim, &[&before, &limit]).await
        })
        .await
    }
}
