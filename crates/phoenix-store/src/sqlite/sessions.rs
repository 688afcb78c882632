//! Sessions: opened, found, listed, ended.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{
    ActiveSession, Durable, Relaxed, Session, SessionId, SessionSummary, Timestamp, TokenHash, UserAgent,
    UserId,
};
use phoenix_auth::ports::{
    Activity, EndScope, FoundSession, NewExternalSession, NewSession, Rotated, Rotation, SessionCap,
    SessionOpened, SessionStore, SessionsEnded, StoreError,
};

use super::ending::{Opening, end, end_each, make_room};
use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, activity, rotation, rows};

/// A session to be opened, owned by the job that opens it.
pub(super) struct OpenedSession {
    session: Session,
    token_hash: TokenHash,
    user_agent: UserAgent,
    external_id: Option<String>,
}

impl OpenedSession {
    /// `session` under the provider's name.
    pub(super) fn external(session: Session, new: &NewExternalSession) -> Self {
        let NewExternalSession { token_hash, user_agent, external_id, .. } = new;
        let external_id = Some(external_id.clone());
        Self { session, token_hash: *token_hash, user_agent: user_agent.clone(), external_id }
    }
}

impl From<&NewSession> for OpenedSession {
    fn from(new: &NewSession) -> Self {
        let NewSession { session, token_hash, user_agent } = new;
        let (session, user_agent) = (session.clone(), user_agent.clone());
        Self { session, token_hash: *token_hash, user_agent, external_id: None }
    }
}

/// Inserts a session inside the open transaction.
pub(super) fn insert(db: &Db<'_>, new: &OpenedSession) -> Result<(), Failure> {
    let OpenedSession { session, token_hash, user_agent, external_id } = new;
    db.execute(
        Sql::SessionInsert,
        (
            token_hash.as_bytes(),
            session.id.as_uuid().as_bytes(),
            session.user_id.as_uuid().as_bytes(),
            session.created_at.as_millis(),
            session.expires_at.as_millis(),
            session.provider.as_str(),
            external_id,
        ),
    )?;
    db.execute(
        Sql::ActivityInsert,
        (
            session.id.as_uuid().as_bytes(),
            session.last_seen_at.as_millis(),
            &session.device,
            user_agent.as_str(),
            session.ip_address.map(|ip| ip.to_string()),
            session.last_ip.map(|ip| ip.to_string()),
            session.fingerprint.map(|fingerprint| fingerprint.to_bytes().to_vec()),
        ),
    )?;
    Ok(())
}

fn open(
    db: &Db<'_>,
    new: &OpenedSession,
    auth_epoch: i64,
    replaces: Option<SessionId>,
    cap: Option<SessionCap>,
) -> Result<SessionOpened, Failure> {
    let (user_id, at) = (new.session.user_id, new.session.created_at);
    let owner = (user_id.as_uuid().into_bytes(), auth_epoch);
    if db.optional(Sql::OwnerCheck, owner, |_| Ok(()))?.is_none() {
        return Ok(SessionOpened::Refused);
    }
    // Decided before anything changes.
    let Some(evicted) = make_room(db, &Opening { user_id, at, replaces }, cap)? else {
        return Ok(SessionOpened::CapReached);
    };
    db.execute(Sql::UserUsed, (user_id.as_uuid().as_bytes(), at.as_millis()))?;
    insert(db, new)?;
    let ids: Vec<SessionId> = replaces.into_iter().chain(evicted).collect();
    Ok(SessionOpened::Opened(end_each(db, &ids, at)?))
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn open_session(
        &self,
        session: &NewSession,
        auth_epoch: i64,
        replaces: Option<SessionId>,
        cap: Option<SessionCap>,
    ) -> Result<Durable<SessionOpened>, StoreError> {
        let new = OpenedSession::from(session);
        self.durable("open a session", move |db| open(db, &new, auth_epoch, replaces, cap)).await
    }

    async fn find_session(
        &self,
        hash: &TokenHash,
        superseded_after: Timestamp,
    ) -> Result<Option<FoundSession>, StoreError> {
        self.read("find a session", |db| {
            if let Some(active) = db.optional(Sql::SessionFind, [hash.as_bytes()], rows::active)? {
                return Ok(Some(FoundSession { active, superseded: false }));
            }
            let previous = (hash.as_bytes(), superseded_after.as_millis());
            let active = db.optional(Sql::SessionFindPrevious, previous, rows::active)?;
            Ok(active.map(|active| FoundSession { active, superseded: true }))
        })
    }

    async fn rotate_token(&self, rotation: &Rotation) -> Result<Durable<Rotated>, StoreError> {
        let &Rotation { presented, successor, at, superseded_after } = rotation;
        let rotation = Rotation { presented, successor, at, superseded_after };
        self.durable("rotate a token", move |db| rotation::rotate(db, &rotation)).await
    }

    async fn sessions_of(&self, user_id: UserId, limit: u32) -> Result<Vec<SessionSummary>, StoreError> {
        self.read("list sessions", |db| {
            db.all(Sql::SessionsOfUser, (user_id.as_uuid().as_bytes(), limit), rows::summary)
        })
    }

    async fn recently_used(&self, limit: u32) -> Result<Vec<(TokenHash, ActiveSession)>, StoreError> {
        // The one read that walks a whole table: not on a thread that requests wait for.
        self.read_aside("read the sessions used last", move |db| {
            db.all(Sql::RecentlyUsed, [limit], rows::hashed)
        })
        .await
    }

    async fn end_sessions(
        &self,
        scope: EndScope,
        at: Timestamp,
    ) -> Result<Durable<SessionsEnded>, StoreError> {
        self.durable("end sessions", move |db| end(db, scope, at)).await
    }

    async fn record_activity(&self, batch: &[Activity]) -> Result<Relaxed<u64>, StoreError> {
        let batch = batch.to_vec();
        self.relaxed("record activity", move |db| activity::record(db, &batch)).await
    }

    async fn remove_expired(
        &self,
        now: Timestamp,
        idle_before: Timestamp,
        limit: u32,
    ) -> Result<Relaxed<u64>, StoreError> {
        let position = Arc::clone(&self.idle_position);
        self.relaxed("remove expired sessions", move |db| {
            activity::remove(db, now, idle_before, limit, &position)
        })
        .await
    }
}
