//! Turns stored text and bytes back into values of the domain. A value that cannot be turned back is a defect,
//! never "not found".

use phoenix_auth::model::{Email, Provider, Role, Seq, SessionId, Timestamp, UserId};
use phoenix_auth::ports::{Invalidation, Stale};
use uuid::Uuid;

/// A stored value is not one that Phoenix writes. Names the column, never the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the stored value of {0} is not valid")]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Name of a [`Stale::Session`] in a store.
pub(crate) const KIND_SESSION: &str = "session";
/// Name of a [`Stale::User`] in a store.
pub(crate) const KIND_USER: &str = "user";

pub(crate) fn email(text: &str) -> Result<Email, DecodeError> {
    Email::parse(text).map_err(|_| DecodeError("users.email"))
}

pub(crate) fn role(text: &str) -> Result<Role, DecodeError> {
    Role::parse(text).map_err(|_| DecodeError("users.role"))
}

pub(crate) fn provider(text: &str) -> Result<Provider, DecodeError> {
    Provider::from_stored(text).ok_or(DecodeError("sessions.provider"))
}

/// 32 bytes, as every hash, secret and fingerprint has.
pub(crate) fn array(bytes: &[u8], column: &'static str) -> Result<[u8; 32], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError(column))
}

pub(crate) fn seq(number: i64) -> Result<Seq, DecodeError> {
    u64::try_from(number).map(Seq).map_err(|_| DecodeError("invalidations.seq"))
}

/// A sequence number as databases count, saturating.
pub(crate) fn seq_number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch, as both databases keep times.
pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The two columns of what an invalidation names.
pub(crate) fn stale_columns(stale: Stale) -> (&'static str, Uuid) {
    match stale {
        Stale::Session(id) => (KIND_SESSION, id.as_uuid()),
        Stale::User(id) => (KIND_USER, id.as_uuid()),
    }
}

pub(crate) fn invalidation(seq_number: i64, kind: &str, subject: Uuid) -> Result<Invalidation, DecodeError> {
    let stale = match kind {
        KIND_SESSION => Stale::Session(SessionId::from_uuid(subject)),
        KIND_USER => Stale::User(UserId::from_uuid(subject)),
        _ => return Err(DecodeError("invalidations.kind")),
    };
    Ok(Invalidation { seq: seq(seq_number)?, stale })
}
