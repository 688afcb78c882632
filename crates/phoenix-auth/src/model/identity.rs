//! A user as an outside identity provider knows them.

use serde::{Deserialize, Serialize};

/// Longest issuer and longest subject in bytes (`OpenID` Connect Core, section 2, bounds `sub` at 255 characters).
const MAX_BYTES: usize = 512;

/// Issuer and subject: together they name a user at an outside provider, and never change.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    issuer: String,
    subject: String,
}

impl Identity {
    /// `None` when either is empty, longer than 512 bytes, or holds a control character.
    #[must_use]
    pub fn new(issuer: &str, subject: &str) -> Option<Self> {
        let fits =
            |text: &str| !text.is_empty() && text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        (fits(issuer) && fits(subject))
            .then(|| Self { issuer: issuer.to_owned(), subject: subject.to_owned() })
    }

    /// Who vouches: `stack:<project>`, or the issuer's address.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer's name of the user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_bounded_and_printable() {
        assert!(Identity::new("stack:p", "u").is_some());
        for (issuer, subject) in
            [("", "u"), ("i", ""), ("i", "u\n"), ("i\0", "u"), ("i", &*"u".repeat(MAX_BYTES + 1))]
        {
            assert_eq!(Identity::new(issuer, subject), None, "{issuer:?} {subject:?}");
        }
    }
}
