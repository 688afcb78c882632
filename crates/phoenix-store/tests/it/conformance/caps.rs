//! How many sessions a user may have: exact, however many are opened at once and on however many nodes.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use phoenix_auth::model::{Durable, SessionId, UserId};
use phoenix_auth::ports::{
    CapPolicy, EndScope, ExternalOpened, NewExternalSession, NewSession, SessionCap, SessionOpened,
    SessionsEnded, Stale,
};

use crate::fixtures::{add_user, at, new_external, new_session, open, open_external};
use crate::harness::{Db, TestStore, on_each_backend, pg_config, pg_store, postgres_db, sqlite_db};

const MOST: u32 = 5;

fn cap(policy: CapPolicy) -> SessionCap {
    SessionCap { most: MOST, policy, idle_before: at(-1000) }
}

fn opened_at(user_id: UserId, millis: i64) -> NewSession {
    let mut new = new_session(user_id);
    new.session.created_at = at(millis);
    new.session.last_seen_at = at(millis);
    new
}

async fn try_open(
    store: &dyn TestStore,
    new: &NewSession,
    replaces: Option<SessionId>,
    cap: Option<SessionCap>,
) -> SessionOpened {
    store.open_session(new, 0, replaces, cap).await.map(Durable::acknowledge).expect("the store answers")
}

async fn open_ids(store: &dyn TestStore, user_id: UserId) -> HashSet<SessionId> {
    let listed = store.sessions_of(user_id, 1000).await.expect("the store answers");
    listed.into_iter().map(|line| line.session.id).collect()
}

fn ids(sessions: &[NewSession]) -> HashSet<SessionId> {
    sessions.iter().map(|new| new.session.id).collect()
}

/// `MOST` sessions, opened one after the other; the last opened is the last in the list.
async fn full(db: &Db, user_id: UserId) -> Vec<NewSession> {
    let mut sessions = Vec::new();
    // Opened in another order than that of their ids.
    for millis in [30, 10, 20, 40, 50] {
        let new = opened_at(user_id, millis);
        open(&*db.store, &new).await;
        sessions.push(new);
    }
    sessions.sort_by_key(|new| new.session.created_at);
    sessions
}

