//! The signing keys of issuers: what they are ([`jwk`]), where they come from ([`origin`]), and how they are kept
//! ([`source`]).

pub(crate) mod jwk;
pub(crate) mod origin;
pub(crate) mod source;

pub use jwk::MAX_KEYS;
pub use source::KeySetStats;
