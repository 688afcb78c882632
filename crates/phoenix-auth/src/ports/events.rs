//! The record of security events.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{EventId, Relaxed, SecurityEvent, Timestamp, UserId};

/// Which events to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventFilter {
    /// Only of this user.
    pub user_id: Option<UserId>,
    /// Only before this event.
    pub before: Option<EventId>,
}

/// Security events, kept for people to look at.
#[async_trait]
pub trait SecurityLog: Send + Sync {
    /// Adds events. One that is there already is left as it is.
    async fn record_events(&self, events: &[SecurityEvent]) -> Result<Relaxed<u64>, StoreError>;

    /// At most `limit` events, the latest first.
    async fn events(&self, filter: EventFilter, limit: u32) -> Result<Vec<SecurityEvent>, StoreError>;

    /// Removes at most `limit` events before `before`.
    async fn trim_events(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError>;
}
