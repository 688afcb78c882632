//! Reads rows of the statements in `sql.rs`, by position.

use phoenix_auth::model::{
    ActiveSession, PasswordHash, Profile, Session, SessionId, SessionSummary, Timestamp, User, UserId,
};
use phoenix_auth::ports::{Credentials, Invalidation};
use tokio_postgres::Row;

use super::failure::Failure;
use crate::decode;

/// Number of columns that [`user`] reads.
const USER_COLUMNS: usize = 14;
/// Number of columns that [`session`] reads.
const SESSION_COLUMNS: usize = 8;

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
        password_hash: PasswordHash::from_stored(row.try_get(USER_COLUMNS)?),
        auth_epoch: row.try_get(USER_COLUMNS + 1)?,
    })
}

pub(super) fn invalidation(row: &Row) -> Result<Invalidation, Failure> {
    Ok(decode::invalidation(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)?)
}

pub(super) fn bytes32(row: &Row, column: usize) -> Result<[u8; 32], Failure> {
    Ok(decode::array(row.try_get(column)?, "a column of 32 bytes")?)
}
