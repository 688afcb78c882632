//! Why an operation on PostgreSQL failed, which kind of store error that is, and whether trying again is safe.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use phoenix_auth::ports::{StoreError, StoreErrorKind};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::decode::DecodeError;
use crate::tls::TlsProblem;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("PostgreSQL did not carry out the statement")]
    Postgres(#[from] Error),
    #[error("a stored row cannot be read")]
    Decode(#[from] DecodeError),
    #[error("a row that must exist does not")]
    NoRow,
    #[error("no connection became free within {0:?}")]
    PoolWait(Duration),
    #[error("no connection could be opened within {0:?}")]
    PoolConnect(Duration),
    #[error("the operation did not finish within {0:?}")]
    TimedOut(Duration),
    #[error("the shared connections are being opened again")]
    Reconnecting,
    #[error("the server is a standby, which may lag behind the primary")]
    Standby,
    #[error("the store is closed")]
    Closed,
}

/// How far a transaction had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reached {
    /// COMMIT was not sent: nothing can have been committed.
    Statements,
    /// COMMIT was sent.
    Commit,
}

impl Failure {
    /// From the pool, which waited or tried to connect at most `bound`.
    pub(super) fn from_pool(error: PoolError, bound: Duration) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::PoolWait(bound),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Self::PoolConnect(bound),
            PoolError::Backend(error) => Self::Postgres(error),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::Closed,
        }
    }

    /// The kind that the domain distinguishes.
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Postgres(error) => postgres_kind(error),
            Self::Decode(_) | Self::NoRow => StoreErrorKind::Internal,
            Self::PoolWait(_) | Self::PoolConnect(_) | Self::TimedOut(_) => StoreErrorKind::TimedOut,
            Self::Reconnecting | Self::Standby | Self::Closed => StoreErrorKind::Unavailable,
        }
    }

    /// The same as the domain's error of `operation`.
    pub(super) fn into_store_error(self, operation: &'static str) -> StoreError {
        StoreError::new(operation, self.kind(), self)
    }

    /// Whether the whole operation may be tried again: nothing of it can have been committed, and a later attempt
    /// can succeed. After a COMMIT only when the server itself says that it rolled back.
    pub(super) fn may_retry(&self, reached: Reached) -> bool {
        let Self::Postgres(error) = self else { return false };
        let rolled_back = matches!(
            error.code(),
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
        );
        match reached {
            Reached::Commit => rolled_back,
            Reached::Statements => {
                rolled_back
                    || error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
                    || self.kind() == StoreErrorKind::Unavailable
            }
        }
    }
}

/// Whether the fault lies with the connection: never opened, or lost.
pub(super) fn is_broken_connection(error: &Error) -> bool {
    error.is_closed() || error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>)
}

fn postgres_kind(error: &Error) -> StoreErrorKind {
    let Some(code) = error.code() else {
        return if is_broken_connection(error) || TlsProblem::of(error).is_some() {
            StoreErrorKind::Unavailable
        } else {
            StoreErrorKind::Internal
        };
    };
    match code.code() {
        "25006" => StoreErrorKind::ReadOnly,
        "53100" => StoreErrorKind::StorageFull,
        // statement_timeout, lock_timeout, idle and transaction time-outs; contention that outlived all retries
        "57014" | "55P03" | "25P03" | "25P04" | "57P05" | "40001" | "40P01" => StoreErrorKind::TimedOut,
        // The role, its password or the database were changed while we ran.
        "28000" | "28P01" | "3D000" => StoreErrorKind::Unavailable,
        // Connections (08), out of memory, disk or connections (53), shutting down or starting up (57P0x).
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
            StoreErrorKind::Unavailable
        }
        _ => StoreErrorKind::Internal,
    }
}
