//! A device's fingerprint: made on the server from what every request carries, kept as keyed hashes, and scored
//! against the one a session was opened with.
//!
//! It is evidence, never identity: whoever copies all headers of a device has its fingerprint. It tells a cookie that
//! moved to another browser or system from one that stayed, and nothing finer: two like computers are one to it. Owns
//! the features, their weights and the stored form. Does not decide what follows from a score.
//!
//! A phone's browser that is asked for the desktop version of a site names another system, and counts as changed.

mod features;
mod header_order;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use features::DeviceFeatures;
use features::{COUNT, NAMES};
pub use header_order::HeaderOrderClass;

use super::KeyRing;

/// First byte of the stored form. To be raised when a feature, a table of names or a stable value changes, since the
/// same device then has another fingerprint.
const VERSION: u8 = 1;

/// Bytes of one feature's hash. Two values share a hash once in four thousand million.
const HASH_BYTES: usize = 4;

/// What a feature adds to the difference of two fingerprints, in points.
struct Weight {
    /// Both have it, and it is not the same.
    differs: u8,
    /// One has it, the other has not: a proxy or a setting may have removed it.
    one_sided: u8,
}

/// Weights in the order of [`NAMES`], without the languages. The sum counts up to 100.
///
/// Another browser or system is decisive alone. What only a change of browser or system explains stands there too, so
/// that hints that contradict a copied `User-Agent` count as much. Hints that vanish stay below 20 together.
const WEIGHTS: [Weight; COUNT - 2] = [
    // browser
    Weight { differs: 60, one_sided: 40 },
    // system
    Weight { differs: 65, one_sided: 33 },
    // engine
    Weight { differs: 10, one_sided: 5 },
    // form
    Weight { differs: 20, one_sided: 8 },
    // brands: tell Brave from Chrome, which send the same agent
    Weight { differs: 55, one_sided: 8 },
    // platform
    Weight { differs: 55, one_sided: 6 },
    // mobile
    Weight { differs: 20, one_sided: 4 },
    // encodings
    Weight { differs: 15, one_sided: 13 },
    // header order
    Weight { differs: 10, one_sided: 8 },
];

/// Points when no language is shared.
const OTHER_LANGUAGES: u8 = 35;
/// Points when only one side names a language. Every browser does, so its loss says much.
const LANGUAGES_ONE_SIDED: u8 = 30;
/// Points when one language is shared and another was added, removed or replaced.
const LANGUAGES_OVERLAP: u8 = 12;

/// What is kept of a device: for each feature whether it was there, and 32 bits of a keyed hash of its stable value.
///
/// Nothing can be read from it without the instance's secret. Fingerprints compare only under the same secret; when
/// that changes, every session has ended anyway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Bit `n` is set when feature `n` was absent; its hash is then zero.
    absent: u16,
    hashes: [[u8; HASH_BYTES]; COUNT],
}

impl Fingerprint {
    /// Length of the stored form in bytes.
    pub const BYTES: usize = 3 + COUNT * HASH_BYTES;

    /// A [`difference`](Self::difference) of this or more suggests another device: the default threshold.
    pub const CHANGED: u8 = 50;

    /// The fingerprint of the device that sent these headers. Any text will do; the work is bounded.
    #[must_use]
    pub fn of(features: &DeviceFeatures<'_>, keys: &KeyRing) -> Self {
        let mut absent = 0;
        let mut hashes = [[0; HASH_BYTES]; COUNT];
        let values = features.stable_values();
        for (index, (hash, (name, value))) in hashes.iter_mut().zip(NAMES.iter().zip(&values)).enumerate() {
            match value {
                Some(value) => *hash = keys.hash_feature(name, value),
                None => absent |= 1 << index,
            }
        }
        Self { absent, hashes }
    }

    /// How far two devices are apart: 0 the same, 100 nothing in common. Symmetric.
    ///
    /// An update of browser or system is 0. Client hints added or removed, or a language added, stay below 25; another
    /// browser or system, or a program that replays a browser's cookie, is at or above [`CHANGED`](Self::CHANGED).
    #[must_use]
    pub fn difference(&self, other: &Self) -> u8 {
        self.points(other).map(|(_, points)| points).fold(0, u8::saturating_add).min(100)
    }

