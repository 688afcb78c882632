//! The record of security events.

use async_trait::async_trait;
use phoenix_auth::model::{EventId, Relaxed, SecurityEvent, Timestamp};
use phoenix_auth::ports::{EventFilter, SecurityLog, StoreError};
use rusqlite::params;
use uuid::Uuid;

use super::sql::Sql;
use super::{SqliteStore, rows};

#[async_trait]
impl SecurityLog for SqliteStore {
    async fn record_events(&self, events: &[SecurityEvent]) -> Result<Relaxed<u64>, StoreError> {
        let events = events.to_vec();
        self.relaxed("record security events", move |db| {
            let mut recorded = 0;
            for SecurityEvent { id, at, kind, user_id, session_id, ip, detail } in &events {
                recorded += db.execute(
                    Sql::EventInsert,
                    params![
                        id.as_uuid().as_bytes(),
                        at.as_millis(),
                        kind.as_str(),
                        user_id.as_uuid().as_bytes(),
                        session_id.map(|id| id.as_uuid().into_bytes()),
                        ip.map(|ip| ip.to_string()),
                        detail,
                    ],
                )?;
            }
            Ok(recorded)
        })
        .await
    }

    async fn events(&self, filter: EventFilter, limit: u32) -> Result<Vec<SecurityEvent>, StoreError> {
        // The largest UUID is no event's.
        let before = filter.before.map_or(Uuid::max(), EventId::as_uuid).into_bytes();
        self.read("list security events", |db| match filter.user_id {
            Some(id) => db.all(Sql::EventPageOfUser, (before, limit, id.as_uuid().as_bytes()), rows::event),
            None => db.all(Sql::EventPage, (before, limit), rows::event),
        })
    }

    async fn trim_events(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        self.relaxed("trim security events", move |db| {
            db.execute(Sql::EventTrim, (before.as_millis(), limit))
        })
        .await
    }
}
