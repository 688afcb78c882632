//! Replaces a session's token by its successor.

use phoenix_auth::ports::{Rotated, Rotation, Stale};

use super::db::Db;
use super::failure::Failure;
use super::invalidations::append;
use super::rows;
use super::sql::Sql;

/// One rotation, inside the open transaction. Of rotations that race with the same token the first changes the row;
/// the others wait for its lock and then find their token as the previous one.
pub(super) async fn rotate(db: &Db, rotation: &Rotation) -> Result<Rotated, Failure> {
    let Rotation { presented, successor, at, superseded_after } = rotation;
    let (presented, successor) = (presented.as_bytes().as_slice(), successor.as_bytes().as_slice());
    let current = db
        .optional(Sql::SessionRotate, &[&presented, &successor, &at.as_millis()], |row| {
            rows::session_id(row, 0)
        })
        .await?;
    if let Some(id) = current {
        let active = db.one(Sql::SessionById, &[&id.as_uuid()], rows::active).await?;
        let invalidation = append(db, &[Stale::Session(id)], *at).await?.pop();
        return Ok(Rotated::Rotated(Box::new(active), invalidation));
    }
    let replaced = db
        .optional(Sql::SessionReplaced, &[&presented], |row| {
            let rotated_ms: i64 = row.try_get(3)?;
            Ok((rows::session_id(row, 0)?, rows::user_id(row, 1)?, rows::bytes32(row, 2)?, rotated_ms))
        })
        .await?;
    let Some((id, user_id, current, rotated_ms)) = replaced else { return Ok(Rotated::Unknown) };
    if rotated_ms >= superseded_after.as_millis() && current == successor {
        let active = db.one(Sql::SessionById, &[&id.as_uuid()], rows::active).await?;
        return Ok(Rotated::Rotated(Box::new(active), None));
    }
    // Of ours: only they are rotated, so there is nothing to remember.
    db.execute(Sql::SessionDelete, &[&id.as_uuid()]).await?;
    Ok(Rotated::Replayed(user_id, append(db, &[Stale::Session(id)], *at).await?.pop()))
}