    /// Names of the features in which two devices differ, for a log or an event: `browser`, `system`, `engine`,
    /// `form`, `brands`, `platform`, `mobile`, `encodings`, `header order`, `language`.
    pub fn changes(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        self.points(other).filter(|(_, points)| *points > 0).map(|(name, _)| name)
    }

    /// Each feature and what it adds; the languages together are one.
    fn points(&self, other: &Self) -> impl Iterator<Item = (&'static str, u8)> {
        let (one, two) = (self.features(), other.features());
        let scalar = NAMES.into_iter().zip(&WEIGHTS).zip(one.into_iter().zip(two));
        let scalar = scalar.map(|((name, weight), pair)| {
            let points = match pair {
                (Some(one), Some(two)) if one != two => weight.differs,
                (Some(_), None) | (None, Some(_)) => weight.one_sided,
                _ => 0,
            };
            (name, points)
        });
        let language = NAMES.into_iter().next_back().map(|name| (name, self.language_points(other)));
        scalar.chain(language)
    }

    fn features(&self) -> [Option<[u8; HASH_BYTES]>; COUNT] {
        let mut index = 0;
        self.hashes.map(|hash| {
            let present = self.absent & (1 << index) == 0;
            index += 1;
            present.then_some(hash)
        })
    }

    fn languages(&self) -> impl Iterator<Item = [u8; HASH_BYTES]> + Clone {
        self.features().into_iter().skip(WEIGHTS.len()).flatten()
    }

    fn language_points(&self, other: &Self) -> u8 {
        let (mine, theirs) = (self.languages(), other.languages());
        let shared = mine.clone().filter(|language| theirs.clone().any(|their| their == *language)).count();
        match (mine.count(), theirs.count()) {
            (0, 0) => 0,
            (0, _) | (_, 0) => LANGUAGES_ONE_SIDED,
            _ if shared == 0 => OTHER_LANGUAGES,
            (mine, theirs) if shared == mine.max(theirs) => 0,
            _ => LANGUAGES_OVERLAP,
        }
    }

    /// The stored form: version, bits of the absent features (big-endian), hashes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts =
            [VERSION].into_iter().chain(self.absent.to_be_bytes()).chain(self.hashes.into_iter().flatten());
        for (slot, byte) in bytes.iter_mut().zip(parts) {
            *slot = byte;
        }
        bytes
    }

    /// From the stored form. `None` when it is not one, or one of another version: the device is then not known, and
    /// its fingerprint is to be taken anew.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [VERSION, high, low, rest @ ..] = bytes else { return None };
        let absent = u16::from_be_bytes([*high, *low]);
        let (chunks, []) = rest.as_chunks::<HASH_BYTES>() else { return None };
        let hashes: [[u8; HASH_BYTES]; COUNT] = chunks.try_into().ok()?;
        let canonical = absent >> COUNT == 0
            && hashes
                .iter()
                .enumerate()
                .all(|(index, hash)| absent & (1 << index) == 0 || *hash == [0; HASH_BYTES]);
        canonical.then_some(Self { absent, hashes })
    }

    fn to_hex(self) -> String {
        let digits = self.to_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let mut bytes = [0; Self::BYTES];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (slot, pair) in bytes.iter_mut().zip(pairs) {
            *slot = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Self::from_bytes(&bytes)
    }
}

/// The value of a lower-case hexadecimal digit.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Debug for Fingerprint {
    /// Which features are there, and nothing of what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = NAMES.iter().zip(self.features()).filter(|(_, hash)| hash.is_some());
        f.write_str("Fingerprint")?;
        f.debug_list().entries(present.map(|(name, _)| name)).finish()
    }
}

impl Serialize for Fingerprint {
    /// The stored form in lower-case hexadecimal.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| de::Error::custom("not a fingerprint of this version"))
    }
}
