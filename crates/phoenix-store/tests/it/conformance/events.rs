//! The record of security events.

use phoenix_auth::model::{EventId, EventKind, SecurityEvent, SessionId, UserId};
use phoenix_auth::ports::EventFilter;

use crate::fixtures::{at, next_uuid};
use crate::harness::{Db, on_each_backend};

fn event(user_id: UserId, millis: i64) -> SecurityEvent {
    SecurityEvent {
        id: EventId::from_uuid(next_uuid()),
        at: at(millis),
        kind: EventKind::DeviceChanged,
        user_id,
        session_id: None,
        ip: None,
        detail: String::new(),
    }
}

async fn record(db: &Db, events: &[SecurityEvent]) -> u64 {
    db.store.record_events(events).await.expect("the store answers").into_inner()
}

async fn list(db: &Db, filter: EventFilter, limit: u32) -> Vec<SecurityEvent> {
    db.store.events(filter, limit).await.expect("the store answers")
}

fn nobody() -> UserId {
    UserId::from_uuid(next_uuid())
}

// spec: D15
#[tokio::test]
async fn events_of_every_kind_read_back_as_they_were_written() {
    on_each_backend(async |db| {
        let mut events = Vec::new();
        for (kind, ip) in EventKind::ALL.iter().zip(["192.0.2.1", "2001:db8::1", "-"].iter().cycle()) {
            let session_id = ip.parse::<std::net::IpAddr>().ok().map(|_| SessionId::from_uuid(next_uuid()));
            let detail = format!("from DE to \"FR\" 🦀 {kind:?}");
            events.push(SecurityEvent {
                kind: *kind,
                session_id,
                ip: ip.parse().ok(),
                detail,
                ..event(nobody(), 1)
            });
        }
        assert_eq!(record(db, &events).await, events.len() as u64);
        assert_eq!(record(db, &[]).await, 0);
        events.reverse();
        assert_eq!(list(db, EventFilter::default(), 100).await, events);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_event_that_is_there_is_left_as_it_is() {
    on_each_backend(async |db| {
        let first = event(nobody(), 1);
        let changed = SecurityEvent { detail: "changed".to_owned(), ..first.clone() };
        assert_eq!(record(db, &[first.clone(), changed.clone()]).await, 1);
        let second = event(nobody(), 2);
        assert_eq!(record(db, &[second.clone(), changed]).await, 1);
        assert_eq!(list(db, EventFilter::default(), 100).await, [second, first]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn pages_follow_each_other_the_latest_first() {
    on_each_backend(async |db| {
        let (ada, bob) = (nobody(), nobody());
        let events: Vec<_> = (0..9).map(|n| event(if n % 3 == 0 { bob } else { ada }, n)).collect();
        record(db, &events).await;
        for user_id in [None, Some(ada), Some(bob)] {
            let of_user = |event: &&SecurityEvent| user_id.is_none_or(|id| id == event.user_id);
            let expected: Vec<_> = events.iter().filter(of_user).rev().cloned().collect();
            let mut listed: Vec<SecurityEvent> = Vec::new();
            loop {
                let before = listed.last().map(|event| event.id);
                let page = list(db, EventFilter { user_id, before }, 2).await;
                assert!(page.len() <= 2);
                if page.is_empty() {
                    break;
                }
                listed.extend(page);
                assert!(listed.len() <= expected.len(), "a page begins before the last one ended");
            }
            assert_eq!(listed, expected);
        }
        assert!(list(db, EventFilter { user_id: Some(nobody()), before: None }, 10).await.is_empty());
        assert!(list(db, EventFilter::default(), 0).await.is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn old_events_are_removed_in_bounded_batches() {
    on_each_backend(async |db| {
        let events: Vec<_> = (0..6).map(|n| event(nobody(), n)).collect();
        record(db, &events).await;
        let trim = async |before, limit| {
            db.store.trim_events(at(before), limit).await.expect("answers").into_inner()
        };
        assert_eq!(trim(0, 10).await, 0);
        assert_eq!(trim(4, 3).await, 3);
        assert_eq!(trim(4, 3).await, 1);
        assert_eq!(list(db, EventFilter::default(), 10).await, [events[5].clone(), events[4].clone()]);
    })
    .await;
}
