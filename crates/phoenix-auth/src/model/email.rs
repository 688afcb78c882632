//! Email addresses: shape, bounds, and the key under which they are unique.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Longest address in octets (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const MAX_BYTES: usize = 254;
/// Longest part before the `@` in octets (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// An email address as its owner wrote it, in NFC. `Debug` masks it; `Display` does not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

/// Why a text is not an email address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EmailError {
    /// Empty after trimming.
    #[error("must not be empty")]
    Empty,
    /// More than 254 octets, or more than 64 before the `@`.
    #[error("must be at most 254 bytes, at most 64 of them before the @")]
    TooLong,
    /// Not `local@domain`, or characters that addresses do not have.
    #[error("must be an email address such as name@example.com")]
    Malformed,
}

impl Email {
    /// Checks shape and length. Surrounding white space is not part of an address and is removed.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text: String = text.trim().nfc().collect();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(EmailError::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::Malformed)?;
        if local.len() > MAX_LOCAL_BYTES {
            return Err(EmailError::TooLong);
        }
        if local_is_valid(local) && domain_is_valid(domain) {
            Ok(Self(text))
        } else {
            Err(EmailError::Malformed)
        }
    }

    /// The address as its owner wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key under which the address is unique.
    #[must_use]
    pub fn key(&self) -> EmailKey {
        EmailKey(self.0.to_lowercase())
    }

    /// First character and domain only, for logs: `a***@example.com`.
    #[must_use]
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or(("", ""));
        let first = local.chars().next().unwrap_or('*');
        format!("{first}***@{domain}")
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// An address in lower case: two addresses with the same key are the same account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailKey(String);

impl EmailKey {
    /// The key's text, for a store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailKey(..)")
    }
}

/// RFC 5322 `dot-atom`, plus RFC 6531's non-ASCII letters. Quoted local parts are refused: nobody has one.
fn local_is_valid(local: &str) -> bool {
    !local.is_empty()
        && local.split('.').all(|atom| {
            !atom.is_empty()
                && atom.chars().all(|c| match c {
                    'a'..='z' | 'A'..='Z' | '0'..='9' => true,
                    _ if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
                    _ => c.is_alphanumeric(),
                })
        })
}

/// Labels of letters, digits and inner hyphens, at most 63 octets each. `localhost` is allowed.
fn domain_is_valid(domain: &str) -> bool {
    domain.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c == '-' || c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_addresses() {
        for text in
            ["a@b.co", "first.last+tag@sub.example.com", "admin@localhost", "jörg@müller.de", "o'neil@x.org"]
        {
            assert_eq!(Email::parse(text).expect("valid address").as_str(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "a",
            "@b",
            "a@",
            "a b@c.d",
            "a@b..c",
            ".a@b.c",
            "a@-b.c",
            "a\0@b.c",
            "a@b.c\n.d",
            "a@b@c d",
            "\"a\"@b.c",
        ] {
            assert_eq!(Email::parse(text), Err(EmailError::Malformed), "{text:?}");
        }
        assert_eq!(Email::parse("  "), Err(EmailError::Empty));
        assert_eq!(Email::parse(&format!("{}@b.co", "a".repeat(250))), Err(EmailError::TooLong));
        assert_eq!(Email::parse(&format!("{}@b.co", "a".repeat(65))), Err(EmailError::TooLong));
    }

    #[test]
    fn the_key_ignores_case_and_debug_hides_the_address() {
        let email = Email::parse("Ada@Example.COM").expect("valid address");
        assert_eq!(email.key(), Email::parse("ada@example.com").expect("valid address").key());
        assert_eq!(format!("{email:?}"), "A***@Example.COM");
    }
}
