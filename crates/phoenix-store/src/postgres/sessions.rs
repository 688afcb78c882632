//! Sessions: opened, found, listed, ended.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{
    ActiveSession, Durable, Relaxed, SessionId, SessionSummary, Timestamp, TokenHash, UserId,
};
use phoenix_auth::ports::{
    Activity, EndScope, FoundSession, NewSession, Rotated, Rotation, SessionCap, SessionOpened, SessionStore,
    SessionsEnded, StoreError,
};
use tokio_postgres::types::ToSql;

use super::db::Db;
use super::ending::{Opening, end, end_each, make_room};
use super::failure::Failure;
use super::sql::Sql;
use super::{PgStore, activity, rotation, rows};

/// How a session gets into the database.
#[derive(Clone, Copy)]
pub(super) enum Insert<'a> {
    /// For an owner of whom the transaction made sure.
    Plain,
    /// Only if its owner is enabled and still at this epoch; locks the owner's row, so that a change of password or
    /// access comes wholly before or wholly after.
    AtEpoch(i64),
    /// With the provider's name of the session, unless it is open already. The owner's row is locked.
    External(&'a str),
}

/// Inserts a session inside the open transaction. Returns whether it was inserted.
pub(super) async fn insert(db: &Db, new: &NewSession, how: Insert<'_>) -> Result<bool, Failure> {
    let NewSession { session, token_hash, user_agent } = new;
    let (id, user_id) = (session.id.as_uuid(), session.user_id.as_uuid());
    let token_hash = token_hash.as_bytes().as_slice();
    let (created_ms, expires_ms) = (session.created_at.as_millis(), session.expires_at.as_millis());
    let (provider, last_seen_ms) = (session.provider.as_str(), session.last_seen_at.as_millis());
    let (device, user_agent) = (session.device.as_str(), user_agent.as_str());
    let fingerprint = session.fingerprint.map(|fingerprint| fingerprint.to_bytes());
    let fingerprint = fingerprint.as_ref().map(AsRef::<[u8]>::as_ref);
    let (sql, epoch, external_id) = match how {
        Insert::Plain => (Sql::SessionInsert, None, None),
        Insert::AtEpoch(epoch) => (Sql::SessionOpen, Some(epoch), None),
        Insert::External(name) => (Sql::ExternalOpen, None, Some(name)),
    };
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![
        &id,
        &user_id,
        &token_hash,
        &created_ms,
        &expires_ms,
        &provider,
        &last_seen_ms,
        &device,
        &user_agent,
        &session.ip_address,
        &session.last_ip,
        &fingerprint,
        &external_id,
    ];
    if let Some(epoch) = &epoch {
        params.push(epoch);
    }
    Ok(db.execute(sql, &params).await? == 1)
}

async fn open(
    db: &Db,
    new: &NewSession,
    auth_epoch: i64,
    replaces: Option<SessionId>,
    cap: Option<SessionCap>,
) -> Result<SessionOpened, Failure> {
    let (user_id, at) = (new.session.user_id, new.session.created_at);
    if cap.is_some() {
        let owner = db.optional(Sql::OwnerLock, &[&user_id.as_uuid(), &auth_epoch], |_| Ok(())).await?;
        if owner.is_none() {
            return Ok(SessionOpened::Refused);
        }
    }
    // Decided before anything changes.
    let Some(evicted) = make_room(db, &Opening { user_id, at, replaces }, cap).await? else {
        return Ok(SessionOpened::CapReached);
    };
    if !insert(db, new, Insert::AtEpoch(auth_epoch)).await? {
        return Ok(SessionOpened::Refused);
    }
    let ids: Vec<SessionId> = replaces.into_iter().chain(evicted).collect();
    Ok(SessionOpened::Opened(end_each(db, &ids, at).await?))
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
        cap: Option<SessionCap>,
    ) -> Result<Durable<SessionOpened>, StoreError> {
        self.durable("open a session", |db: Arc<Db>| async move {
            open(&db, session, auth_epoch, replaces, cap).await
        })
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

    async fn recently_used(&self, limit: u32) -> Result<Vec<(TokenHash, ActiveSession)>, StoreError> {
        let limit = i64::from(limit);
        self.read("read the sessions used last", |db: Arc<Db>| async move {
            db.all(Sql::RecentlyUsed, &[&limit], rows::hashed).await
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
