//! Everything a use case can answer besides success. The HTTP surface maps it in one exhaustive match.

use std::time::Duration;

use crate::ports::{PasswordPoolBusy, StoreError};

/// A field of the request that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    /// Name as in JSON.
    pub field: &'static str,
    /// What would do.
    pub reason: String,
}

/// Why a use case refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Fields of the request are invalid.
    #[error("the request has invalid fields")]
    Invalid(Vec<FieldError>),
    /// Email or password is wrong, or the account does not exist: the caller cannot tell which.
    #[error("email or password is wrong")]
    InvalidCredentials,
    /// The credentials are right, and the account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The session presented is unknown or has ended.
    #[error("the session is unknown or has ended")]
    SessionEnded,
    /// A token was presented that was replaced long ago; its session has been ended.
    #[error("a replaced token was presented; its session has been ended")]
    TokenReplayed,
    /// The session was opened by an outside identity provider, whose token is renewed there.
    #[error("the session belongs to an outside identity provider")]
    ExternalSession,
    /// The user has as many sessions as they may.
    #[error("the user has as many sessions as they may")]
    SessionCapReached,
    /// Strangers may not register here.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The account is shared, so its password stays.
    #[error("the account is shared")]
    SharedAccount,
    /// An account with this email exists.
    #[error("the email is taken")]
    EmailTaken,
    /// No such user or session.
    #[error("not found")]
    NotFound,
    /// It would leave no enabled administrator.
    #[error("the last administrator must stay")]
    LastAdministrator,
    /// Too much password work is waiting.
    #[error("password workers are busy")]
    Busy {
        /// When trying again is sensible.
        retry_after: Duration,
    },
    /// A stored password hash is unusable, or hashing failed.
    #[error("password hashing failed")]
    Hashing(#[source] crate::model::PasswordHashError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl AuthError {
    /// One invalid field.
    pub fn field(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field, reason: reason.into() }])
    }
}

impl From<StoreError> for AuthError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PasswordPoolBusy> for AuthError {
    fn from(busy: PasswordPoolBusy) -> Self {
        Self::Busy { retry_after: busy.retry_after }
    }
}
