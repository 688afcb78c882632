//! Turns stored text and bytes back into values of the domain. A value that cannot be turned back is a defect,
//! never "not found". The exception is the fingerprint of a device, whose form may change with the version.

use std::collections::HashMap;

use phoenix_auth::model::{
    Email, EventKind, Fingerprint, Identity, PasswordHash, Provider, Role, Seq, SessionId, Timestamp, UserId,
};
use phoenix_auth::ports::{EndedExternal, Invalidation, SessionsEnded, Stale};
use uuid::Uuid;

/// A stored value is not one that Phoenix writes. Names the column, never the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the stored value of {0} is not valid")]
pub(crate) struct DecodeError(pub(crate) &'static str);

/// Name of a [`Stale::Session`] in a store.
pub(crate) const KIND_SESSION: &str = "session";
/// Name of a [`Stale::User`] in a store.
pub(crate) const KIND_USER: &str = "user";
/// What the key of a user of an outside provider begins with. No address does: it has no `@`.
const EXTERNAL_KEY: &str = "external:";

/// The empty text stands for none.
pub(crate) fn email(text: &str) -> Result<Option<Email>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    Email::parse(text).map(Some).map_err(|_| DecodeError("users.email"))
}

/// [`email`] the other way.
pub(crate) fn email_column(email: Option<&Email>) -> &str {
    email.map_or("", Email::as_str)
}

/// The unique key of a user of an outside provider.
pub(crate) fn external_key(id: UserId) -> String {
    format!("{EXTERNAL_KEY}{id}")
}

/// The empty text stands for none.
pub(crate) fn password_hash(text: String) -> Option<PasswordHash> {
    (!text.is_empty()).then(|| PasswordHash::from_stored(text))
}

pub(crate) fn role(text: &str) -> Result<Role, DecodeError> {
    Role::parse(text).map_err(|_| DecodeError("users.role"))
}

pub(crate) fn provider(text: &str) -> Result<Provider, DecodeError> {
    Provider::from_stored(text).ok_or(DecodeError("sessions.provider"))
}

pub(crate) fn event_kind(text: &str) -> Result<EventKind, DecodeError> {
    EventKind::from_stored(text).ok_or(DecodeError("security_events.kind"))
}

/// A form of another version is none.
pub(crate) fn fingerprint(bytes: Option<&[u8]>) -> Option<Fingerprint> {
    bytes.and_then(Fingerprint::from_bytes)
}

/// 32 bytes, as every hash, secret and fingerprint has.
pub(crate) fn array(bytes: &[u8], column: &'static str) -> Result<[u8; 32], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError(column))
}

pub(crate) fn identity(issuer: &str, subject: &str) -> Result<Identity, DecodeError> {
    Identity::new(issuer, subject).ok_or(DecodeError("identities"))
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

pub(crate) fn invalidation(
    seq_number: i64,
    kind: &str,
    subject: Uuid,
    created_ms: i64,
) -> Result<Invalidation, DecodeError> {
    let stale = match kind {
        KIND_SESSION => Stale::Session(SessionId::from_uuid(subject)),
        KIND_USER => Stale::User(UserId::from_uuid(subject)),
        _ => return Err(DecodeError("invalidations.kind")),
    };
    Ok(Invalidation { seq: seq(seq_number)?, stale, at: time(created_ms) })
}

/// A session that was removed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: SessionId,
    /// If an outside provider had opened it.
    pub(crate) external: Option<EndedExternal>,
}

/// From the columns of a removed session; the last three are null for one with a token of ours.
pub(crate) fn ended(
    id: SessionId,
    external_id: Option<String>,
    issuer: Option<&str>,
    subject: Option<&str>,
) -> Result<Ended, DecodeError> {
    let external = match (external_id, issuer, subject) {
        (Some(session), Some(issuer), Some(subject)) => {
            Some(EndedExternal { identity: identity(issuer, subject)?, session: Some(session) })
        }
        _ => None,
    };
    Ok(Ended { id, external })
}

/// What is told of sessions that were removed.
pub(crate) fn sessions_ended(ended: Vec<Ended>, invalidations: Vec<Invalidation>) -> SessionsEnded {
    SessionsEnded {
        count: ended.len() as u64,
        invalidations,
        external: ended.into_iter().filter_map(|session| session.external).collect(),
    }
}

/// What has to be read again when these sessions of one user ended.
pub(crate) fn stale_by(ended: &[Ended], user_id: UserId) -> Vec<Stale> {
    match ended {
        [] => Vec::new(),
        [only] => vec![Stale::Session(only.id)],
        [..] => vec![Stale::User(user_id)],
    }
}

/// The sessions in the order of `named`, in which they were to end.
pub(crate) fn in_order(mut ended: Vec<Ended>, named: &[SessionId]) -> Vec<Ended> {
    let places: HashMap<SessionId, usize> =
        named.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    ended.sort_by_key(|session| places.get(&session.id).copied());
    ended
}
