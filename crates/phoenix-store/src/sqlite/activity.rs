//! What time does to sessions: being used, and being removed.

use std::sync::{Mutex, PoisonError};

use phoenix_auth::model::{SessionId, Timestamp};
use phoenix_auth::ports::Activity;
use uuid::Uuid;

use super::failure::Failure;
use super::query::Db;
use super::sql::Sql;
use super::{ending, rows};
use crate::latest::{self, LastUse};

/// Rows of `session_activity` that one clean-up looks at for idle sessions. No index knows when a session was last
/// seen, so they are walked in order of their key, each call going on where the last one stopped: a call costs at
/// most about 10 ms, and all of a million sessions are seen in 50 calls.
const IDLE_SCAN_ROWS: u32 = 20_000;

/// Moves the times forward, never back. Returns how many sessions were written.
pub(super) fn record(db: &Db<'_>, batch: &[Activity]) -> Result<u64, Failure> {
    let mut written = 0;
    for (id, LastUse { at, from }) in latest::uses(batch) {
        let (since, ip) = from.map(|(since, ip)| (since.as_millis(), ip.to_string())).unzip();
        written += db.execute(Sql::ActivityRecord, (id.as_uuid().as_bytes(), at.as_millis(), ip, since))?;
    }
    for (id, at) in latest::users(batch) {
        db.execute(Sql::UserActive, (id.as_uuid().as_bytes(), at.as_millis()))?;
    }
    Ok(written)
}

/// Removes at most `limit` sessions that expired by `now` or were last seen before `idle_before`.
pub(super) fn remove(
    db: &Db<'_>,
    now: Timestamp,
    idle_before: Timestamp,
    limit: u32,
    position: &Mutex<Option<SessionId>>,
) -> Result<u64, Failure> {
    let expired = ending::remove(db, Sql::ExpiredDoomed, (now.as_millis(), limit), now)?.len() as u64;
    let room = u64::from(limit).saturating_sub(expired);
    if room == 0 {
        return Ok(expired);
    }
    let start = *position.lock().unwrap_or_else(PoisonError::into_inner);
    let (idle, next) = scan(db, start, idle_before, room)?;
    for id in &idle {
        ending::remove(db, Sql::SessionDoomed, [id.as_uuid().as_bytes()], now)?;
    }
    *position.lock().unwrap_or_else(PoisonError::into_inner) = next;
    Ok(expired + idle.len() as u64)
}

/// Idle sessions after `start`, at most `room`, and where to go on (`None`: from the beginning).
fn scan(
    db: &Db<'_>,
    start: Option<SessionId>,
    idle_before: Timestamp,
    room: u64,
) -> Result<(Vec<SessionId>, Option<SessionId>), Failure> {
    let after = start.map_or(Uuid::nil(), SessionId::as_uuid);
    let window = db.all(Sql::IdleScan, (after.as_bytes(), IDLE_SCAN_ROWS), |row| {
        Ok((rows::session_id(row, 0)?, row.get::<_, i64>(1)?))
    })?;
    let mut idle = Vec::new();
    for (id, last_seen_ms) in &window {
        if *last_seen_ms < idle_before.as_millis() {
            idle.push(*id);
            if idle.len() as u64 == room {
                return Ok((idle, Some(*id)));
            }
        }
    }
    let full = window.len() == IDLE_SCAN_ROWS as usize;
    let next = window.last().map(|(id, _)| *id).filter(|_| full);
    Ok((idle, next))
}
