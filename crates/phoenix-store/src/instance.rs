//! What a store remembers about the installation itself: its generated secret, and the fingerprint of the key
//! that its token hashes were made with.

use async_trait::async_trait;
use phoenix_auth::model::Durable;
use phoenix_auth::ports::StoreError;

/// Whether this node's key is the one that the stored token hashes were made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FingerprintCheck {
    /// It is.
    Matches,
    /// No key was known; this one is now.
    FirstUse,
    /// It is another key: none of the stored sessions could be found with it.
    Differs,
}

/// Facts about the installation.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// The secret that was generated for this installation; `candidate`, if there was none. Of nodes that start at
    /// the same moment, one candidate wins on all.
    async fn get_or_set_secret(&self, candidate: [u8; 32]) -> Result<Durable<[u8; 32]>, StoreError>;

    /// Compares the fingerprint of this node's key with the stored one; stores it if there is none.
    async fn check_fingerprint(&self, fingerprint: [u8; 32])
    -> Result<Durable<FingerprintCheck>, StoreError>;

    /// Stores another fingerprint and removes every session, in one transaction, because none could be found with
    /// the new key. For operators who change the key deliberately, while no other node runs.
    async fn replace_fingerprint(&self, fingerprint: [u8; 32]) -> Result<Durable<()>, StoreError>;
}

/// Key of the generated secret in table `instance`.
pub(crate) const SECRET: &str = "secret";
/// Key of the fingerprint in table `instance`.
pub(crate) const FINGERPRINT: &str = "key_fingerprint";

/// What a stored fingerprint says about this node's.
pub(crate) fn compare(inserted: bool, stored: &[u8], own: [u8; 32]) -> FingerprintCheck {
    match (inserted, stored == own) {
        (true, _) => FingerprintCheck::FirstUse,
        (false, true) => FingerprintCheck::Matches,
        (false, false) => FingerprintCheck::Differs,
    }
}
