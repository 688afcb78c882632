//! The keys that protect tokens at rest, all derived from one secret.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Identity;

type HmacSha256 = Hmac<Sha256>;

/// Keys derived from the instance's secret, one per purpose (HMAC-SHA-256 as the derivation, RFC 2104).
///
/// Cloning is cheap next to its use: each key is a prepared HMAC state.
#[derive(Clone)]
pub struct KeyRing {
    token_hash: HmacSha256,
    successor: HmacSha256,
    cache_seal: HmacSha256,
    external_session: HmacSha256,
    device_feature: HmacSha256,
    device_mark: HmacSha256,
    limited_keys: [u8; 16],
    assertion: [u8; 32],
    fingerprint: [u8; 32],
}

impl KeyRing {
    /// Derives every key from `secret`, which should hold at least 256 bits of randomness.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let root = keyed(secret);
        let derive = |purpose: &[u8]| mac(&root, &[purpose]);
        Self {
            token_hash: keyed(&derive(b"phoenix token hash v1")),
            successor: keyed(&derive(b"phoenix token successor v1")),
            cache_seal: keyed(&derive(b"phoenix cache seal v1")),
            external_session: keyed(&derive(b"phoenix external session v1")),
            device_feature: keyed(&derive(b"phoenix device feature v1")),
            device_mark: keyed(&derive(b"phoenix device mark v1")),
            limited_keys: half(derive(b"phoenix limited keys v1")),
            assertion: derive(b"phoenix assertion secret v1"),
            fingerprint: derive(b"phoenix key fingerprint v1"),
        }
    }

    /// What a store keeps to notice that a node runs with another secret. Reveals nothing of it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    pub(super) fn hash_token(&self, token: &str) -> [u8; 32] {
        mac(&self.token_hash, &[token.as_bytes()])
    }

    /// Of the name of a session at an outside provider, with whose it is. The lengths keep names from running into
    /// each other.
    pub(super) fn hash_external_session(&self, identity: &Identity, session: &str) -> [u8; 32] {
        let names = [identity.issuer(), identity.subject(), session].map(str::as_bytes);
        let lengths = names.map(|name| name.len().to_be_bytes()).concat();
        mac(&self.external_session, &[&lengths, names[0], names[1], names[2]])
    }

    pub(super) fn successor_of(&self, token: &str) -> [u8; 32] {
        mac(&self.successor, &[token.as_bytes()])
    }

    /// What is kept of one feature of a device. The name must not contain a zero byte.
    pub(super) fn hash_feature(&self, name: &str, value: &str) -> [u8; 4] {
        let [first, second, third, fourth, ..] =
            mac(&self.device_feature, &[name.as_bytes(), &[0], value.as_bytes()]);
        [first, second, third, fourth]
    }

    /// Seals the mark of a device on which `account` was signed in to. All parts but the account have a fixed length.
    pub(super) fn seal_device(&self, account: &str, nonce: &[u8; 16], time: [u8; 8]) -> [u8; 32] {
        mac(&self.device_mark, &[nonce, &time, account.as_bytes()])
    }

    /// Whether `seal` was made by [`KeyRing::seal_device`] over the same. Constant time.
    pub(super) fn device_seal_is_valid(
        &self,
        account: &str,
        nonce: &[u8; 16],
        time: [u8; 8],
        seal: &[u8],
    ) -> bool {
        let mut state = self.device_mark.clone();
        for part in [nonce.as_slice(), &time, account.as_bytes()] {
            state.update(part);
        }
        state.verify_slice(seal).is_ok()
    }

    /// The secret from which the names of rate-limited clients are made: the same on every node.
    #[must_use]
    pub const fn limited_keys(&self) -> [u8; 16] {
        self.limited_keys
    }

    /// The secret from which the keys that sign assertions for applications are made: the same on every node.
    #[must_use]
    pub const fn assertion_secret(&self) -> [u8; 32] {
        self.assertion
    }

    /// Seals a value kept under `key` in a shared cache, so that who can write there cannot forge a session
    /// nor move one under another key.
    #[must_use]
    pub fn seal(&self, key: &[u8], value: &[u8]) -> [u8; 32] {
        mac(&self.cache_seal, &[key, value])
    }

    /// Whether `seal` was made by [`KeyRing::seal`] over the same key and value. Constant time.
    #[must_use]
    pub fn seal_is_valid(&self, key: &[u8], value: &[u8], seal: &[u8]) -> bool {
        let mut state = self.cache_seal.clone();
        state.update(key);
        state.update(value);
        state.verify_slice(seal).is_ok()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn half(bytes: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    half
}

fn mac(key: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut state = key.clone();
    for part in parts {
        state.update(part);
    }
    state.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_binds_key_and_value() {
        let keys = KeyRing::derive(b"one secret");
        let seal = keys.seal(b"key-one", b"value");
        assert!(keys.seal_is_valid(b"key-one", b"value", &seal));
        assert!(!keys.seal_is_valid(b"key-two", b"value", &seal));
        assert!(!keys.seal_is_valid(b"key-one", b"valuE", &seal));
        assert!(!keys.seal_is_valid(b"key-one", b"value", &seal[..31]));
        assert!(!KeyRing::derive(b"another").seal_is_valid(b"key-one", b"value", &seal));
    }

    #[test]
    fn each_purpose_and_each_secret_has_its_own_key() {
        let (one, two) = (KeyRing::derive(b"one"), KeyRing::derive(b"two"));
        assert_ne!(one.hash_token("t"), one.successor_of("t"));
        assert_ne!(one.hash_token("t"), two.hash_token("t"));
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.assertion_secret(), two.assertion_secret());
        assert_ne!(one.assertion_secret(), one.fingerprint());
        assert_ne!(one.hash_feature("name", "value"), two.hash_feature("name", "value"));
        assert_ne!(one.hash_feature("name", "value"), one.hash_feature("other", "value"));
    }

    #[test]
    fn sessions_of_two_users_or_two_issuers_never_have_one_name() {
        let keys = KeyRing::derive(b"one");
        let name = |issuer, subject, session| {
            let identity = Identity::new(issuer, subject).expect("an identity");
            keys.hash_external_session(&identity, session)
        };
        assert_eq!(name("i", "ada", "s"), name("i", "ada", "s"));
        for other in
            [name("i", "bob", "s"), name("j", "ada", "s"), name("i", "ada", "t"), name("ia", "da", "s")]
        {
            assert_ne!(name("i", "ada", "s"), other);
        }
        assert_ne!(name("i", "ad", "as"), name("i", "ada", "s"));
    }
}
