//! Sessions: opened, found, listed, ended.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{
    Durable, Relaxed, SessionId, SessionSummary, Timestamp, TokenHash, UserAgent, UserId,
};
use phoenix_auth::ports::{
    Activity, EndScope, FoundSession, NewSession, Rotated, Rotation, SessionOpened, SessionStore,
    SessionsEnded, Stale, StoreError,
};

use super::failure::Failure;
use super::invalidations::append;
use super::query::Db;
use super::sql::Sql;
use super::{SqliteStore, activity, rotation, rows};

/// A session to be opened, owned by the job that opens it.
pub(super) struct OpenedSession {
    session: phoenix_auth::model::Session,
    token_hash: TokenHash,
    user_agent: UserAgent,
}

impl From<&NewSession> for OpenedSession {
    fn from(new: &NewSession) -> Self {
        let NewSession { session, token_hash, user_agent } = new;
        Self { session: session.clone(), token_hash: *token_hash, user_agent: user_agent.clone() }
    }
}

/// Inserts a session inside the open transaction.
pub(super) fn insert(db: &Db<'_>, new: &OpenedSession) -> Result<(), Failure> {
    let OpenedSession { session, token_hash, user_agent } = new;
    db.execute(
        Sql::SessionInsert,
        (
            token_hash.as_bytes(),
            session.id.as_uuid().as_bytes(),
            session.user_id.as_uuid().as_bytes(),
            session.created_at.as_millis(),
            session.expires_at.as_millis(),
            session.provider.as_str(),
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
        ),
    )?;
    Ok(())
}

fn open(
    db: &Db<'_>,
    new: &OpenedSession,
    auth_epoch: i64,
    replaces: Option<SessionId>,
) -> Result<SessionOpened, Failure> {
    let session = &new.session;
    let owner = (session.user_id.as_uuid().into_bytes(), auth_epoch, session.created_at.as_millis());
    if db.execute(Sql::UserSignIn, owner)? == 0 {
        return Ok(SessionOpened::Refused);
    }
    insert(db, new)?;
    let Some(old) = replaces else { return Ok(SessionOpened::Opened(None)) };
    if db.execute(Sql::SessionDelete, [old.as_uuid().as_bytes()])? == 0 {
        return Ok(SessionOpened::Opened(None));
    }
    let invalidation = append(db, Stale::Session(old), session.created_at)?;
    Ok(SessionOpened::Opened(Some(invalidation)))
}

/// Ends all sessions of a user without telling anyone. Returns how many.
pub(super) fn end_all(db: &Db<'_>, user_id: UserId) -> Result<u64, Failure> {
    let ended = db.all(Sql::SessionDeleteAll, [user_id.as_uuid().as_bytes()], |_| Ok(()))?;
    Ok(ended.len() as u64)
}

fn end(db: &Db<'_>, scope: EndScope, at: Timestamp) -> Result<SessionsEnded, Failure> {
    let (user_id, ended) = match scope {
        EndScope::One(user_id, id) => {
            let ids = (id.as_uuid().into_bytes(), user_id.as_uuid().into_bytes());
            let ended = db.execute(Sql::SessionDeleteOwn, ids)?;
            (user_id, if ended == 0 { Vec::new() } else { vec![id] })
        }
        EndScope::Others(user_id, kept) => {
            let ids = (user_id.as_uuid().into_bytes(), kept.as_uuid().into_bytes());
            (user_id, db.all(Sql::SessionDeleteOthers, ids, |row| rows::session_id(row, 0))?)
        }
        EndScope::All(user_id) => {
            let id = [user_id.as_uuid().into_bytes()];
            (user_id, db.all(Sql::SessionDeleteAll, id, |row| rows::session_id(row, 0))?)
        }
    };
    let invalidations = match ended.as_slice() {
        [] => Vec::new(),
        [id] => vec![append(db, Stale::Session(*id), at)?],
        [..] => vec![append(db, Stale::User(user_id), at)?],
    };
    Ok(SessionsEnded { count: ended.len() as u64, invalidations })
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn open_session(
        &self,
        session: &NewSession,
        auth_epoch: i64,
        replaces: Option<SessionId>,
    ) -> Result<Durable<SessionOpened>, StoreError> {
        let new = OpenedSession::from(session);
        self.durable("open a session", move |db| open(db, &new, auth_epoch, replaces)).await
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
