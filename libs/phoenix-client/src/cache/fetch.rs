//! The seam between the keys that are kept and the way they come.

use std::future::Future;
use std::pin::Pin;

use thiserror::Error;

use crate::jwks::JwksError;

/// A fetch under way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send>>;

/// Brings the text of the set of keys.
pub trait Fetch: Send + Sync + 'static {
    /// Begins to bring it. It must end by itself: nobody else bounds its time.
    fn fetch(&self) -> Fetching;
}

/// Why there are no keys.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What should say where Phoenix is does not.
    #[error("the address of Phoenix must be an origin such as https://phoenix.example.com")]
    Address,
    /// None, or damaged.
    #[error("read the certificates to trust")]
    Certificates,
    /// The TLS library refuses its own parameters. It does not happen.
    #[error("prepare TLS")]
    Tls,
    /// No connection, no TLS that can be trusted, or the connection broke.
    #[error("ask Phoenix for its keys")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200.
    #[error("Phoenix answered with status {0}")]
    Status(u16),
    /// It took too long.
    #[error("Phoenix did not answer in time")]
    Timeout,
    /// What came is no set of keys.
    #[error("read the keys of Phoenix")]
    Keys(#[source] JwksError),
}
