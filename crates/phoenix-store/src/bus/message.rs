//! Form of a message between nodes: 32 bytes of seal, then one byte for its kind and its fields, big-endian.
//!
//! The seal is HMAC-SHA-256 under the instance's key, so that who can write to the channel can neither forge a lease
//! nor make sessions stale.

use phoenix_auth::model::{KeyRing, Seq, SessionId, Timestamp, UserId};
use phoenix_auth::ports::{Invalidation, LogPage, Stale};
use uuid::Uuid;

use crate::tiers::LeasePage;

const SEAL_BYTES: usize = 32;
/// What a seal of a message is bound to, apart from every other seal.
const PURPOSE: &[u8] = b"phoenix bus message v1";
/// Bytes of an entry: number, kind, subject, time.
const ENTRY_BYTES: usize = 8 + 1 + 16 + 8;
/// Most entries in one message, so that it fits in a notification of PostgreSQL (8000 bytes of base64).
pub(super) const MAX_PUSHED: usize = 170;

/// One node, for as long as its process lives.
pub type Node = u64;

/// What nodes tell each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// These became stale.
    Pushed {
        /// Who says so.
        from: Node,
        /// What it is.
        entries: Vec<Invalidation>,
    },
    /// Who can read the log for me, after this number?
    Ask {
        /// Who asks.
        from: Node,
        /// Number of the question.
        question: u64,
        /// Number of the last entry that is known.
        after: Seq,
    },
    /// I have read it, after I was asked.
    Answer {
        /// Who asked.
        to: Node,
        /// Number of the question.
        question: u64,
        /// What was read.
        read: LeasePage,
    },
    /// Blocks began or were lifted, and are in the database.
    BlocksChanged {
        /// Who changed them.
        from: Node,
    },
}

impl Message {
    pub(super) fn seal(&self, keys: &KeyRing) -> Vec<u8> {
        let mut body = self.encode();
        let mut bytes = keys.seal(PURPOSE, &body).to_vec();
        bytes.append(&mut body);
        bytes
    }

    /// The message without its seal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        match self {
            Self::Pushed { from, entries } => {
                body.push(1);
                put(&mut body, *from);
                put_entries(&mut body, entries);
            }
            Self::Ask { from, question, after } => {
                body.push(2);
                for number in [*from, *question, after.0] {
                    put(&mut body, number);
                }
            }
            Self::Answer { to, question, read } => {
                body.push(3);
                for number in [*to, *question, read.after.0, read.page.last.0] {
                    put(&mut body, number);
                }
                put_entries(&mut body, &read.page.entries);
            }
            Self::BlocksChanged { from } => {
                body.push(4);
                put(&mut body, *from);
            }
        }
        body
    }

    /// The message, if its seal is ours and its form is whole.
    pub(super) fn open(keys: &KeyRing, bytes: &[u8]) -> Option<Self> {
        let (seal, body) = bytes.split_at_checked(SEAL_BYTES)?;
        if !keys.seal_is_valid(PURPOSE, body, seal) {
            return None;
        }
        Self::decode(body)
    }

    /// The message that this is, without its seal; `None` when it is none, or anything follows it.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (kind, mut rest) = body.split_first()?;
        let rest = &mut rest;
        match kind {
            1 => Some(Self::Pushed { from: take(rest)?, entries: take_entries(rest)? }),
            2 => Some(Self::Ask { from: take(rest)?, question: take(rest)?, after: Seq(take(rest)?) })
                .filter(|_| rest.is_empty()),
            3 => {
                let (to, question, after) = (take(rest)?, take(rest)?, Seq(take(rest)?));
                let page = LogPage { last: Seq(take(rest)?), entries: take_entries(rest)? };
                Some(Self::Answer { to, question, read: LeasePage { after, page } })
            }
            4 => Some(Self::BlocksChanged { from: take(rest)? }).filter(|_| rest.is_empty()),
            _ => None,
        }
    }
}

fn put(body: &mut Vec<u8>, number: u64) {
    body.extend_from_slice(&number.to_be_bytes());
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_be_bytes(*number))
}

