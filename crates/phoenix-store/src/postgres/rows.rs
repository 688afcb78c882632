//! Reads rows of the statements in `sql.rs`, by position.

use phoenix_auth::model::{
    ActiveSession, EventId, Identity, Profile, SecurityEvent, Session, SessionId, SessionSummary, Timestamp,
    TokenHash, User, UserId,
};
use phoenix_auth::ports::{BlockChange, Credentials, Invalidation};
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use crate::blocks::BlockRow;
use crate::columns::{BLOCK_COLUMNS, SESSION_COLUMNS, USER_COLUMNS};
use crate::decode::{self, Ended};

fn time(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    Ok(decode::time(row.try_get(column)?))
}

pub(super) fn user(row: &Row) -> Result<User, Failure> {
    Ok(User {
        id: user_id(row, 0)?,
        email: decode::email(row.try_get(1)?)?,
        email_verified: row.try_get(2)?,
        role: decode::role(row.try_get(3)?)?,
        disabled: row.try_get(4)?,
        profile: Profile {
            username: row.try_get(5)?,
            first_name: row.try_get(6)?,
            last_name: row.try_get(7)?,
            image_url: row.try_get(8)?,
            timezone: row.try_get(9)?,
            locale: row.try_get(10)?,
        },
        settings: row.try_get(11)?,
        created_at: time(row, 12)?,
        last_active_at: row.try_get::<_, Option<i64>>(13)?.map(decode::time),
    })
}

/// A session whose first column is at `first`.
fn session(row: &Row, first: usize) -> Result<Session, Failure> {
    Ok(Session {
        id: session_id(row, first)?,
        user_id: user_id(row, first + 1)?,
        created_at: time(row, first + 2)?,
        expires_at: time(row, first + 3)?,
        provider: decode::provider(row.try_get(first + 4)?)?,
        last_seen_at: time(row, first + 5)?,
        device: row.try_get(first + 6)?,
        ip_address: row.try_get(first + 7)?,
        last_ip: row.try_get(first + 8)?,
        fingerprint: decode::fingerprint(row.try_get(first + 9)?),
    })
}

pub(super) fn session_id(row: &Row, column: usize) -> Result<SessionId, Failure> {
    Ok(SessionId::from_uuid(row.try_get(column)?))
}

pub(super) fn user_id(row: &Row, column: usize) -> Result<UserId, Failure> {
    Ok(UserId::from_uuid(row.try_get(column)?))
}

pub(super) fn active(row: &Row) -> Result<ActiveSession, Failure> {
    Ok(ActiveSession::new(session(row, USER_COLUMNS)?, user(row)?))
}

pub(super) fn summary(row: &Row) -> Result<SessionSummary, Failure> {
    Ok(SessionSummary { session: session(row, 0)?, user_agent: row.try_get(SESSION_COLUMNS)? })
}

pub(super) fn credentials(row: &Row) -> Result<Credentials, Failure> {
    Ok(Credentials {
        user: user(row)?,
        password_hash: decode::password_hash(row.try_get(USER_COLUMNS)?),
        auth_epoch: row.try_get(USER_COLUMNS + 1)?,
    })
}

/// A session with the hash of its token.
pub(super) fn hashed(row: &Row) -> Result<(TokenHash, ActiveSession), Failure> {
    Ok((TokenHash::from_bytes(bytes32(row, USER_COLUMNS + SESSION_COLUMNS)?), active(row)?))
}

/// A user with the time up to which outside tokens open no session.
pub(super) fn owner(row: &Row) -> Result<(User, Timestamp), Failure> {
    Ok((user(row)?, time(row, USER_COLUMNS)?))
}

/// A session that was removed.
pub(super) fn ended(row: &Row) -> Result<Ended, Failure> {
    Ok(decode::ended(session_id(row, 0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)?)
}

pub(super) fn identity(row: &Row) -> Result<Identity, Failure> {
    Ok(decode::identity(row.try_get(0)?, row.try_get(1)?)?)
}

pub(super) fn event(row: &Row) -> Result<SecurityEvent, Failure> {
    Ok(SecurityEvent {
        id: EventId::from_uuid(row.try_get(0)?),
        at: time(row, 1)?,
        kind: decode::event_kind(row.try_get(2)?)?,
        user_id: user_id(row, 3)?,
        session_id: row.try_get::<_, Option<Uuid>>(4)?.map(SessionId::from_uuid),
        ip: row.try_get(5)?,
        detail: row.try_get(6)?,
    })
}

pub(super) fn block_change(row: &Row) -> Result<BlockChange, Failure> {
    let columns = BlockRow {
        key: row.try_get(0)?,
        id: row.try_get(1)?,
        class: row.try_get(2)?,
        subject: row.try_get(3)?,
        cause: row.try_get(4)?,
        reason: row.try_get(5)?,
        since_ms: row.try_get(6)?,
        until_ms: row.try_get(7)?,
        made_by: row.try_get(8)?,
        lifted_ms: row.try_get(9)?,
        changed: row.try_get(10)?,
    };
    Ok(columns.decode()?)
}

/// Column, behind those of a block, of the last number of a change.
pub(super) const BLOCK_LAST: usize = BLOCK_COLUMNS;

/// A block; none when its key is null.
pub(super) fn block_change_or_none(row: &Row) -> Result<Option<BlockChange>, Failure> {
    row.try_get::<_, Option<&[u8]>>(0)?.map(|_| block_change(row)).transpose()
}

/// Column of the log that tells whether the server is a standby.
const STANDBY: usize = 5;

/// Whether a line of the log comes from a standby.
pub(super) fn from_standby(row: &Row) -> Result<bool, Failure> {
    Ok(row.try_get(STANDBY)?)
}

/// An entry of the log whose first column is at 1; none when that is null.
pub(super) fn invalidation(row: &Row) -> Result<Option<Invalidation>, Failure> {
    let Some(seq) = row.try_get(1)? else { return Ok(None) };
    Ok(Some(decode::invalidation(seq, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?)?))
}

pub(super) fn bytes32(row: &Row, column: usize) -> Result<[u8; 32], Failure> {
    Ok(decode::array(row.try_get(column)?, "a column of 32 bytes")?)
}
