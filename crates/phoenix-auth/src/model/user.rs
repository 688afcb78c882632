//! A user account.

use serde::{Deserialize, Serialize};

use super::{Email, Profile, Role, Timestamp, UserId};

/// An account, without its password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub id: UserId,
    /// Address as its owner wrote it. A user of an outside provider may have none.
    pub email: Option<Email>,
    /// Whether somebody proved to own the address.
    pub email_verified: bool,
    /// What it may do.
    pub role: Role,
    /// A disabled account can neither sign in nor use a session.
    pub disabled: bool,
    /// What the user says about themselves.
    pub profile: Profile,
    /// The application's settings for this user: the text of one JSON object.
    pub settings: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Last authenticated request, to within the coalescing step.
    pub last_active_at: Option<Timestamp>,
}

impl User {
    /// Bytes this value holds on the heap, for the cache's bound.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let Profile { username, first_name, last_name, image_url, timezone, locale } = &self.profile;
        self.email.as_ref().map_or(0, |email| email.as_str().len())
            + self.role.as_str().len()
            + self.settings.len()
            + [username, first_name, last_name, image_url, timezone, locale]
                .iter()
                .map(|field| field.as_ref().map_or(0, String::len))
                .sum::<usize>()
    }
}