fn put_entries(body: &mut Vec<u8>, entries: &[Invalidation]) {
    for Invalidation { seq, stale, at } in entries {
        let (kind, subject) = match stale {
            Stale::Session(id) => (1, id.as_uuid()),
            Stale::User(id) => (2, id.as_uuid()),
        };
        put(body, seq.0);
        body.push(kind);
        body.extend_from_slice(subject.as_bytes());
        body.extend_from_slice(&at.as_millis().to_be_bytes());
    }
}

fn take_entries(rest: &mut &[u8]) -> Option<Vec<Invalidation>> {
    let (chunks, leftover) = rest.as_chunks::<ENTRY_BYTES>();
    if !leftover.is_empty() {
        return None;
    }
    chunks.iter().map(|chunk| entry(chunk)).collect()
}

fn entry(mut bytes: &[u8]) -> Option<Invalidation> {
    let seq = Seq(take(&mut bytes)?);
    let (kind, bytes) = bytes.split_first()?;
    let (subject, bytes) = bytes.split_first_chunk::<16>()?;
    let subject = Uuid::from_bytes(*subject);
    let stale = match kind {
        1 => Stale::Session(SessionId::from_uuid(subject)),
        2 => Stale::User(UserId::from_uuid(subject)),
        _ => return None,
    };
    let at = Timestamp::from_millis(i64::from_be_bytes(bytes.try_into().ok()?));
    Some(Invalidation { seq, stale, at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn invalidation() -> impl Strategy<Value = Invalidation> {
        (any::<u64>(), any::<bool>(), any::<u128>(), any::<i64>()).prop_map(|(seq, user, subject, at)| {
            let subject = Uuid::from_u128(subject);
            let stale = if user {
                Stale::User(UserId::from_uuid(subject))
            } else {
                Stale::Session(SessionId::from_uuid(subject))
            };
            Invalidation { seq: Seq(seq), stale, at: Timestamp::from_millis(at) }
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let entries = || prop::collection::vec(invalidation(), 0..5);
        prop_oneof![
            (any::<u64>(), entries()).prop_map(|(from, entries)| Message::Pushed { from, entries }),
            any::<u64>().prop_map(|from| Message::BlocksChanged { from }),
            (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(from, question, after)| Message::Ask {
                from,
                question,
                after: Seq(after)
            }),
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), entries()).prop_map(
                |(to, question, after, last, entries)| {
                    let page = LogPage { last: Seq(last), entries };
                    Message::Answer { to, question, read: LeasePage { after: Seq(after), page } }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_to_itself_and_nothing_else_opens(
            message in message(),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let keys = KeyRing::derive(b"one secret of thirty-two bytes..");
            let mut bytes = message.seal(&keys);
            prop_assert_eq!(Message::open(&keys, &bytes), Some(message));
            prop_assert_eq!(Message::open(&KeyRing::derive(b"another"), &bytes), None);
            prop_assert_eq!(Message::open(&keys, &bytes[..bytes.len() - 1]), None);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(Message::open(&keys, &bytes), None);
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Message::open(&KeyRing::derive(b"one"), &bytes), None);
        }
    }

    #[test]
    fn a_sealed_message_of_no_known_form_is_refused() {
        let keys = KeyRing::derive(b"one");
        for body in [&b""[..], &[1, 2], &[9; 9], &[4; 8], &[4; 10], &[2; 24], &[2; 26], &[1; 10]] {
            let mut bytes = keys.seal(PURPOSE, body).to_vec();
            bytes.extend_from_slice(body);
            assert_eq!(Message::open(&keys, &bytes), None, "{body:?}");
        }
    }

    #[test]
    fn a_full_push_fits_in_a_notification() {
        let at = Timestamp::from_millis(0);
        let entry = Invalidation { seq: Seq(1), stale: Stale::User(UserId::from_uuid(Uuid::nil())), at };
        let message = Message::Pushed { from: 1, entries: vec![entry; MAX_PUSHED] };
        assert!(message.seal(&KeyRing::derive(b"one")).len().div_ceil(3) * 4 < 8000);
    }
}
