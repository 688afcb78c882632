//! Identifiers that come from elsewhere: an e-mail address, a Stack Auth project. Checks the form, not the existence.

use std::fmt;

/// Longest e-mail address that SMTP can carry (RFC 5321, section 4.5.3.1.3), in bytes.
const MAX_EMAIL_BYTES: usize = 254;

/// An e-mail address as it was written: one `@` with something on both sides, no spaces, at most 254 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let printable = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        let complete = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
        (printable && complete && text.len() <= MAX_EMAIL_BYTES).then(|| Self(text.to_owned()))
    }

    /// The address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Stack Auth project: a UUID in lower case with hyphens (RFC 9562, section 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectId(String);

impl ProjectId {
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let right_lengths = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        let hex = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
        (right_lengths && hex).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The identifier in lower case with hyphens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
