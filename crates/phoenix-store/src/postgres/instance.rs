//! Facts about the installation.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::Durable;
use phoenix_auth::ports::StoreError;

use super::db::Db;
use super::failure::Failure;
use super::sql::Sql;
use super::{PgStore, rows};
use crate::instance::{FINGERPRINT, FingerprintCheck, InstanceStore, SECRET, compare};

/// Stores `candidate` under `key` unless there is a value. Returns whether it did, and the value.
async fn get_or_insert(db: &Db, key: &str, candidate: [u8; 32]) -> Result<(bool, [u8; 32]), Failure> {
    // Waits for another node that is inserting the same key.
    let inserted = db.execute(Sql::InstanceInsert, &[&key, &candidate.as_slice()]).await? == 1;
    Ok((inserted, db.one(Sql::InstanceGet, &[&key], |row| rows::bytes32(row, 0)).await?))
}

#[async_trait]
impl InstanceStore for PgStore {
    async fn get_or_set_secret(&self, candidate: [u8; 32]) -> Result<Durable<[u8; 32]>, StoreError> {
        self.durable("keep the generated secret", |db: Arc<Db>| async move {
            Ok(get_or_insert(&db, SECRET, candidate).await?.1)
        })
        .await
    }

    async fn check_fingerprint(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Durable<FingerprintCheck>, StoreError> {
        self.durable("check the key's fingerprint", |db: Arc<Db>| async move {
            let (inserted, stored) = get_or_insert(&db, FINGERPRINT, fingerprint).await?;
            Ok(compare(inserted, &stored, fingerprint))
        })
        .await
    }

    async fn replace_fingerprint(&self, fingerprint: [u8; 32]) -> Result<Durable<()>, StoreError> {
        self.durable("replace the key's fingerprint", |db: Arc<Db>| async move {
            // Outside tokens that were issued before shall not open the sessions again, under other hashes.
            db.execute(Sql::SignOutEvery, &[]).await?;
            db.execute(Sql::SessionDeleteEvery, &[]).await?;
            db.execute(Sql::BlockDeleteEvery, &[]).await?;
            db.execute(Sql::InstanceReplace, &[&FINGERPRINT, &fingerprint.as_slice()]).await?;
            // No entry can name every session: a node that was left running drops all its copies at a hole.
            db.execute(Sql::CounterSkip, &[]).await?;
            Ok(())
        })
        .await
    }
}
