//! TLS of the connections to PostgreSQL and Redis: whom they trust, how a server proves who it is, and what is said
//! when it does not. What the two protocols do with it is in `postgres/tls.rs` and `redis/tls.rs`.
//!
//! The server is verified wherever TLS is used. There is no switch to leave that out.

mod authorities;
mod chain_only;
mod problem;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authorities::{Authorities, AuthorityError};
pub use problem::{TlsPeer, TlsProblem};

pub(crate) use chain_only::ChainOnly;

/// The cryptography, named because a default of the process would be somebody else's choice.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
