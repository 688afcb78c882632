//! Tells an application behind Phoenix who is calling.
//!
//! Owns the verification of assertions, the keys that it takes, and the extractors. Does not own what the application
//! allows whom, nor sessions: those are Phoenix's.
//!
#![doc = include_str!("../README.md")]

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "fetch")]
mod cache;
mod identity;
mod jwks;
mod token;
mod verifier;

#[cfg(feature = "axum")]
pub use self::axum::{ASSERTION_HEADER, Rejection};
#[cfg(feature = "fetch")]
pub use self::cache::{Fetch, FetchError, Fetching, HttpFetch, JwksCache, JwksCacheStats};
pub use self::identity::Identity;
pub use self::jwks::{Jwks, JwksError, MAX_JWKS_BYTES, MAX_KEYS};
pub use self::token::MAX_TOKEN_BYTES;
pub use self::verifier::{LEEWAY, Verifier, VerifyError};
