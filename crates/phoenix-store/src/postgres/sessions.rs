//! Sessions: opened, found, listed, ended.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{Durable, Relaxed, SessionId, SessionSummary, Timestamp, TokenHash, UserId};
use phoenix_auth::ports::{
    Activity, EndScope, FoundSession, NewSession, Rotated, Rotation, SessionOpened, SessionStore,
    SessionsEnded, Stale, StoreError,
};

use super::db::Db;
use super::failure::Failure;
use super::invalidations::append;
use super::sql::Sql;
use super::{PgStore, activity, rotation, rows};

/// Inserts a session inside the open transaction. With an epoch: only if its owner is enabled and still at it, and
/// with the owner's row locked, so that a change of password or access comes wholly before or wholly after.
/// Returns whether it was inserted.
pub(super) async fn insert(db: &Db, new: &NewSession, auth_epoch: Option<i64>) -> Result<bool, Failure> {
    let NewSession { session, token_hash, user_agent } = new;
    let (id, user_id) = (session.id.as_uuid(), session.user_id.as_uuid());
    let token_hash = token_hash.as_bytes().as_slice();
    let (created_ms, expires_ms) = (session.created_at.as_millis(), session.expires_at.as_millis());
    let (provider, last_seen_ms) = (session.provider.as_str(), session.last_seen_at.as_millis());
    let (device, user_agent) = (session.device.as_str(), user_agent.as_str());
    let ip = session.ip_address;
    let inserted = match auth_epoch {
        Some(epoch) => {
            db.execute(
                Sql::SessionOpen,
                &[
                    &id,
                    &user_id,
                    &token_hash,
                    &created_ms,
                    &expires_ms,
                    &provider,
                    &last_seen_ms,
                    &device,
                    &user_agent,
                    &ip,
                    &epoch,
                ],
            )
            .await?
        }
        None => {
            db.execute(
                Sql::SessionInsert,
                &[
                    &id,
                    &user_id,
                    &token_hash,
                    &created_ms,
                    &expires_ms,
                    &provider,
                    &last_seen_ms,
                    &device,
                    &user_agent,
                    &ip,
                ],
            )
            .await?
        }
    };
    Ok(inserted == 1)
}

async fn open(
    db: &Db,
    new: &NewSession,
    auth_epoch: i64,
    replaces: Option<SessionId>,
) -> Result<SessionOpened, Failure> {
    if !insert(db, new, Some(auth_epoch)).await? {
        return Ok(SessionOpened::Refused);
    }
    let Some(old) = replaces else { return Ok(SessionOpened::Opened(None)) };
    if db.execute(Sql::SessionDelete, &[&old.as_uuid()]).await? == 0 {
        return Ok(SessionOpened::Opened(None));
    }
    let invalidation = append(db, Stale::Session(old), new.session.created_at).await?;
    Ok(SessionOpened::Opened(Some(invalidation)))
}

/// Ends all sessions of a user without telling anyone.
pub(super) async fn end_all(db: &Db, user_id: UserId) -> Result<(), Failure> {
    db.execute(Sql::SessionDeleteAll, &[&user_id.as_uuid()]).await.map(drop)
}

async fn end(db: &Db, scope: EndScope, at: Timestamp) -> Result<SessionsEnded, Failure> {
    let (user_id, ended) = match scope {
        EndScope::One(user_id, id) => {
            let ended = db.execute(Sql::SessionDeleteOwn, &[&id.as_uuid(), &user_id.as_uuid()]).await?;
            (user_id, if ended == 0 { Vec::new() } else { vec![id] })
        }
        EndScope::Others(user_id, kept) => {
            let ids = (user_id.as_uuid(), kept.as_uuid());
            let read = |row: &_| rows::session_id(row, 0);
            (user_id, db.all(Sql::SessionDeleteOthers, &[&ids.0, &ids.1], read).await?)
        }
        EndScope::All(user_id) => {
            let read = |row: &_| rows::session_id(row, 0);
            (user_id, db.all(Sql::SessionDeleteAll, &[&user_id.as_uuid()], read).await?)
        }
    };
    let invalidations = match ended.as_slice() {
        [] => Vec::new(),
        [id] => vec![append(db, Stale::Session(*id), at).await?],
        [..] => vec![append(db, Stale::User(user_id), at).await?],
    };
    Ok(SessionsEnded { count: ended.len() as u64, invalidations })
}

impl PgStore {
    /// The hot read. Two statements only when the first finds nothing.
    async fn find(
        &self,
        hash: &TokenHash,
        superseded_after: Timestamp,
    ) -> Result<Option<FoundSession>, Failure> {
        let hash = hash.as_bytes().as_slice();
        if let Some(row) = self.lanes.query(Sql::SessionFind, &[&hash]).await? {
            return Ok(Some(FoundSession { active: rows::active(&row)?, superseded: false }));
        }
        let after_ms = superseded_after.as_millis();
        let previous = self.lanes.query(Sql::SessionFindPrevious, &[&hash, &after_ms]).await?;
        let Some(row) = previous else { return Ok(None) };
        Ok(Some(FoundSession { active: rows::active(&row)?, superseded: true }))
    }
}

#[async_trait]
impl SessionStore for PgStore {
    async fn open_session(
        &self,
        session: &NewSession,
        auth_epoch: i64,
        replaces: Option<SessionId>,
    ) -> Result<Durable<SessionOpened>, StoreError> {
        self.durable(
            "open a session",
            |db: Arc<Db>| async move { open(&db, session, auth_epoch, replaces).await },
        )
        .await
    }

    async fn find_session(
        &self,
        hash: &TokenHash,
        superseded_after: Timestamp,
    ) -> Result<Option<FoundSession>, StoreError> {
        let found = self.find(hash, superseded_after).await;
        found.map_err(|failure| failure.into_store_error("find a session"))
    }

    async fn rotate_token(&self, rotation: &Rotation) -> Result<Durable<Rotated>, StoreError> {
        self.durable("rotate a token", |db: Arc<Db>| async move { rotation::rotate(&db, rotation).await })
            .await
    }

    async fn sessions_of(&self, user_id: UserId, limit: u32) -> Result<Vec<SessionSummary>, StoreError> {
        let limit = i64::from(limit);
        self.read("list sessions", |db: Arc<Db>| async move {
            db.all(Sql::SessionsOfUser, &[&user_id.as_uuid(), &limit], rows::summary).await
        })
        .await
    }

    async fn end_sessions(
        &self,
        scope: EndScope,
        at: Timestamp,
    ) -> Result<Durable<SessionsEnded>, StoreError> {
        self.durable("end sessions", |db: Arc<Db>| async move { end(&db, scope, at).await }).await
    }

    async fn record_activity(&self, batch: &[Activity]) -> Result<Relaxed<u64>, StoreError> {
        activity::record(self, batch).await
    }

    async fn remove_expired(
        &self,
        now: Timestamp,
        idle_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("remove expired sessions", |db: Arc<Db>| async move {
            activity::remove(&db, now, idle_before, limit, &self.idle_position).await
        })
        .await
    }
}
