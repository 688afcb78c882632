//! Sessions that time has ended are removed, in bounded batches.

use phoenix_auth::model::Timestamp;

use crate::fixtures::{LIFETIME_MS, add_user, at, new_session, open, sign_in};
use crate::harness::{Db, on_each_backend};

/// Before any session was used.
const NEVER_IDLE: Timestamp = Timestamp::from_millis(0);

async fn remove(db: &Db, now: Timestamp, idle_before: Timestamp, limit: u32) -> u64 {
    db.store.remove_expired(now, idle_before, limit).await.expect("the store answers").into_inner()
}

// spec: A8
// spec: D15
#[tokio::test]
async fn a_session_is_removed_from_the_millisecond_it_expires() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        assert_eq!(remove(db, at(LIFETIME_MS - 1), NEVER_IDLE, 100).await, 0);
        assert!(db.find(&session.token_hash).await.is_some());
        assert_eq!(remove(db, at(LIFETIME_MS), NEVER_IDLE, 100).await, 1);
        assert!(db.find(&session.token_hash).await.is_none());
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: A8
// spec: D15
#[tokio::test]
async fn a_session_is_removed_when_it_was_idle_since_before_the_limit() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let mut hashes = Vec::new();
        for seen in [99, 100, 101] {
            let mut session = new_session(id);
            session.session.last_seen_at = at(seen);
            open(&*db.store, &session).await;
            hashes.push(session.token_hash);
        }
        assert_eq!(remove(db, at(500), at(100), 100).await, 1);
        assert!(db.find(&hashes[0]).await.is_none());
        assert!(db.find(&hashes[1]).await.is_some());
        assert!(db.find(&hashes[2]).await.is_some());
    })
    .await;
}

// spec: A8
// spec: D15
#[tokio::test]
async fn a_batch_never_exceeds_its_limit_and_batches_remove_everything() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        for number in 0..25 {
            let mut session = new_session(id);
            if number % 2 == 0 {
                session.session.expires_at = at(10);
            }
            open(&*db.store, &session).await;
        }
        let mut kept = new_session(id);
        kept.session.last_seen_at = at(1000);
        open(&*db.store, &kept).await;
        let mut removed = Vec::new();
        loop {
            match remove(db, at(20), at(1), 4).await {
                0 => break,
                batch => removed.push(batch),
            }
        }
        assert!(removed.iter().all(|batch| *batch <= 4), "{removed:?}");
        assert_eq!(removed.iter().sum::<u64>(), 25);
        let left = db.store.sessions_of(id, 100).await.expect("answers");
        assert_eq!(left.iter().map(|line| line.session.id).collect::<Vec<_>>(), [kept.session.id]);
        assert_eq!(remove(db, at(20), at(1), 0).await, 0);
    })
    .await;
}

// spec: A8
// spec: D15
#[tokio::test]
async fn the_walk_over_idle_sessions_starts_again_from_the_beginning() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let early = sign_in(&*db.store, id).await;
        let late = sign_in(&*db.store, id).await;
        let end_late =
            phoenix_auth::ports::Activity { session_id: early.session.id, user_id: id, at: at(50), ip: None };
        db.store.record_activity(&[end_late]).await.expect("answers").into_inner();
        // Removes the later of the two, so the walk stands behind the earlier one.
        assert_eq!(remove(db, at(60), at(40), 1).await, 1);
        assert!(db.find(&late.token_hash).await.is_none());
        let mut removed = 0;
        for _ in 0..2 {
            removed += remove(db, at(100), at(90), 1).await;
        }
        assert_eq!(removed, 1);
        assert!(db.find(&early.token_hash).await.is_none());
    })
    .await;
}
