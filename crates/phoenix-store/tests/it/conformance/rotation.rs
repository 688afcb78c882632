//! Tokens replaced by their successors.

use futures_util::future::join_all;
use phoenix_auth::model::{Timestamp, TokenHash};
use phoenix_auth::ports::{Rotated, Rotation, Stale};

use crate::fixtures::{add_user, at, next_hash, sign_in};
use crate::harness::on_each_backend;

/// The grace that a replaced token has in these tests, in milliseconds.
const GRACE_MS: i64 = 100;

fn rotation(presented: TokenHash, successor: TokenHash, millis: i64) -> Rotation {
    Rotation { presented, successor, at: at(millis), superseded_after: at(millis - GRACE_MS) }
}

// spec: D15
#[tokio::test]
async fn a_rotated_session_is_found_by_its_successor_and_for_a_while_by_the_old_token() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let (old, new) = (session.token_hash, next_hash());
        let Rotated::Rotated(active, Some(invalidation)) = db.rotate(&rotation(old, new, 50)).await else {
            panic!("the token is current");
        };
        assert_eq!(active.session, session.session);
        assert_eq!(invalidation.stale, Stale::Session(session.session.id));
        let found = db.find_since(&new, Timestamp::default()).await.expect("current");
        assert!(!found.superseded);
        // Replaced at 50: found up to a grace that reaches back to 50, not to 51.
        let found = db.find_since(&old, at(50)).await.expect("within the grace");
        assert!(found.superseded);
        assert_eq!(found.active.session, session.session);
        assert!(db.find_since(&old, at(51)).await.is_none());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_repeated_rotation_within_the_grace_leads_to_the_same_successor() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let (old, new) = (session.token_hash, next_hash());
        db.rotate(&rotation(old, new, 50)).await;
        let Rotated::Rotated(active, None) = db.rotate(&rotation(old, new, 50 + GRACE_MS)).await else {
            panic!("within the grace, to the millisecond");
        };
        assert_eq!(active.session, session.session);
        assert_eq!(db.last_seq().await, 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_token_replayed_after_the_grace_ends_its_session() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let (old, new) = (session.token_hash, next_hash());
        db.rotate(&rotation(old, new, 50)).await;
        let Rotated::Replayed(user_id, Some(invalidation)) =
            db.rotate(&rotation(old, new, 51 + GRACE_MS)).await
        else {
            panic!("a millisecond after the grace");
        };
        assert_eq!(user_id, id);
        assert_eq!(invalidation.stale, Stale::Session(session.session.id));
        assert!(db.find(&new).await.is_none());
        assert!(matches!(db.rotate(&rotation(new, next_hash(), 160)).await, Rotated::Unknown));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_replaced_token_with_another_successor_ends_its_session() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        db.rotate(&rotation(session.token_hash, next_hash(), 50)).await;
        let forged = rotation(session.token_hash, next_hash(), 60);
        assert!(matches!(db.rotate(&forged).await, Rotated::Replayed(owner, Some(_)) if owner == id));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn only_the_token_before_the_current_one_is_remembered() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let (first, second, third) = (session.token_hash, next_hash(), next_hash());
        db.rotate(&rotation(first, second, 50)).await;
        db.rotate(&rotation(second, third, 60)).await;
        assert!(matches!(db.rotate(&rotation(first, second, 70)).await, Rotated::Unknown));
        assert!(db.find_since(&first, Timestamp::default()).await.is_none());
        assert!(db.find_since(&second, Timestamp::default()).await.is_some_and(|found| found.superseded));
        assert!(db.find(&third).await.is_some());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_unknown_token_is_unknown() {
    on_each_backend(async |db| {
        assert!(matches!(db.rotate(&rotation(next_hash(), next_hash(), 50)).await, Rotated::Unknown));
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn rotations_that_race_with_one_token_all_get_the_same_session() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        for _ in 0..10 {
            let session = sign_in(&*db.store, id).await;
            let (old, new) = (session.token_hash, next_hash());
            let before = db.last_seq().await;
            let race = join_all((0..10).map(|tab| async move {
                match db.rotate(&rotation(old, new, 50 + tab)).await {
                    Rotated::Rotated(active, invalidation) => (active.session.id, invalidation.is_some()),
                    other => panic!("{other:?}"),
                }
            }))
            .await;
            assert!(race.iter().all(|(id, _)| *id == session.session.id));
            assert_eq!(race.iter().filter(|(_, first)| *first).count(), 1);
            assert_eq!(db.last_seq().await, before + 1);
            assert!(db.find(&new).await.is_some());
        }
    })
    .await;
}
