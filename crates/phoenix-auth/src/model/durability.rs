//! Durability as a type (invariant 2): what a store returns says whether the write survives a crash.
//!
//! A use case may acknowledge a login, revoke or password change only with a [`Durable`] in hand, and a store
//! may make one only after a synchronous commit.

/// The result of a write that a synchronous commit has made permanent.
#[derive(Debug)]
#[must_use = "the outcome of a durable write must be looked at before it is acknowledged"]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// To be called by a store, after its commit has returned.
    pub fn committed(outcome: T) -> Self {
        Self(outcome)
    }

    /// The outcome, to be acknowledged.
    pub fn acknowledge(self) -> T {
        self.0
    }
}

/// The result of a coalesced write of which a crash may lose the last seconds.
#[derive(Debug)]
pub struct Relaxed<T>(T);

impl<T> Relaxed<T> {
    /// To be called by a store, after it has accepted the write.
    pub fn accepted(outcome: T) -> Self {
        Self(outcome)
    }

    /// The outcome. Nothing may be promised to a user because of it.
    pub fn into_inner(self) -> T {
        self.0
    }
}
