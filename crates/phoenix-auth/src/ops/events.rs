//! List security events.

use super::{Auth, Authenticated};
use crate::error::AuthError;
use crate::model::{EventId, SecurityEvent, UserId};
use crate::ports::EventFilter;

/// Most events listed at once.
pub const MAX_LISTED_EVENTS: u32 = 200;

impl Auth {
    /// The caller's own events, the latest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn own_events(
        &self,
        caller: &Authenticated,
        before: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<SecurityEvent>, AuthError> {
        self.events(Some(caller.active.user.id), before, limit).await
    }

    /// Events of one user, or of all, for an administrator; the latest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn events(
        &self,
        user_id: Option<UserId>,
        before: Option<EventId>,
        limit: u32,
    ) -> Result<Vec<SecurityEvent>, AuthError> {
        let filter = EventFilter { user_id, before };
        Ok(self.parts.store.events(filter, limit.min(MAX_LISTED_EVENTS)).await?)
    }
}
