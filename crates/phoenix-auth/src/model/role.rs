//! Roles: a short lower-case name. `admin` may administer; every other role means what the application says.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest role name in bytes.
const MAX_BYTES: usize = 32;

/// A role's name. Kept in place, not on the heap: every request looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Role {
    /// Padded with zeros.
    bytes: [u8; MAX_BYTES],
    length: u8,
}

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
        if shape { Ok(Self::known(text)) } else { Err(RoleError) }
    }

    /// A name that is known to be one.
    const fn known(text: &str) -> Self {
        let (text, mut bytes, mut length) = (text.as_bytes(), [0; MAX_BYTES], 0);
        while (length as usize) < text.len() {
            bytes[length as usize] = text[length as usize];
            length += 1;
        }
        Self { bytes, length }
    }

    /// The role of a user who registered.
    #[must_use]
    pub const fn user() -> Self {
        Self::known("user")
    }

    /// The role that may administer.
    #[must_use]
    pub const fn admin() -> Self {
        Self::known("admin")
    }

    /// The role of shared demonstration accounts.
    #[must_use]
    pub const fn demo() -> Self {
        Self::known("demo")
    }

    /// The role of the account that automatic tests sign in with.
    #[must_use]
    pub const fn test() -> Self {
        Self::known("test")
    }

    /// Whether the role may use `/api/admin`.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        *self == Self::admin()
    }

    /// Whether accounts of this role are shared by strangers, so that none may change their password.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        *self == Self::demo()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Role({})", self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
