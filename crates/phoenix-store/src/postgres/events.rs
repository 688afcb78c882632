//! The record of security events.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use phoenix_auth::model::{EventId, Relaxed, SecurityEvent, SessionId, Timestamp};
use phoenix_auth::ports::{EventFilter, SecurityLog, StoreError};
use uuid::Uuid;

use super::db::Db;
use super::sql::Sql;
use super::{PgStore, rows};

#[async_trait]
impl SecurityLog for PgStore {
    async fn record_events(&self, events: &[SecurityEvent]) -> Result<Relaxed<u64>, StoreError> {
        let ids: &Vec<Uuid> = &events.iter().map(|event| event.id.as_uuid()).collect();
        let times: &Vec<i64> = &events.iter().map(|event| event.at.as_millis()).collect();
        let kinds: &Vec<&str> = &events.iter().map(|event| event.kind.as_str()).collect();
        let users: &Vec<Uuid> = &events.iter().map(|event| event.user_id.as_uuid()).collect();
        let sessions: &Vec<Option<Uuid>> =
            &events.iter().map(|event| event.session_id.map(SessionId::as_uuid)).collect();
        let ips: &Vec<Option<IpAddr>> = &events.iter().map(|event| event.ip).collect();
        let details: &Vec<&str> = &events.iter().map(|event| event.detail.as_str()).collect();
        self.relaxed("record security events", |db: Arc<Db>| async move {
            db.execute(Sql::EventInsert, &[ids, times, kinds, users, sessions, ips, details]).await
        })
        .await
    }

    async fn events(&self, filter: EventFilter, limit: u32) -> Result<Vec<SecurityEvent>, StoreError> {
        // The largest UUID is no event's.
        let before = filter.before.map_or(Uuid::max(), EventId::as_uuid);
        let limit = i64::from(limit);
        self.read("list security events", |db: Arc<Db>| async move {
            match filter.user_id {
                Some(id) => {
                    db.all(Sql::EventPageOfUser, &[&before, &limit, &id.as_uuid()], rows::event).await
                }
                None => db.all(Sql::EventPage, &[&before, &limit], rows::event).await,
            }
        })
        .await
    }

    async fn trim_events(&self, before: Timestamp, limit: u32) -> Result<Relaxed<u64>, StoreError> {
        let (before_ms, limit) = (before.as_millis(), i64::from(limit));
        self.relaxed("trim security events", |db: Arc<Db>| async move {
            db.execute(Sql::EventTrim, &[&before_ms, &limit]).await
        })
        .await
    }
}
