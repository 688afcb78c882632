//! A device on which an account was signed in to before, as the mark in its cookie tells (OWASP "Device Cookies").
//!
//! A mark is no credential: who holds it still needs the password. It only says which failed sign-ins are counted
//! together, so that an owner is not kept out by strangers who guess.

use std::time::Duration;

use super::{EmailKey, KeyRing, Timestamp};
use crate::ports::Entropy;

/// How long a mark counts after it was made.
pub const KNOWN_DEVICE_LIFETIME: Duration = Duration::from_hours(400 * 24);

const VERSION: &str = "1";
const NONCE: usize = 16;
const SEAL: usize = 32;

/// One device of one account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownDevice {
    nonce: [u8; NONCE],
    marked_at: Timestamp,
}

impl KnownDevice {
    /// A device that nobody has seen before.
    #[must_use]
    pub fn mark(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        Self { nonce, marked_at: now }
    }

    /// Tells devices apart; no secret.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; NONCE] {
        &self.nonce
    }

    /// The text for the cookie: version, nonce, time and a seal over them and the account, in hexadecimal digits.
    #[must_use]
    pub fn to_text(&self, account: &EmailKey, keys: &KeyRing) -> String {
        let time = self.marked_at.as_millis().to_be_bytes();
        let seal = keys.seal_device(account.as_str(), &self.nonce, time);
        let mut text = String::with_capacity(VERSION.len() + 3 + 2 * (NONCE + time.len() + SEAL));
        text.push_str(VERSION);
        for bytes in [&self.nonce[..], &time[..], &seal[..]] {
            text.push('.');
            for byte in bytes {
                text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
            }
        }
        text
    }

    /// The device, if the text was made by [`KnownDevice::to_text`] for this very account, and not too long ago.
    #[must_use]
    pub fn parse(text: &str, account: &EmailKey, keys: &KeyRing, now: Timestamp) -> Option<Self> {
        let mut parts = text.split('.');
        if parts.next()? != VERSION {
            return None;
        }
        let (nonce, time, seal) = (parts.next()?, parts.next()?, parts.next()?);
        let (nonce, time, seal): ([u8; NONCE], [u8; 8], [u8; SEAL]) =
            (unhex(nonce)?, unhex(time)?, unhex(seal)?);
        if parts.next().is_some() || !keys.device_seal_is_valid(account.as_str(), &nonce, time, &seal) {
            return None;
        }
        let marked_at = Timestamp::from_millis(i64::from_be_bytes(time));
        (now.since(marked_at) < KNOWN_DEVICE_LIFETIME).then_some(Self { nonce, marked_at })
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Exactly `N` bytes from lower-case hexadecimal digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value =
        |digit: u8| DIGITS.iter().position(|known| *known == digit).and_then(|at| u8::try_from(at).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Email;
    use crate::ports::testing::CountingEntropy;

    fn account(text: &str) -> EmailKey {
        Email::parse(text).expect("an address").key()
    }

    fn keys() -> KeyRing {
        KeyRing::derive(b"a secret for tests")
    }

    const NOW: Timestamp = Timestamp::from_millis(1_795_361_056_120);

    #[test]
    fn a_mark_counts_for_its_account_its_installation_and_its_time_only() {
        let ada = account("Ada@Example.com");
        let device = KnownDevice::mark(NOW, &CountingEntropy::default());
        let text = device.to_text(&ada, &keys());
        assert_eq!(KnownDevice::parse(&text, &account("ada@example.com"), &keys(), NOW), Some(device));
        assert_eq!(KnownDevice::parse(&text, &account("bob@example.com"), &keys(), NOW), None);
        assert_eq!(KnownDevice::parse(&text, &ada, &KeyRing::derive(b"another"), NOW), None);
        let last = NOW.plus(KNOWN_DEVICE_LIFETIME.saturating_sub(Duration::from_millis(1)));
        assert_eq!(KnownDevice::parse(&text, &ada, &keys(), last), Some(device));
        assert_eq!(KnownDevice::parse(&text, &ada, &keys(), NOW.plus(KNOWN_DEVICE_LIFETIME)), None);
        assert!(
            text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'.'),
            "fit for a cookie: {text}"
        );
    }

    proptest! {
        #[test]
        fn a_mark_with_any_other_character_does_not_count(at in 0_usize..116, with in "[0-9a-zA-Z.]") {
            let ada = account("ada@example.com");
            let text = KnownDevice::mark(NOW, &CountingEntropy::default()).to_text(&ada, &keys());
            prop_assert_eq!(text.len(), 116);
            prop_assume!(text[at..=at] != with);
            let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(KnownDevice::parse(&changed, &ada, &keys(), NOW), None);
        }

        #[test]
        fn garbage_is_no_mark(text in any::<String>()) {
            prop_assert_eq!(KnownDevice::parse(&text, &account("ada@example.com"), &keys(), NOW), None);
        }
    }
}
