//! The session token: `phx_s_`, 256 random bits in base62, 6 characters of base62 CRC-32.
//!
//! The checksum lets junk be refused before any look-up, and lets secret scanners find leaks with certainty.
//! The token itself exists only on its way to and from the client; everything at rest is its [`TokenHash`].

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Identity, KeyRing};
use crate::ports::Entropy;

const PREFIX: &str = "phx_s_";
/// 62^43 > 2^256.
const RANDOM_CHARS: usize = 43;
/// 62^6 > 2^32.
const CHECK_CHARS: usize = 6;
const BODY: usize = PREFIX.len() + RANDOM_CHARS;
/// Length of every token in bytes.
const LENGTH: usize = BODY + CHECK_CHARS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in the clear. Never logged, never stored; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// What every token begins with.
    pub const PREFIX: &str = PREFIX;

    /// A new token of 256 random bits.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; 32];
        entropy.fill(&mut random);
        let token = Self::from_random(random);
        random.zeroize();
        token
    }

    /// The token that follows this one when it is refreshed.
    ///
    /// A keyed function of this token, so that tabs that race to refresh are all handed the same successor
    /// without anyone having to remember it in the clear.
    #[must_use]
    pub fn successor(&self, keys: &KeyRing) -> Self {
        Self::from_random(keys.successor_of(&self.0))
    }

    /// Checks length, prefix, alphabet and checksum. Touches no store.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_well_formed(text).then(|| Self(text.to_owned()))
    }

    /// The token's text, to hand to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up instead of the token.
    #[must_use]
    pub fn hash(&self, keys: &KeyRing) -> TokenHash {
        TokenHash(keys.hash_token(&self.0))
    }

    fn from_random(random: [u8; 32]) -> Self {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        text.push_str(std::str::from_utf8(&base62_256(random)).unwrap_or_default());
        let check = base62_32(crc32fast::hash(text.as_bytes()));
        text.push_str(std::str::from_utf8(&check).unwrap_or_default());
        Self(text)
    }
}

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// HMAC-SHA-256 of a token under the instance's key: the name of a session in every tier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a token still borrowed from a header, without copying it. `None` when it is not well formed.
    #[must_use]
    pub fn of_presented(text: &str, keys: &KeyRing) -> Option<Self> {
        is_well_formed(text).then(|| Self(keys.hash_token(text)))
    }

    /// Of an outside provider's token, whatever it is: its name in the pool of verified tokens.
    #[must_use]
    pub fn of_external_token(text: &str, keys: &KeyRing) -> Self {
        Self(keys.hash_token(text))
    }

    /// Of a session that an outside provider opened: its name in every tier, as the hash of a token is for ours. Of
    /// each user another one: some providers keep the name of a session when another user signs in in a browser.
    #[must_use]
    pub fn of_external_session(identity: &Identity, session: &str, keys: &KeyRing) -> Self {
        Self(keys.hash_external_session(identity, session))
    }

    /// From a hash read back from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    /// The first four bytes: enough to follow one session through a log, useless to an attacker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(f, "TokenHash({:08x}..)", u32::from_be_bytes([first, second, third, fourth]))
    }
}

fn is_well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != LENGTH || !bytes.starts_with(PREFIX.as_bytes()) {
        return false;
    }
    let (body, check) = bytes.split_at(BODY);
    // Nothing but a token of ours, or one made to look like it, has the right checksum: the alphabet needs no look.
    base62_32(crc32fast::hash(body)) == check
}

/// Most significant digit first, zero-padded.
fn base62_256(mut number: [u8; 32]) -> [u8; RANDOM_CHARS] {
    let mut out = [b'0'; RANDOM_CHARS];
    for slot in out.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *slot = digit(remainder);
    }
    out
}

fn base62_32(mut number: u32) -> [u8; CHECK_CHARS] {
    let mut out = [b'0'; CHECK_CHARS];
    for slot in out.iter_mut().rev() {
        *slot = digit(number % 62);
        number /= 62;
    }
    out
}

fn digit(value: u32) -> u8 {
    ALPHABET.get(value as usize).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> KeyRing {
        KeyRing::derive(b"a secret for tests")
    }

    /// Schoolbook conversion through decimal-free repeated subtraction of powers, as an independent model.
    fn value_of(text: &str) -> Vec<u8> {
        let mut number = vec![0_u8; 33];
        for c in text.bytes() {
            let mut carry = ALPHABET.iter().position(|a| *a == c).expect("in the alphabet");
            for byte in number.iter_mut().rev() {
                let v = usize::from(*byte) * 62 + carry;
                *byte = u8::try_from(v & 0xff).expect("masked");
                carry = v >> 8;
            }
            assert_eq!(carry, 0);
        }
        number
    }

    proptest! {
        #[test]
        fn base62_keeps_every_bit(random in any::<[u8; 32]>()) {
            let token = SessionToken::from_random(random);
            prop_assert_eq!(token.expose().len(), LENGTH);
            let number = value_of(&token.expose()[PREFIX.len()..BODY]);
            prop_assert_eq!(&number[1..], &random[..]);
            prop_assert!(SessionToken::parse(token.expose()).is_some());
        }

        #[test]
        fn any_single_changed_character_is_noticed(random in any::<[u8; 32]>(), at in 0..LENGTH, with in 0_usize..62) {
            let token = SessionToken::from_random(random);
            let mut bytes = token.expose().as_bytes().to_vec();
            prop_assume!(bytes[at] != ALPHABET[with]);
            bytes[at] = ALPHABET[with];
            prop_assert!(!is_well_formed(std::str::from_utf8(&bytes).expect("ascii")));
        }

        #[test]
        fn arbitrary_text_never_panics_and_never_passes(text in any::<String>()) {
            prop_assert!(TokenHash::of_presented(&text, &keys()).is_none());
        }
    }

    #[test]
    fn the_successor_is_the_same_for_everyone_and_new() {
        let token = SessionToken::from_random([7; 32]);
        assert_eq!(token.successor(&keys()), token.successor(&keys()));
        assert_ne!(token.successor(&keys()), token);
        assert_ne!(token.successor(&keys()), token.successor(&KeyRing::derive(b"other")));
    }

    #[test]
    fn nothing_prints_a_token() {
        let token = SessionToken::from_random([9; 32]);
        assert_eq!(format!("{token:?}"), "SessionToken(..)");
        assert!(format!("{:?}", token.hash(&keys())).len() < 24);
    }
}
