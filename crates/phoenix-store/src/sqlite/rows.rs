//! Reads rows of the statements in `sql.rs`, by position.

use std::net::IpAddr;

use phoenix_auth::model::{
    ActiveSession, EventId, Identity, Profile, SecurityEvent, Session, SessionId, SessionSummary, Timestamp,
    TokenHash, User, UserId,
};
use phoenix_auth::ports::{BlockChange, Credentials, Invalidation};
use rusqlite::Row;
use uuid::Uuid;

use super::failure::Failure;
use crate::blocks::{self, BlockRow};
use crate::columns::{BLOCK_COLUMNS, SESSION_COLUMNS, USER_COLUMNS};
use crate::decode::{self, DecodeError, Ended};

fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, Failure> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    Ok(decode::time(row.get(column)?))
}

/// A text column without a copy.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Failure> {
    row.get_ref(column)?.as_str().map_err(|_| DecodeError("a text column").into())
}

fn user(row: &Row<'_>) -> Result<User, Failure> {
    Ok(User {
        id: UserId::from_uuid(uuid(row, 0)?),
        email: decode::email(text(row, 1)?)?,
        email_verified: row.get(2)?,
        role: decode::role(text(row, 3)?)?,
        disabled: row.get(4)?,
        profile: Profile {
            username: row.get(5)?,
            first_name: row.get(6)?,
            last_name: row.get(7)?,
            image_url: row.get(8)?,
            timezone: row.get(9)?,
            locale: row.get(10)?,
        },
        settings: row.get(11)?,
        created_at: time(row, 12)?,
        last_active_at: row.get::<_, Option<i64>>(13)?.map(decode::time),
    })
}

/// An address, as text or null.
fn ip(row: &Row<'_>, column: usize, name: &'static str) -> Result<Option<IpAddr>, Failure> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|_| DecodeError(name))?;
    Ok(text.map(|text| text.parse().map_err(|_| DecodeError(name))).transpose()?)
}

/// A session whose first column is at `first`.
fn session(row: &Row<'_>, first: usize) -> Result<Session, Failure> {
    Ok(Session {
        id: session_id(row, first)?,
        user_id: UserId::from_uuid(uuid(row, first + 1)?),
        created_at: time(row, first + 2)?,
        expires_at: time(row, first + 3)?,
        provider: decode::provider(text(row, first + 4)?)?,
        last_seen_at: time(row, first + 5)?,
        device: row.get(first + 6)?,
        ip_address: ip(row, first + 7, "session_activity.ip")?,
        last_ip: ip(row, first + 8, "session_activity.last_ip")?,
        fingerprint: decode::fingerprint(row.get_ref(first + 9)?.as_blob_or_null().unwrap_or(None)),
    })
}

pub(super) fn session_id(row: &Row<'_>, column: usize) -> Result<SessionId, Failure> {
    Ok(SessionId::from_uuid(uuid(row, column)?))
}

pub(super) fn user_id(row: &Row<'_>, column: usize) -> Result<UserId, Failure> {
    Ok(UserId::from_uuid(uuid(row, column)?))
}

pub(super) fn only_user(row: &Row<'_>) -> Result<User, Failure> {
    user(row)
}

pub(super) fn active(row: &Row<'_>) -> Result<ActiveSession, Failure> {
    Ok(ActiveSession::new(session(row, USER_COLUMNS)?, user(row)?))
}

pub(super) fn summary(row: &Row<'_>) -> Result<SessionSummary, Failure> {
    Ok(SessionSummary { session: session(row, 0)?, user_agent: row.get(SESSION_COLUMNS)? })
}

pub(super) fn credentials(row: &Row<'_>) -> Result<Credentials, Failure> {
    Ok(Credentials {
        user: user(row)?,
        password_hash: decode::password_hash(row.get(USER_COLUMNS)?),
        auth_epoch: row.get(USER_COLUMNS + 1)?,
    })
}

/// A session with the hash of its token.
pub(super) fn hashed(row: &Row<'_>) -> Result<(TokenHash, ActiveSession), Failure> {
    Ok((TokenHash::from_bytes(bytes32(row, USER_COLUMNS + SESSION_COLUMNS)?), active(row)?))
}

/// A user with the time up to which outside tokens open no session.
pub(super) fn owner(row: &Row<'_>) -> Result<(User, Timestamp), Failure> {
    Ok((user(row)?, time(row, USER_COLUMNS)?))
}

/// A session that is to be removed, and the hash under which it is.
pub(super) fn doomed(row: &Row<'_>) -> Result<(Ended, [u8; 32], bool), Failure> {
    let text = |column: usize| {
        let value = row.get_ref(column)?;
        Ok::<_, Failure>(value.as_str_or_null().map_err(|_| DecodeError("identities"))?)
    };
    let external: Option<String> = row.get(1)?;
    let is_external = external.is_some();
    let ended = decode::ended(session_id(row, 0)?, external, text(2)?, text(3)?)?;
    Ok((ended, bytes32(row, 4)?, is_external))
}

pub(super) fn identity(row: &Row<'_>) -> Result<Identity, Failure> {
    Ok(decode::identity(text(row, 0)?, text(row, 1)?)?)
}

pub(super) fn event(row: &Row<'_>) -> Result<SecurityEvent, Failure> {
    let session: Option<[u8; 16]> = row.get(4)?;
    Ok(SecurityEvent {
        id: EventId::from_uuid(uuid(row, 0)?),
        at: time(row, 1)?,
        kind: decode::event_kind(text(row, 2)?)?,
        user_id: user_id(row, 3)?,
        session_id: session.map(|bytes| SessionId::from_uuid(Uuid::from_bytes(bytes))),
        ip: ip(row, 5, "security_events.ip")?,
        detail: row.get(6)?,
    })
}

pub(super) fn block_change(row: &Row<'_>) -> Result<BlockChange, Failure> {
    let made_by: Option<[u8; 16]> = row.get(8)?;
    let columns = BlockRow {
        key: row.get_ref(0)?.as_blob().map_err(|_| DecodeError("blocks.key"))?,
        id: uuid(row, 1)?,
        class: row.get(2)?,
        subject: row.get(3)?,
        cause: text(row, 4)?,
        reason: row.get(5)?,
        since_ms: row.get(6)?,
        until_ms: row.get(7)?,
        made_by: made_by.map(Uuid::from_bytes),
        lifted_ms: row.get(9)?,
        changed: row.get(10)?,
    };
    Ok(columns.decode()?)
}

/// The last number of a change, behind the columns of a block; no block when its key is null.
pub(super) fn block_line(row: &Row<'_>) -> Result<(u64, Option<BlockChange>), Failure> {
    let last = blocks::changed(row.get(BLOCK_COLUMNS)?)?;
    let key: Option<[u8; 16]> = row.get(0)?;
    Ok((last, key.map(|_| block_change(row)).transpose()?))
}

/// An entry of the log whose first column is at 1, after the last number given out; none when that is null.
pub(super) fn log_line(row: &Row<'_>) -> Result<(i64, Option<Invalidation>), Failure> {
    let last = row.get(0)?;
    let Some(seq) = row.get(1)? else { return Ok((last, None)) };
    Ok((last, Some(decode::invalidation(seq, text(row, 2)?, uuid(row, 3)?, row.get(4)?)?)))
}

pub(super) fn bytes32(row: &Row<'_>, column: usize) -> Result<[u8; 32], Failure> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| DecodeError("a column of 32 bytes"))?;
    Ok(decode::array(bytes, "a column of 32 bytes")?)
}
