//! Reads rows of the statements in `sql.rs`, by position.

use std::net::IpAddr;

use phoenix_auth::model::{
    ActiveSession, PasswordHash, Profile, Session, SessionId, SessionSummary, User, UserId,
};
use phoenix_auth::ports::{Credentials, Invalidation};
use rusqlite::Row;
use uuid::Uuid;

use super::failure::Failure;
use crate::decode::{self, DecodeError};

/// Number of columns that [`user`] reads.
const USER_COLUMNS: usize = 14;
/// Number of columns that [`session`] reads.
const SESSION_COLUMNS: usize = 8;

fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid, Failure> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn time(row: &Row<'_>, column: usize) -> Result<phoenix_auth::model::Timestamp, Failure> {
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

/// A session whose first column is at `first`.
fn session(row: &Row<'_>, first: usize) -> Result<Session, Failure> {
    let ip: Option<&str> =
        row.get_ref(first + 7)?.as_str_or_null().map_err(|_| DecodeError("session_activity.ip"))?;
    let ip_address: Option<IpAddr> =
        ip.map(|ip| ip.parse().map_err(|_| DecodeError("session_activity.ip"))).transpose()?;
    Ok(Session {
        id: session_id(row, first)?,
        user_id: UserId::from_uuid(uuid(row, first + 1)?),
        created_at: time(row, first + 2)?,
        expires_at: time(row, first + 3)?,
        provider: decode::provider(text(row, first + 4)?)?,
        last_seen_at: time(row, first + 5)?,
        device: row.get(first + 6)?,
        ip_address,
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
        password_hash: PasswordHash::from_stored(row.get(USER_COLUMNS)?),
        auth_epoch: row.get(USER_COLUMNS + 1)?,
    })
}

pub(super) fn invalidation(row: &Row<'_>) -> Result<Invalidation, Failure> {
    Ok(decode::invalidation(row.get(0)?, text(row, 1)?, uuid(row, 2)?)?)
}

pub(super) fn bytes32(row: &Row<'_>, column: usize) -> Result<[u8; 32], Failure> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| DecodeError("a column of 32 bytes"))?;
    Ok(decode::array(bytes, "a column of 32 bytes")?)
}
