//! Access tokens of outside identity providers.
//!
#![doc = include_str!("../README.md")]

pub mod assertion;
mod config;
mod http;
mod identity;
mod jws;
mod keys;
mod policy;
mod refusal;
mod stack_api;
#[cfg(test)]
mod tests;
mod token;
pub mod webhook;

pub use config::{
    Algorithm, IdentityConfig, IdentityConfigError, IdentityLimits, MAX_ISSUERS, MAX_NAMES, OidcIssuer,
    StackConfig,
};
pub use identity::Identity;
// Public for the sake of `fuzz/`: everything of a token is read before its signature is known to be good.
pub use jws::{Jws, MAX_TOKEN_BYTES};
pub use keys::{KeySetStats, MAX_KEYS};
pub use refusal::Refusal;
pub use stack_api::{LONGEST_RETRY_AFTER, StackApi, StackApiError, StackSession};
pub use token::{SessionReference, VerifiedToken};
