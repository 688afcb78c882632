//! The log of what became stale: its order is the order of commits.

use futures_util::future::{join, join_all};
use phoenix_auth::ports::{EndScope, Invalidation, Stale};

use crate::fixtures::{add_user, at, sign_in};
use crate::harness::{Db, on_each_backend};

async fn after(db: &Db, seq: u64, limit: u32) -> Vec<Invalidation> {
    db.log_after(seq, limit).await.entries
}

async fn end_one(db: &Db, millis: i64) -> Stale {
    let id = add_user(&*db.store, &format!("user{millis}@example.com")).await;
    let session = sign_in(&*db.store, id).await.session.id;
    db.store.end_sessions(EndScope::One(id, session), at(millis)).await.expect("answers").acknowledge();
    Stale::Session(session)
}

// spec: D15
#[tokio::test]
async fn entries_are_read_in_order_and_in_pages() {
    on_each_backend(async |db| {
        assert_eq!(db.last_seq().await, 0);
        assert!(after(db, 0, 10).await.is_empty());
        let mut ended = Vec::new();
        for millis in 1..=5 {
            ended.push(end_one(db, millis).await);
        }
        assert_eq!(db.last_seq().await, 5);
        let all = after(db, 0, 100).await;
        assert_eq!(all.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(all.iter().map(|entry| entry.stale).collect::<Vec<_>>(), ended);
        assert_eq!(all.iter().map(|entry| entry.at).collect::<Vec<_>>(), [1, 2, 3, 4, 5].map(at));
        assert_eq!(after(db, 1, 2).await, all[1..3]);
        // The last number given out is the same on every page.
        for (seq, limit) in [(0, 0), (0, 2), (3, 10), (5, 10), (99, 10)] {
            assert_eq!(db.log_after(seq, limit).await.last.0, 5);
        }
        assert!(after(db, 5, 10).await.is_empty());
        assert!(after(db, u64::MAX, 10).await.is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn trimming_is_bounded_and_never_touches_the_counter() {
    on_each_backend(async |db| {
        for millis in 1..=5 {
            end_one(db, millis).await;
        }
        let trim = async |before, limit| {
            db.store.trim_invalidations(at(before), limit).await.expect("answers").into_inner()
        };
        assert_eq!(trim(1, 10).await, 0);
        assert_eq!(trim(5, 3).await, 3);
        assert_eq!(trim(5, 3).await, 1);
        assert_eq!(after(db, 0, 10).await.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [5]);
        assert_eq!(trim(100, 10).await, 1);
        assert_eq!(db.last_seq().await, 5);
        end_one(db, 6).await;
        assert_eq!(db.last_seq().await, 6);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn whoever_sees_an_entry_has_seen_all_before_it() {
    on_each_backend(async |db| {
        let mut sessions = Vec::new();
        for number in 0..60 {
            let id = add_user(&*db.store, &format!("user{number}@example.com")).await;
            sessions.push((id, sign_in(&*db.store, id).await.session.id));
        }
        let ends = join_all(sessions.iter().map(|(id, session)| async move {
            let ended = db.store.end_sessions(EndScope::One(*id, *session), at(1)).await.expect("answers");
            ended.acknowledge().invalidations[0].seq.0
        }));
        let reader = async {
            let mut seen = 0;
            while seen < 60 {
                for entry in after(db, seen, 1000).await {
                    assert_eq!(entry.seq.0, seen + 1, "an entry appeared before the one in front of it");
                    seen = entry.seq.0;
                }
                tokio::task::yield_now().await;
            }
        };
        let bounded = tokio::time::timeout(crate::harness::BOUND, join(ends, reader));
        let (mut given, ()) = bounded.await.expect("all entries appear");
        given.sort_unstable();
        assert_eq!(given, (1..=60).collect::<Vec<u64>>());
    })
    .await;
}
