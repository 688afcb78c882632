//! Why an operation on SQLite failed, and which kind of store error that is.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ports::{StoreError, StoreErrorKind};
use rusqlite::{Error, ErrorCode};

use crate::decode::DecodeError;

/// Why an operation failed. Cheap to clone, because a group commit fails for many callers at once.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("SQLite refused the statement")]
    Sqlite(#[source] Arc<Error>),
    #[error("a stored row cannot be read")]
    Decode(#[from] DecodeError),
    #[error("the write was not committed within {0:?}")]
    TimedOut(Duration),
    #[error("the store is closed")]
    Closed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl Failure {
    /// The kind that the domain distinguishes.
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Sqlite(error) => sqlite_kind(error),
            Self::Decode(_) => StoreErrorKind::Internal,
            Self::TimedOut(_) => StoreErrorKind::TimedOut,
            Self::Closed => StoreErrorKind::Unavailable,
        }
    }

    /// The same as the domain's error of `operation`.
    pub(super) fn into_store_error(self, operation: &'static str) -> StoreError {
        StoreError::new(operation, self.kind(), self)
    }
}

fn sqlite_kind(error: &Error) -> StoreErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::TimedOut,
        Some(ErrorCode::ReadOnly) => StoreErrorKind::ReadOnly,
        Some(ErrorCode::DiskFull) => StoreErrorKind::StorageFull,
        Some(ErrorCode::SystemIoFailure) if is_write_failure(error) => StoreErrorKind::StorageFull,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreErrorKind::Unavailable
        }
        // Everything else, also what SQLite does not know yet, is a defect or a broken file.
        Some(_) | None => StoreErrorKind::Internal,
    }
}

/// Whether the system refused to write or extend the file: a quota or a size limit.
fn is_write_failure(error: &Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    matches!(extended, Some(rusqlite::ffi::SQLITE_IOERR_WRITE | rusqlite::ffi::SQLITE_IOERR_SHMSIZE))
}
