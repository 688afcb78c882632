//! Ends sessions, inside the open transaction. A session that an outside provider had opened is remembered as ended.

use phoenix_auth::model::{SessionId, Timestamp, UserId};
use phoenix_auth::ports::{CapPolicy, EndScope, EndedExternal, SessionCap, SessionsEnded, Stale};
use rusqlite::Params;

use super::failure::Failure;
use super::invalidations::append;
use super::query::Db;
use super::rows;
use super::sql::Sql;
use crate::decode::{self, Ended};

/// Removes the sessions that the statement names.
pub(super) fn remove(
    db: &Db<'_>,
    doomed: Sql,
    which: impl Params,
    at: Timestamp,
) -> Result<Vec<Ended>, Failure> {
    let doomed = db.all(doomed, which, rows::doomed)?;
    let mut ended = Vec::with_capacity(doomed.len());
    for (session, token_hash, is_external) in doomed {
        db.execute(Sql::SessionDelete, [session.id.as_uuid().as_bytes()])?;
        if is_external {
            db.execute(Sql::EndingInsert, (token_hash, at.as_millis()))?;
        }
        ended.push(session);
    }
    Ok(ended)
}

/// Ends all sessions of a user without telling anyone.
pub(super) fn end_all(db: &Db<'_>, user_id: UserId, at: Timestamp) -> Result<Vec<Ended>, Failure> {
    remove(db, Sql::SessionDoomedAll, [user_id.as_uuid().as_bytes()], at)
}

/// Ends those sessions of a user whose token is ours without telling anyone.
pub(super) fn end_own_tokens(db: &Db<'_>, user_id: UserId, at: Timestamp) -> Result<Vec<Ended>, Failure> {
    remove(db, Sql::SessionDoomedPassword, [user_id.as_uuid().as_bytes()], at)
}

/// Ends these sessions, whoever's they are, each with its own entry in the log.
pub(super) fn end_each(db: &Db<'_>, ids: &[SessionId], at: Timestamp) -> Result<SessionsEnded, Failure> {
    let mut ended = Vec::with_capacity(ids.len());
    for id in ids {
        ended.extend(remove(db, Sql::SessionDoomed, [id.as_uuid().as_bytes()], at)?);
    }
    let stale: Vec<Stale> = ended.iter().map(|session| Stale::Session(session.id)).collect();
    let invalidations = append(db, &stale, at)?;
    Ok(decode::sessions_ended(ended, invalidations))
}

/// Ends what the caller names.
pub(super) fn end(db: &Db<'_>, scope: EndScope, at: Timestamp) -> Result<SessionsEnded, Failure> {
    let sign_out = |user_id: UserId| {
        db.execute(Sql::UserSignedOut, (user_id.as_uuid().as_bytes(), at.as_millis())).map(drop)
    };
    let (user_id, ended) = match scope {
        EndScope::One(user_id, id) => {
            let ids = (id.as_uuid().into_bytes(), user_id.as_uuid().into_bytes());
            (user_id, remove(db, Sql::SessionDoomedOwn, ids, at)?)
        }
        EndScope::Others(user_id, kept) => {
            sign_out(user_id)?;
            let ids = (user_id.as_uuid().into_bytes(), kept.as_uuid().into_bytes());
            (user_id, remove(db, Sql::SessionDoomedOthers, ids, at)?)
        }
        EndScope::All(user_id) => {
            sign_out(user_id)?;
            (user_id, end_all(db, user_id, at)?)
        }
    };
    let invalidations = append(db, &decode::stale_by(&ended, user_id), at)?;
    let mut ended = decode::sessions_ended(ended, invalidations);
    if matches!(scope, EndScope::All(_)) {
        let identities = db.all(Sql::IdentitiesOfUser, [user_id.as_uuid().as_bytes()], rows::identity)?;
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
/// no room and none may be made. There is one writer, so the count is exact.
pub(super) fn make_room(
    db: &Db<'_>,
    opening: &Opening,
    cap: Option<SessionCap>,
) -> Result<Option<Vec<SessionId>>, Failure> {
    let Some(SessionCap { most, policy, idle_before }) = cap else { return Ok(Some(Vec::new())) };
    let Opening { user_id, at, replaces } = opening;
    let replaces = replaces.map_or(uuid::Uuid::nil(), SessionId::as_uuid);
    let which = (
        user_id.as_uuid().into_bytes(),
        replaces.into_bytes(),
        at.as_millis(),
        idle_before.as_millis(),
        most.saturating_sub(1),
    );
    let mut beyond = db.all(Sql::SessionsBeyondCap, which, |row| rows::session_id(row, 0))?;
    beyond.reverse();
    match policy {
        CapPolicy::Refuse if !beyond.is_empty() => Ok(None),
        CapPolicy::Refuse | CapPolicy::EvictOldest => Ok(Some(beyond)),
    }
}
