//! What time does to sessions: being used, and being removed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use phoenix_auth::model::{Relaxed, SessionId, Timestamp, UserId};
use phoenix_auth::ports::{Activity, StoreError};
use uuid::Uuid;

use super::PgStore;
use super::db::Db;
use super::failure::Failure;
use super::sql::Sql;
use crate::latest::{self, LastUse};

/// Most sessions written in one transaction: bounds how long its row locks are held (about 10 ms).
const RECORD_ROWS: usize = 500;
/// Rows of `session_activity` that one clean-up looks at for idle sessions. No index may know when a session was
/// last seen (its updates would no longer be heap-only), so the sessions are walked in order of their key, each call
/// going on where the last one stopped: a call reads at most this many neighbouring rows (about 20 ms), and all of a
/// million sessions are seen in 50 calls.
const IDLE_SCAN_ROWS: i64 = 20_000;

/// Moves the times forward, never back. Sessions and users are written in separate transactions: together they
/// would take locks in the opposite order of a change of password.
pub(super) async fn record(store: &PgStore, batch: &[Activity]) -> Result<Relaxed<u64>, StoreError> {
    let mut written = 0;
    let sessions: Vec<(SessionId, LastUse)> = latest::uses(batch).into_iter().collect();
    for part in sessions.chunks(RECORD_ROWS) {
        let ids: &Vec<Uuid> = &part.iter().map(|(id, _)| id.as_uuid()).collect();
        let times: &Vec<i64> = &part.iter().map(|(_, last)| last.at.as_millis()).collect();
        let ips: &Vec<Option<IpAddr>> = &part.iter().map(|(_, last)| last.from.map(|(_, ip)| ip)).collect();
        let since: &Vec<Option<i64>> =
            &part.iter().map(|(_, last)| last.from.map(|(at, _)| at.as_millis())).collect();
        let recorded = store.relaxed("record activity", |db: Arc<Db>| async move {
            db.execute(Sql::ActivityRecord, &[ids, times, ips, since]).await
        });
        written += recorded.await?.into_inner();
    }
    let users: Vec<(UserId, Timestamp)> = latest::users(batch).into_iter().collect();
    for part in users.chunks(RECORD_ROWS) {
        let ids: &Vec<Uuid> = &part.iter().map(|(id, _)| id.as_uuid()).collect();
        let times: &Vec<i64> = &part.iter().map(|(_, at)| at.as_millis()).collect();
        let active = store.relaxed("record activity", |db: Arc<Db>| async move {
            db.execute(Sql::UserActive, &[ids, times]).await
        });
        active.await?.into_inner();
    }
    Ok(Relaxed::accepted(written))
}

/// Removes at most `limit` sessions that expired by `now` or were last seen before `idle_before`. Skips rows that
/// are locked: they are in use or being removed.
pub(super) async fn remove(
    db: &Db,
    now: Timestamp,
    idle_before: Timestamp,
    limit: u32,
    position: &Mutex<Option<SessionId>>,
) -> Result<u64, Failure> {
    let limit = i64::from(limit);
    let expired = db.all(Sql::ExpiredDelete, &[&now.as_millis(), &limit], |_| Ok(())).await?.len();
    let room = limit.saturating_sub(i64::try_from(expired).unwrap_or(i64::MAX));
    if room <= 0 {
        return Ok(expired as u64);
    }
    let start =
        position.lock().unwrap_or_else(PoisonError::into_inner).map_or(Uuid::nil(), SessionId::as_uuid);
    let idle_ms = idle_before.as_millis();
    let (idle, seen, last): (Vec<Uuid>, i64, Option<Uuid>) = db
        .one(Sql::IdleScan, &[&start, &IDLE_SCAN_ROWS, &idle_ms, &room], |row| {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        })
        .await?;
    let next = if i64::try_from(idle.len()).is_ok_and(|found| found == room) {
        idle.last().copied()
    } else {
        last.filter(|_| seen == IDLE_SCAN_ROWS)
    };
    let removed = if idle.is_empty() {
        0
    } else {
        db.all(Sql::IdleDelete, &[&idle, &idle_ms, &now.as_millis()], |_| Ok(())).await?.len()
    };
    *position.lock().unwrap_or_else(PoisonError::into_inner) = next.map(SessionId::from_uuid);
    Ok((expired + removed) as u64)
}
