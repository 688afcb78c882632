//! What nodes tell each other over Redis' channel, most of it published by the scripts. Every message may be lost: it only
//! makes something known sooner.

use crate::Key;

/// The channel.
pub const CHANNEL: &str = "phl:channel";
/// Hexadecimal digits of a key: its name and its neighbourhood.
const KEY_DIGITS: usize = 48;

/// Hexadecimal digits of an installation.
const INSTALLATION_DIGITS: usize = 8;

/// Says that everything was reset, for the so-manieth time.
pub(super) fn reset_all(installation: u32, resets: u64) -> String {
    format!("R{installation:08x}{resets}")
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// Nobody may admit more than this without asking.
    Escrow(Key, u32),
    /// The key is blocked until this time of Redis' clock, in microseconds.
    Blocked(Key, u64),
    /// Units came back: who was refused may be admitted sooner.
    Refunded(Key),
    /// The block ended.
    Lifted(Key),
    /// All about the key is forgotten.
    Reset(Key),
    /// All about all keys is forgotten, for the so-manieth time.
    ResetAll(u64),
}

impl Message {
    /// Reads one, and how many resets of everything came before it; `None` if it is none of this installation.
    pub(super) fn read(installation: u32, payload: &[u8]) -> Option<(u64, Self)> {
        let text = std::str::from_utf8(payload).ok()?;
        let (kind, rest) = text.split_at_checked(1)?;
        let (of, rest) = rest.split_at_checked(INSTALLATION_DIGITS)?;
        if u32::from_str_radix(of, 16) != Ok(installation) {
            return None;
        }
        if kind == "R" {
            return rest.parse().ok().map(|resets| (resets, Self::ResetAll(resets)));
        }
        let (resets, rest) = rest.split_once(':')?;
        Some((resets.parse().ok()?, Self::read_of_key(kind, rest)?))
    }

    fn read_of_key(kind: &str, rest: &str) -> Option<Self> {
        let (key, rest) = rest.split_at_checked(KEY_DIGITS)?;
        if !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (name, neighbourhood) = key.split_at(32);
        let key = Key::from_parts(
            u128::from_str_radix(name, 16).ok()?,
            u64::from_str_radix(neighbourhood, 16).ok()?,
        );
        match (kind, rest) {
            ("e", units) => units.parse().ok().map(|units| Self::Escrow(key, units)),
            ("b", until) => until.parse().ok().map(|until| Self::Blocked(key, until)),
            ("u", "") => Some(Self::Refunded(key)),
            ("l", "") => Some(Self::Lifted(key)),
            ("r", "") => Some(Self::Reset(key)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0000000b4:000000000000000000000000000000ff000000000000000a";
    const KEY: Key = Key::from_parts(255, 10);

    #[test]
    fn messages_are_read_and_garbage_is_not() {
        for (text, message) in [
            (format!("e{ID}12"), Some(Message::Escrow(KEY, 12))),
            (format!("b{ID}1795384938123456"), Some(Message::Blocked(KEY, 1_795_384_938_123_456))),
            (format!("u{ID}"), Some(Message::Refunded(KEY))),
            (format!("l{ID}"), Some(Message::Lifted(KEY))),
            (format!("r{ID}"), Some(Message::Reset(KEY))),
            (reset_all(11, 3), Some(Message::ResetAll(3))),
            (reset_all(12, 3), None),
            (format!("b0000000c{}5", &ID[8..]), None),
            (String::new(), None),
            ("R".to_owned(), None),
            ("R0000000b".to_owned(), None),
            ("R0000000bx".to_owned(), None),
            (format!("e{ID}"), None),
            (format!("e{ID}-1"), None),
            (format!("u{ID}1"), None),
            (format!("x{ID}"), None),
            (format!("u{}", &ID[10..]), None),
            (format!("u{}", &ID[..57]), None),
            (format!("u0000000b4:+{}", &ID[11..]), None),
        ] {
            let resets = if text.starts_with('R') { 3 } else { 4 };
            assert_eq!(
                Message::read(11, text.as_bytes()),
                message.map(|message| (resets, message)),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fail(payload in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,60}") {
            Message::read(0, &payload);
            Message::read(0, text.as_bytes());
        }
    }
}
