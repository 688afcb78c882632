//! Facts about the installation.

use async_trait::async_trait;
use phoenix_auth::model::Durable;
use phoenix_auth::ports::StoreError;

use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, rows};
use crate::instance::{FINGERPRINT, FingerprintCheck, InstanceStore, SECRET, compare};

/// Stores `candidate` under `key` unless there is a value. Returns whether it did, and the value.
fn get_or_insert(db: &Db<'_>, key: &str, candidate: [u8; 32]) -> Result<(bool, [u8; 32]), Failure> {
    let inserted = db.execute(Sql::InstanceInsert, (key, candidate))? == 1;
    Ok((inserted, db.one(Sql::InstanceGet, [key], |row| rows::bytes32(row, 0))?))
}

#[async_trait]
impl InstanceStore for SqliteStore {
    async fn get_or_set_secret(&self, candidate: [u8; 32]) -> Result<Durable<[u8; 32]>, StoreError> {
        self.durable("keep the generated secret", move |db| Ok(get_or_insert(db, SECRET, candidate)?.1)).await
    }

    async fn check_fingerprint(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Durable<FingerprintCheck>, StoreError> {
        self.durable("check the key's fingerprint", move |db| {
            let (inserted, stored) = get_or_insert(db, FINGERPRINT, fingerprint)?;
            Ok(compare(inserted, &stored, fingerprint))
        })
        .await
    }

    async fn replace_fingerprint(&self, fingerprint: [u8; 32]) -> Result<Durable<()>, StoreError> {
        self.durable("replace the key's fingerprint", move |db| {
            // Outside tokens that were issued before shall not open the sessions again, under other hashes.
            db.execute(Sql::SignOutEvery, [])?;
            db.execute(Sql::SessionDeleteEvery, [])?;
            db.execute(Sql::EndingDeleteEvery, [])?;
            db.execute(Sql::BlockDeleteEvery, [])?;
            db.execute(Sql::InstanceReplace, (FINGERPRINT, fingerprint))?;
            // No entry can name every session: a process that was left running drops all its copies at a hole.
            db.one(Sql::CounterNext, [], |_| Ok(()))
        })
        .await
    }
}
