//! What is counted: the name of a client under a rule, as 128 bits. Knows nothing of what the name stands for.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// Names a log of admissions. Two keys are equal exactly if what they were made of is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    name: u128,
    neighbourhood: u64,
}

impl Key {
    /// A key from what [`Self::name`] and [`Self::neighbourhood`] said elsewhere.
    #[must_use]
    pub const fn from_parts(name: u128, neighbourhood: u64) -> Self {
        Self { name, neighbourhood }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> u128 {
        self.name
    }

    /// Keys of one neighbourhood share a log when memory is full.
    #[must_use]
    pub const fn neighbourhood(self) -> u64 {
        self.neighbourhood
    }
}

/// Makes keys with a secret, so that nobody outside can find two clients whose keys are equal, and nobody who reads a
/// store learns addresses. Processes that share limits must share the secret.
#[derive(Clone)]
pub struct Keyer {
    secret: [u8; 16],
}

impl std::fmt::Debug for Keyer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyer").finish_non_exhaustive()
    }
}

impl Keyer {
    /// With this secret.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// Something of the secret that does not tell it, to be told apart from those with another one.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        u32::try_from(self.hash(b'f', "", &[]).h1 >> 32).unwrap_or_default()
    }

    /// The key of a client under the rule `scope`. `parts` say which client, `neighbourhood` which others it shares a
    /// log with when memory is full: a network that holds the address, or nothing to share with all of the rule.
    #[must_use]
    pub fn key(&self, scope: &str, parts: &[&[u8]], neighbourhood: &[u8]) -> Key {
        Key {
            name: self.hash(b'k', scope, parts).as_u128(),
            neighbourhood: self.hash(b'n', scope, &[neighbourhood]).h1,
        }
    }

    /// Every part with its length before it, so that no two lists of parts are written alike.
    fn hash(&self, kind: u8, scope: &str, parts: &[&[u8]]) -> siphasher::sip128::Hash128 {
        let mut text =
            Text { hasher: SipHasher24::new_with_key(&self.secret), bytes: [0; TEXT_BYTES], len: 0 };
        text.write(&[kind]);
        for part in std::iter::once(scope.as_bytes()).chain(parts.iter().copied()) {
            text.write(&(part.len() as u64).to_le_bytes());
            text.write(part);
        }
        text.finish()
    }
}

/// Bytes hashed together.
const TEXT_BYTES: usize = 128;

/// What is hashed, put together before: the hash takes much longer for many small pieces than for one.
struct Text {
    hasher: SipHasher24,
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    fn write(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        } else {
            self.flush();
            self.hasher.write(part);
        }
    }

    fn flush(&mut self) {
        self.hasher.write(&self.bytes[..self.len]);
        self.len = 0;
    }

    fn finish(mut self) -> siphasher::sip128::Hash128 {
        self.flush();
        self.hasher.finish128()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// All nodes, of this version and others, name a client alike.
        #[test]
        fn a_key_is_the_hash_of_its_parts_one_after_the_other(
            scope in "[a-z]{0,20}",
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..150), 0..5),
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let mut hasher = SipHasher24::new_with_key(&[7; 16]);
            hasher.write(b"k");
            for part in std::iter::once(scope.as_bytes()).chain(parts.iter().copied()) {
                hasher.write(&(part.len() as u64).to_le_bytes());
                hasher.write(part);
            }
            let expected = hasher.finish128().as_u128();
            prop_assert_eq!(Keyer::new([7; 16]).key(&scope, &parts, b"").name(), expected);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let keyer = Keyer::new([7; 16]);
        let key = |scope: &str, parts: &[&[u8]]| keyer.key(scope, parts, b"").name();
        assert_ne!(key("a", &[b"bc", b"d"]), key("a", &[b"b", b"cd"]));
        assert_ne!(key("a", &[b"b"]), key("ab", &[]));
        assert_ne!(key("a", &[b"b"]), key("a", &[b"b", b""]));
        assert_eq!(key("a", &[b"b"]), key("a", &[b"b"]));
        assert_ne!(keyer.fingerprint(), Keyer::new([8; 16]).fingerprint());
        assert_ne!(key("a", &[b"b"]), Keyer::new([8; 16]).key("a", &[b"b"], b"").name());
    }
}
