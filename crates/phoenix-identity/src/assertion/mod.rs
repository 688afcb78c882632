//! Assertions: what an application behind Phoenix is told of a caller, signed, so that it need not trust its network.
//!
//! An assertion is a JWT (RFC 7519) with ES256 (RFC 7518 section 3.4). Owns the keys, their rotation, their public
//! form (RFC 7517), the claims, and the tokens that are used again. Does not own who the caller is, the files that keys
//! may stand in, nor the request that an assertion travels with.

mod derived;
mod jwks;
mod key;
mod keys;
mod mint;
#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

pub use self::key::KeyRefusal;
pub use self::keys::{AssertionKeys, MAX_ASSERTION_KEYS};
pub use self::mint::{Assertion, AssertionMint, AssertionStamp, AssertionSubject, CACHE_BYTES};

/// How long an assertion may count. Below a second nothing could use it; an hour is the shortest rotation, so that a
/// key is published for at least as long as anything that it signed.
pub const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// How long a derived key may sign. Applications keep the public keys for minutes, hence not below an hour.
pub const ROTATIONS: std::ops::RangeInclusive<Duration> =
    Duration::from_hours(1)..=Duration::from_hours(24 * 365);

/// Why assertions cannot be made as they were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AssertionError {
    /// Outside of [`LIFETIMES`].
    #[error("assertions cannot count for {0:?}; 1 s to 1 h can be")]
    Lifetime(Duration),
    /// Outside of [`ROTATIONS`].
    #[error("keys of assertions cannot be replaced every {0:?}; 1 h to 365 d can be")]
    Rotation(Duration),
    /// None, or more than [`MAX_ASSERTION_KEYS`].
    #[error("there are {0} keys for assertions; 1 to {MAX_ASSERTION_KEYS} can be")]
    Count(usize),
    /// One of the texts is no key: its number, from 0.
    #[error("read key {0} for assertions")]
    Key(usize, #[source] KeyRefusal),
    /// The library refuses to make a key. It does not happen.
    #[error("derive a key for assertions")]
    Derivation,
}
