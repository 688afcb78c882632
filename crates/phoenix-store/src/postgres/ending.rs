//! Ends sessions, inside the open transaction. Whatever ends a session that an outside provider had opened remembers
//! it as ended in the same statement (`sql::end_sessions`).

use phoenix_auth::model::{SessionId, Timestamp, UserId};
use phoenix_auth::ports::{CapPolicy, EndScope, EndedExternal, SessionCap, SessionsEnded, Stale};
use uuid::Uuid;

use super::db::Db;
use super::failure::Failure;
use super::invalidations::append;
use super::rows;
use super::sql::Sql;
use crate::decode::{self, Ended};

/// Ends all sessions of a user without telling anyone.
pub(super) async fn end_all(db: &Db, user_id: UserId, at: Timestamp) -> Result<Vec<Ended>, Failure> {
    db.all(Sql::SessionEndAll, &[&user_id.as_uuid(), &at.as_millis()], rows::ended).await
}

/// Ends those sessions of a user whose token is ours without telling anyone.
pub(super) async fn end_own_tokens(db: &Db, user_id: UserId, at: Timestamp) -> Result<Vec<Ended>, Failure> {
    db.all(Sql::SessionEndPassword, &[&user_id.as_uuid(), &at.as_millis()], rows::ended).await
}

/// Ends these sessions, whoever's they are, each with its own entry in the log.
pub(super) async fn end_each(db: &Db, ids: &[SessionId], at: Timestamp) -> Result<SessionsEnded, Failure> {
    if ids.is_empty() {
        return Ok(SessionsEnded::default());
    }
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    let ended = db.all(Sql::SessionEndEach, &[&uuids, &at.as_millis()], rows::ended).await?;
    let ended = decode::in_order(ended, ids);
    let stale: Vec<Stale> = ended.iter().map(|session| Stale::Session(session.id)).collect();
    let invalidations = append(db, &stale, at).await?;
    Ok(decode::sessions_ended(ended, invalidations))
}

/// Ends what the caller names.
pub(super) async fn end(db: &Db, scope: EndScope, at: Timestamp) -> Result<SessionsEnded, Failure> {
    let at_ms = at.as_millis();
    let (user_id, ended) = match scope {
        EndScope::One(user_id, id) => {
            let (id, owner) = (id.as_uuid(), user_id.as_uuid());
            (user_id, db.all(Sql::SessionEndOwn, &[&id, &owner, &at_ms], rows::ended).await?)
        }
        EndScope::Others(user_id, kept) => {
            let (owner, kept) = (user_id.as_uuid(), kept.as_uuid());
            // Waits for sessions that are being opened; they are seen, and end, in the next statement.
            db.execute(Sql::UserSignedOut, &[&owner, &at_ms]).await?;
            (user_id, db.all(Sql::SessionEndOthers, &[&owner, &kept, &at_ms], rows::ended).await?)
        }
        EndScope::All(user_id) => {
            db.execute(Sql::UserSignedOut, &[&user_id.as_uuid(), &at_ms]).await?;
            (user_id, end_all(db, user_id, at).await?)
        }
    };
    let invalidations = append(db, &decode::stale_by(&ended, user_id), at).await?;
    let mut ended = decode::sessions_ended(ended, invalidations);
    if matches!(scope, EndScope::All(_)) {
        let identities = db.all(Sql::IdentitiesOfUser, &[&user_id.as_uuid()], rows::identity).await?;
        let all = |identity| EndedExternal { identity, session: None };
        ended.external.extend(identities.into_iter().map(all));
    }
    Ok(ended)
}

/// A session that is about to be opened, as the cap sees it.
pub(super) struct Opening {
    pub(super) user_id: UserId,
    pub(super) at: Timestamp,
    /// Ends with it, and takes no place.
    pub(super) replaces: Option<SessionId>,
}

/// The sessions that have to end so that there is room under the cap, the first opened first; `None` when there is
/// no room and none may be made. The row of the user is locked, so the count is exact: no session of theirs is opened
/// meanwhile.
pub(super) async fn make_room(
    db: &Db,
    opening: &Opening,
    cap: Option<SessionCap>,
) -> Result<Option<Vec<SessionId>>, Failure> {
    let Some(SessionCap { most, policy, idle_before }) = cap else { return Ok(Some(Vec::new())) };
    let Opening { user_id, at, replaces } = opening;
    let replaces = replaces.map_or(Uuid::nil(), SessionId::as_uuid);
    let others = i64::from(most.saturating_sub(1));
    let params = (user_id.as_uuid(), at.as_millis(), idle_before.as_millis());
    let mut beyond = db
        .all(Sql::SessionsBeyondCap, &[&params.0, &replaces, &params.1, &params.2, &others], |row| {
            rows::session_id(row, 0)
        })
        .await?;
    beyond.reverse();
    match policy {
        CapPolicy::Refuse if !beyond.is_empty() => Ok(None),
        CapPolicy::Refuse | CapPolicy::EvictOldest => Ok(Some(beyond)),
    }
}