// spec: D15
#[tokio::test]
async fn the_session_opened_first_is_evicted() {
    on_each_backend(async |db| {
        let user_id = add_user(&*db.store, "ada@example.com").await;
        let mut sessions = full(db, user_id).await;
        // Not the one used last, the one opened first.
        let used = phoenix_auth::ports::Activity {
            session_id: sessions[0].session.id,
            user_id,
            at: at(90),
            ip: None,
        };
        db.store.record_activity(&[used]).await.expect("answers").into_inner();
        let new = opened_at(user_id, 60);
        let opened = try_open(&*db.store, &new, None, Some(cap(CapPolicy::EvictOldest))).await;
        let SessionOpened::Opened(ended) = opened else { panic!("{opened:?}") };
        assert_eq!((ended.count, ended.external.len(), ended.invalidations.len()), (1, 0, 1));
        assert_eq!(ended.invalidations[0].stale, Stale::Session(sessions[0].session.id));
        assert_eq!((ended.invalidations[0].at, ended.invalidations[0].seq.0), (at(60), 1));
        sessions.remove(0);
        sessions.push(new);
        assert_eq!(open_ids(&*db.store, user_id).await, ids(&sessions));
        // A lower cap later evicts as many as it takes, each with its entry, the first opened first.
        let new = opened_at(user_id, 70);
        let two = SessionCap { most: 2, policy: CapPolicy::EvictOldest, idle_before: at(-1000) };
        let opened = try_open(&*db.store, &new, None, Some(two)).await;
        let SessionOpened::Opened(ended) = opened else { panic!("{opened:?}") };
        let expected: Vec<Stale> = sessions[..4].iter().map(|old| Stale::Session(old.session.id)).collect();
        assert_eq!(ended.invalidations.iter().map(|entry| entry.stale).collect::<Vec<_>>(), expected);
        assert_eq!(ended.invalidations.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(db.log_after(1, 10).await.entries, ended.invalidations);
        assert_eq!(ended.count, 4);
        assert_eq!(open_ids(&*db.store, user_id).await, ids(&[sessions.remove(4), new]));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_new_session_is_refused_and_nothing_changes() {
    on_each_backend(async |db| {
        let user_id = add_user(&*db.store, "ada@example.com").await;
        let bystander = add_user(&*db.store, "bob@example.com").await;
        let sessions = full(db, user_id).await;
        let before = db.find(&sessions[0].token_hash).await.expect("open").active.user;
        let new = opened_at(user_id, 99);
        let refused = try_open(&*db.store, &new, None, Some(cap(CapPolicy::Refuse))).await;
        assert!(matches!(refused, SessionOpened::CapReached), "{refused:?}");
        assert!(db.find(&new.token_hash).await.is_none());
        assert_eq!(open_ids(&*db.store, user_id).await, ids(&sessions));
        assert_eq!(db.find(&sessions[0].token_hash).await.expect("open").active.user, before);
        assert_eq!(db.last_seq().await, 0);
        // Neither is another user's session in the way, nor a wrong epoch a matter of the cap.
        try_open(&*db.store, &new_session(bystander), None, Some(cap(CapPolicy::Refuse))).await;
        let stale =
            db.store.open_session(&new, 7, None, Some(cap(CapPolicy::Refuse))).await.expect("answers");
        assert!(matches!(stale.acknowledge(), SessionOpened::Refused));
        db.store
            .end_sessions(EndScope::One(user_id, sessions[2].session.id), at(5))
            .await
            .expect("answers")
            .acknowledge();
        let opened = try_open(&*db.store, &new, None, Some(cap(CapPolicy::Refuse))).await;
        assert!(matches!(opened, SessionOpened::Opened(SessionsEnded { count: 0, .. })), "{opened:?}");
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_replaced_session_frees_its_place() {
    on_each_backend(async |db| {
        for policy in [CapPolicy::Refuse, CapPolicy::EvictOldest] {
            let user_id = add_user(&*db.store, &format!("{policy:?}@example.com")).await;
            let mut sessions = full(db, user_id).await;
            let replaced = sessions.remove(3).session.id;
            let new = opened_at(user_id, 60);
            let opened = try_open(&*db.store, &new, Some(replaced), Some(cap(policy))).await;
            let SessionOpened::Opened(ended) = opened else { panic!("{opened:?}") };
            assert_eq!((ended.count, ended.invalidations[0].stale), (1, Stale::Session(replaced)));
            sessions.push(new);
            assert_eq!(open_ids(&*db.store, user_id).await, ids(&sessions));
            // One that is gone frees none.
            let new = opened_at(user_id, 61);
            let opened = try_open(&*db.store, &new, Some(replaced), Some(cap(policy))).await;
            match policy {
                CapPolicy::Refuse => assert!(matches!(opened, SessionOpened::CapReached)),
                CapPolicy::EvictOldest => {
                    assert!(matches!(opened, SessionOpened::Opened(SessionsEnded { count: 1, .. })));
                }
            }
            assert_eq!(open_ids(&*db.store, user_id).await.len(), 5);
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn what_time_has_ended_is_not_counted() {
    on_each_backend(async |db| {
        let user_id = add_user(&*db.store, "ada@example.com").await;
        let mut left = full(db, user_id).await;
        for (expires, seen) in [(60, 50), (5000, -1001)] {
            let mut dead = opened_at(user_id, 5);
            dead.session.expires_at = at(expires);
            dead.session.last_seen_at = at(seen);
            open(&*db.store, &dead).await;
            left.push(dead);
        }
        db.store
            .end_sessions(EndScope::One(user_id, left.remove(0).session.id), at(1))
            .await
            .expect("answers")
            .acknowledge();
        // Four live ones: one had expired at 60, to the millisecond, and one was idle. Both stay for the clean-up.
        let new = opened_at(user_id, 60);
        let opened = try_open(&*db.store, &new, None, Some(cap(CapPolicy::Refuse))).await;
        assert!(matches!(opened, SessionOpened::Opened(SessionsEnded { count: 0, .. })), "{opened:?}");
        left.push(new);
        assert_eq!(open_ids(&*db.store, user_id).await, ids(&left));
        // Five now; one that expires a millisecond later, or was seen at the bound, would be counted.
        for (expires, seen) in [(61, 50), (5000, -1000)] {
            let user_id = add_user(&*db.store, &format!("user{expires}@example.com")).await;
            let mut live = opened_at(user_id, 5);
            live.session.expires_at = at(expires);
            live.session.last_seen_at = at(seen);
            open(&*db.store, &live).await;
            let one = SessionCap { most: 1, policy: CapPolicy::Refuse, idle_before: at(-1000) };
            let opened = try_open(&*db.store, &opened_at(user_id, 60), None, Some(one)).await;
            assert!(matches!(opened, SessionOpened::CapReached), "{opened:?}");
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn outside_sessions_count_and_open_ones_are_not_asked() {
    on_each_backend(async |db| {
        for name in ["a", "b", "c", "d", "e"] {
            open_external(&*db.store, &new_external("u1", name)).await;
        }
        let capped =
            |name: &str, policy| NewExternalSession { cap: Some(cap(policy)), ..new_external("u1", name) };
        let try_open = async |new: &NewExternalSession| {
            db.store.open_external(new).await.map(Durable::acknowledge).expect("answers")
        };
        let refused = try_open(&capped("f", CapPolicy::Refuse)).await;
        assert!(matches!(refused, ExternalOpened::CapReached), "{refused:?}");
        assert!(db.find(&crate::fixtures::external_hash("f")).await.is_none());
        for policy in [CapPolicy::Refuse, CapPolicy::EvictOldest] {
            let opened = try_open(&capped("a", policy)).await;
            let ExternalOpened::Opened { ended: SessionsEnded { count: 0, .. }, .. } = opened else {
                panic!("it is open already: {opened:?}");
            };
        }
        let opened = try_open(&capped("f", CapPolicy::EvictOldest)).await;
        assert!(matches!(opened, ExternalOpened::Opened { ended: SessionsEnded { count: 1, .. }, .. }));
    })
    .await;
}

/// Stores of three nodes on one database; of the embedded one, which has one node, one.
async fn nodes() -> Vec<(Db, Vec<Arc<dyn TestStore>>)> {
    let (embedded, server) = (sqlite_db(), postgres_db().await);
    let mut stores = vec![Arc::clone(&server.store)];
    let url = server.url.clone().expect("PostgreSQL has an address");
    for _ in 0..2 {
        stores.push(Arc::new(pg_store(pg_config(url.clone())).await));
    }
    let alone = vec![Arc::clone(&embedded.store)];
    vec![(embedded, alone), (server, stores)]
}

// spec: D15
#[tokio::test]
async fn a_hundred_logins_at_once_on_three_nodes_never_exceed_the_cap() {
    for (db, stores) in nodes().await {
        for policy in [CapPolicy::Refuse, CapPolicy::EvictOldest] {
            let user_id = add_user(&*db.store, &format!("{policy:?}@example.com")).await;
            let before = db.last_seq().await;
            let logins = (0..100_u8).map(|number| {
                let store = &stores[usize::from(number) % stores.len()];
                let new = opened_at(user_id, i64::from(number % 7));
                async move { try_open(&**store, &new, None, Some(cap(policy))).await }
            });
            let (mut opened, mut refused, mut evicted) = (0, 0, HashSet::new());
            for outcome in join_all(logins).await {
                match outcome {
                    SessionOpened::Opened(ended) => {
                        opened += 1;
                        assert_eq!(ended.count, ended.invalidations.len() as u64);
                        evicted.extend(ended.invalidations.iter().map(|entry| entry.stale));
                    }
                    SessionOpened::CapReached => refused += 1,
                    SessionOpened::Refused => panic!("the epoch is right"),
                }
            }
            let left = open_ids(&*db.store, user_id).await.len();
            let most = usize::try_from(MOST).expect("small");
            let expected = match policy {
                CapPolicy::Refuse => (most, 100 - most, 0),
                CapPolicy::EvictOldest => (100, 0, 100 - most),
            };
            assert_eq!((opened, refused, evicted.len()), expected, "{policy:?} on {}", db.name);
            assert_eq!(left, most);
            assert_eq!(db.last_seq().await - before, expected.2 as u64, "each ended once");
        }
    }
}

// spec: D15
#[tokio::test]
async fn a_hundred_outside_sessions_at_once_on_three_nodes_never_exceed_the_cap() {
    for (db, stores) in nodes().await {
        for policy in [CapPolicy::Refuse, CapPolicy::EvictOldest] {
            let subject = format!("{policy:?}");
            let requests = (0..100_usize).map(|number| {
                let store = &stores[number % stores.len()];
                let new = NewExternalSession {
                    cap: Some(cap(policy)),
                    ..new_external(&subject, &format!("{policy:?}-{number}"))
                };
                async move { store.open_external(&new).await.map(Durable::acknowledge).expect("answers") }
            });
            let outcomes = join_all(requests).await;
            let opened: Vec<_> = outcomes
                .iter()
                .filter_map(|outcome| match outcome {
                    ExternalOpened::Opened { active, created_user, .. } => {
                        Some((active.user.id, *created_user))
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(opened.iter().map(|(id, _)| *id).collect::<HashSet<_>>().len(), 1);
            assert_eq!(opened.iter().filter(|(_, created)| *created).count(), 1);
            let most = usize::try_from(MOST).expect("small");
            let expected = if policy == CapPolicy::Refuse { most } else { 100 };
            assert_eq!(opened.len(), expected, "{policy:?} on {}", db.name);
            assert_eq!(open_ids(&*db.store, opened[0].0).await.len(), most);
        }
    }
}
