//! Replaces a session's token by its successor.

use phoenix_auth::ports::{Rotated, Rotation, Stale};

use super::failure::Failure;
use super::invalidations::append;
use super::query::Db;
use super::rows;
use super::sql::Sql;

/// One rotation, inside the open transaction.
pub(super) fn rotate(db: &Db<'_>, rotation: &Rotation) -> Result<Rotated, Failure> {
    let Rotation { presented, successor, at, superseded_after } = rotation;
    let current = db.optional(
        Sql::SessionRotate,
        (presented.as_bytes(), successor.as_bytes(), at.as_millis()),
        |row| rows::session_id(row, 0),
    )?;
    if let Some(id) = current {
        let active = db.one(Sql::SessionById, [id.as_uuid().as_bytes()], rows::active)?;
        let invalidation = append(db, &[Stale::Session(id)], *at)?.pop();
        return Ok(Rotated::Rotated(Box::new(active), invalidation));
    }
    let replaced = db.optional(Sql::SessionReplaced, [presented.as_bytes()], |row| {
        let rotated_ms: i64 = row.get(3)?;
        Ok((rows::session_id(row, 0)?, rows::user_id(row, 1)?, rows::bytes32(row, 2)?, rotated_ms))
    })?;
    let Some((id, user_id, current, rotated_ms)) = replaced else { return Ok(Rotated::Unknown) };
    if rotated_ms >= superseded_after.as_millis() && current == *successor.as_bytes() {
        let active = db.one(Sql::SessionById, [id.as_uuid().as_bytes()], rows::active)?;
        return Ok(Rotated::Rotated(Box::new(active), None));
    }
    // Of ours: only they are rotated, so there is nothing to remember.
    db.execute(Sql::SessionDelete, [id.as_uuid().as_bytes()])?;
    Ok(Rotated::Replayed(user_id, append(db, &[Stale::Session(id)], *at)?.pop()))
}
