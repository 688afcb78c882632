//! Roles: a short lower-case name. `admin` may administer; every other role means what the application says.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest role name in bytes.
const MAX_BYTES: usize = 32;

/// A role's name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(String);

/// The text is not a role name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be 1 to 32 characters of a-z, 0-9, - and _, starting with a letter")]
pub struct RoleError;

impl Role {
    /// Checks the name's shape.
    pub fn parse(text: &str) -> Result<Self, RoleError> {
        let shape = text.len() <= MAX_BYTES
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if shape { Ok(Self(text.to_owned())) } else { Err(RoleError) }
    }

    /// The role of a user who registered.
    #[must_use]
    pub fn user() -> Self {
        Self("user".to_owned())
    }

    /// The role that may administer.
    #[must_use]
    pub fn admin() -> Self {
        Self("admin".to_owned())
    }

    /// The role of shared demonstration accounts.
    #[must_use]
    pub fn demo() -> Self {
        Self("demo".to_owned())
    }

    /// The role of the account that automatic tests sign in with.
    #[must_use]
    pub fn test() -> Self {
        Self("test".to_owned())
    }

    /// Whether the role may use `/api/admin`.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.0 == "admin"
    }

    /// Whether accounts of this role are shared by strangers, so that none may change their password.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0 == "demo"
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_is_checked() {
        assert!(Role::parse("project-lead_2").is_ok());
        for bad in ["", "Admin", "1st", "a b", "a\0", &"a".repeat(33)] {
            assert_eq!(Role::parse(bad), Err(RoleError), "{bad:?}");
        }
    }
}
