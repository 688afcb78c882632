//! Cache keys: 32 bytes that are uniformly distributed already, such as a keyed hash.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A key. It must come from a keyed hash: its first eight bytes are its hash value, so whoever could choose them
/// could make entries collide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key([u8; 32]);

impl Key {
    /// From the output of a keyed hash.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its hash value.
    pub(crate) fn prefix(&self) -> u64 {
        self.0.first_chunk().map_or(0, |prefix| u64::from_le_bytes(*prefix))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

/// Passes the key's own distribution through.
#[derive(Default, Clone, Copy)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

pub(crate) type BuildIdentity = BuildHasherDefault<Identity>;
