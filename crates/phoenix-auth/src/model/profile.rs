//! What a user may say about themselves. Bounded, printable, optional.

use serde::{Deserialize, Serialize};

/// Longest name in characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest image address in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Longest time zone or locale name in bytes.
const MAX_TAG_BYTES: usize = 64;

/// Optional facts about a user, as shown in `GET /api/auth/me`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Profile {
    /// Name to show, not unique.
    pub username: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// `https` address of a picture.
    pub image_url: Option<String>,
    /// IANA time zone, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// BCP 47 language tag, such as `de-AT`.
    pub locale: Option<String>,
}

/// Which field is wrong, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ProfileError {
    /// Field name as in JSON.
    pub field: &'static str,
    /// What would do.
    pub reason: &'static str,
}

impl Profile {
    /// Every field that breaks its bound.
    pub fn check(&self) -> Result<(), Vec<ProfileError>> {
        let mut errors = Vec::new();
        for (field, value) in
            [("username", &self.username), ("firstName", &self.first_name), ("lastName", &self.last_name)]
        {
            if value.as_deref().is_some_and(|text| !is_name(text)) {
                errors.push(ProfileError { field, reason: "must be 1 to 100 printable characters" });
            }
        }
        if self.image_url.as_deref().is_some_and(|text| !is_image_url(text)) {
            errors.push(ProfileError {
                field: "imageUrl",
                reason: "must be an https address of at most 2048 bytes without spaces",
            });
        }
        for (field, value) in [("timezone", &self.timezone), ("locale", &self.locale)] {
            if value.as_deref().is_some_and(|text| !is_tag(text)) {
                errors.push(ProfileError {
                    field,
                    reason: "must be 1 to 64 characters of letters, digits, /, _, + and -",
                });
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_NAME_CHARS && !text.chars().any(char::is_control)
}

fn is_image_url(text: &str) -> bool {
    text.len() <= MAX_URL_BYTES
        && text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\'))
}

fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wrong_fields_are_named() {
        let profile = Profile {
            username: Some("a\0b".into()),
            first_name: Some("x".repeat(101)),
            last_name: Some("Ok".into()),
            image_url: Some("javascript:alert(1)".into()),
            timezone: Some("Europe Berlin".into()),
            locale: Some("de-AT".into()),
        };
        let fields: Vec<_> = profile.check().expect_err("four are wrong").iter().map(|e| e.field).collect();
        assert_eq!(fields, ["username", "firstName", "imageUrl", "timezone"]);
        assert_eq!(Profile::default().check(), Ok(()));
    }
}
