//! What the domain needs from outside: a store, a cache, a clock, randomness, and a place to hash passwords.
//!
//! Implementations live in `phoenix-store` and in the binary. Methods that matter to security have no default
//! body. "Not found" is `Option`; everything else that can go wrong in a store is one opaque [`StoreError`].

mod accounts;
mod blocks;
mod cache;
mod events;
mod external;
mod log;
mod outside;
mod sessions;

use std::sync::Arc;

pub use accounts::{
    AccessChange, AccessChanged, AccountStore, Credentials, NewUser, PasswordChange, UserCreated,
};
pub use blocks::{BlockChange, BlockCursor, BlockFilter, BlockPage, BlockStore};
pub use cache::{Lookup, PooledToken, SessionCache, Tier};
pub use events::{EventFilter, SecurityLog};
pub use external::{
    EndedExternal, ExternalOpened, ExternalProfile, ExternalStore, IdentityVerifier, NewExternalSession,
    VerifiedToken, VerifyError,
};
pub use log::{Invalidation, InvalidationLog, LogPage, Stale};
#[cfg(test)]
pub(crate) use outside::testing;
pub use outside::{Clock, Entropy, EventSink, GeoLocator, PasswordPool, PasswordPoolBusy};
pub use sessions::{
    Activity, CapPolicy, EndScope, FoundSession, NewSession, Rotated, Rotation, SessionCap, SessionOpened,
    SessionStore, SessionsEnded,
};

/// Why a store could not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// Cannot be reached, or the connection broke.
    Unavailable,
    /// Reached, but did not answer within its time.
    TimedOut,
    /// Refuses writes.
    ReadOnly,
    /// No space is left where it writes.
    StorageFull,
    /// A defect: bad SQL, a broken row, a violated assumption.
    Internal,
}

/// A store failed. Says which operation, never with what data; the cause is its source.
#[derive(Debug, thiserror::Error)]
#[error("the store could not {operation} ({kind:?})")]
pub struct StoreError {
    operation: &'static str,
    kind: StoreErrorKind,
    #[source]
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Names the operation that failed, for example `"open a session"`.
    pub fn new(
        operation: &'static str,
        kind: StoreErrorKind,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, kind, cause: Arc::from(cause.into()) }
    }

    /// Whether it is an outage or a defect.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl Clone for StoreError {
    /// For callers that waited on the same look-up.
    fn clone(&self) -> Self {
        Self { operation: self.operation, kind: self.kind, cause: Arc::clone(&self.cause) }
    }
}

/// Everything that the truth must offer.
pub trait Store:
    AccountStore + SessionStore + ExternalStore + InvalidationLog + SecurityLog + BlockStore
{
}
impl<T: AccountStore + SessionStore + ExternalStore + InvalidationLog + SecurityLog + BlockStore> Store
    for T
{
}
