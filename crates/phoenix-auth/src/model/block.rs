//! Blocks: for how long a client is refused whatever it asks for. Does not own what is counted, nor who is refused
//! without being blocked; a key's 16 bytes mean nothing here.

use std::fmt;

use super::{BlockId, Email, Timestamp, UserId};

/// Longest text about whom a block is for, in bytes.
pub const MAX_BLOCK_SUBJECT_BYTES: usize = 200;
/// Longest reason that an administrator may give, in bytes.
pub const MAX_BLOCK_REASON_BYTES: usize = 200;
/// Longest name of a class of endpoints, in bytes.
pub const MAX_BLOCK_CLASS_BYTES: usize = 64;

/// Names what is blocked: a client under the rule of a class. Made with a secret, so that it tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockKey([u8; 16]);

impl BlockKey {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Who began a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockCause {
    /// A limit was exceeded.
    Limit,
    /// An administrator.
    Administrator,
}

impl BlockCause {
    /// The name, as in JSON and in a store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Administrator => "administrator",
        }
    }

    /// From the name in a store.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Limit, Self::Administrator].into_iter().find(|cause| cause.as_str() == text)
    }
}

/// Whom a block is for, as text for administrators, at most [`MAX_BLOCK_SUBJECT_BYTES`] bytes. Never a secret. Of an
/// account's address only the first letter and the domain are kept: enough to recognise it when asked, and no list of
/// addresses for who reads the database.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockSubject(String);

impl BlockSubject {
    /// A client's address, or the network that is counted as one client: `address 2001:db8::/64`.
    #[must_use]
    pub fn address(address: impl fmt::Display) -> Self {
        Self::bounded(format!("address {address}"))
    }

    /// A user who is signed in.
    #[must_use]
    pub fn user(id: UserId) -> Self {
        Self::bounded(format!("user {id}"))
    }

    /// An account that somebody tries to enter, and from where if that belongs to it:
    /// `account a***@example.com + address 203.0.113.7`.
    #[must_use]
    pub fn account<A: fmt::Display>(email: &Email, from: Option<A>) -> Self {
        let (local, domain) = email.as_str().rsplit_once('@').unwrap_or((email.as_str(), ""));
        let first = local.chars().next().unwrap_or('*');
        // A long domain must not push the address out.
        let domain = cut(domain, MAX_BLOCK_SUBJECT_BYTES / 2);
        let account = format!("account {first}***@{domain}");
        Self::bounded(match from {
            Some(address) => format!("{account} + address {address}"),
            None => account,
        })
    }

    /// From the text in a store, or another text of ours; cut where it is too long. What cannot be printed, and no
    /// database might take, is replaced.
    #[must_use]
    pub fn bounded(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, "\u{fffd}");
        }
        text.truncate(cut(&text, MAX_BLOCK_SUBJECT_BYTES).len());
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest beginning of at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// A client that is refused for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its name; ordered by time. Another block of the same key has another one.
    pub id: BlockId,
    /// What is blocked. Has at most one block at a time.
    pub key: BlockKey,
    /// The class of endpoints, at most [`MAX_BLOCK_CLASS_BYTES`] bytes.
    pub class: String,
    /// Who is blocked.
    pub subject: BlockSubject,
    /// Who began it.
    pub cause: BlockCause,
    /// What an administrator said about it, at most [`MAX_BLOCK_REASON_BYTES`] bytes; else empty.
    pub reason: String,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// The administrator, if one began it.
    pub by: Option<UserId>,
}

impl Block {
    /// Whether it takes the place of another block of its key that was not lifted. An automatic one does not while the
    /// other runs: a block ends when that was first announced. An administrator's always does.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.id != other.id && (self.cause == BlockCause::Administrator || other.until <= self.since)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn email(text: &str) -> Email {
        Email::parse(text).expect("an address")
    }

    #[test]
    fn an_account_is_told_without_its_address() {
        let subject = BlockSubject::account(&email("ada.lovelace@example.com"), Some("203.0.113.7"));
        assert_eq!(subject.as_str(), "account a***@example.com + address 203.0.113.7");
        let subject = BlockSubject::account(&email("Ä@example.com"), None::<&str>);
        assert_eq!(subject.as_str(), "account Ä***@example.com");
    }

    #[test]
    fn a_subject_is_bounded_and_stays_text() {
        let long = "ä".repeat(MAX_BLOCK_SUBJECT_BYTES);
        for prefix in ["", "x"] {
            let subject = BlockSubject::bounded(format!("{prefix}{long}"));
            assert!(
                (MAX_BLOCK_SUBJECT_BYTES - 1..=MAX_BLOCK_SUBJECT_BYTES).contains(&subject.as_str().len())
            );
        }
        assert_eq!(BlockSubject::bounded("a\0b\nc").as_str(), "a\u{fffd}b\u{fffd}c");
        let label = "d".repeat(60);
        let domain = format!("{label}.{label}.{label}.example");
        let subject = BlockSubject::account(&email(&format!("a@{domain}")), Some("2001:db8:ffff:ffff::/64"));
        assert!(subject.as_str().ends_with(" + address 2001:db8:ffff:ffff::/64"), "{subject:?}");
    }

    #[test]
    fn causes_read_back() {
        for cause in [BlockCause::Limit, BlockCause::Administrator] {
            assert_eq!(BlockCause::from_stored(cause.as_str()), Some(cause));
        }
        assert_eq!(BlockCause::from_stored("Limit"), None);
    }

    #[test]
    fn a_running_block_gives_way_to_an_administrator_only() {
        let block = |id, since, until, cause| Block {
            id: BlockId::from_uuid(Uuid::from_u128(id)),
            key: BlockKey::from_bytes([1; 16]),
            class: "auth".to_owned(),
            subject: BlockSubject::address("192.0.2.1"),
            cause,
            reason: String::new(),
            since: Timestamp::from_millis(since),
            until: Timestamp::from_millis(until),
            by: None,
        };
        let first = block(1, 0, 100, BlockCause::Limit);
        assert!(!block(2, 99, 500, BlockCause::Limit).replaces(&first));
        assert!(block(2, 100, 500, BlockCause::Limit).replaces(&first));
        assert!(block(2, 10, 20, BlockCause::Administrator).replaces(&first));
        assert!(!block(1, 100, 500, BlockCause::Administrator).replaces(&first), "it is the same block");
    }
}
