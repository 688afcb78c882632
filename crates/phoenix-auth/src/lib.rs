//! Users, sessions and tokens: what they are and what may be done with them.
//!
//! Owns the domain model ([`model`]), the traits that a store, a cache, a clock and a password pool must
//! implement ([`ports`]), and one file per use case ([`ops`]). Does not own HTTP, SQL, Redis, threads, the
//! clock or randomness: all of these are arguments.

pub mod error;
pub mod model;
pub mod ops;
pub mod policy;
pub mod ports;

pub use error::AuthError;
pub use ops::Auth;
