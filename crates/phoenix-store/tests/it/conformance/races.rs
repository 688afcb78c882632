//! Operations that run into each other.

use futures_util::future::{join, join_all};
use phoenix_auth::model::{Durable, PasswordHash, Role};
use phoenix_auth::ports::{AccessChange, Activity, EndScope, PasswordChange, SessionOpened};

use crate::fixtures::{add_user, at, credentials, new_session, next_hash, sign_in};
use crate::harness::on_each_backend;

// spec: D15
#[tokio::test]
async fn no_session_opened_with_the_old_password_survives_its_change() {
    on_each_backend(async |db| {
        for round in 0..30 {
            let id = add_user(&*db.store, &format!("user{round}@example.com")).await;
            let fresh = new_session(id);
            let expected = fresh.session.id;
            let change = PasswordChange {
                user_id: id,
                auth_epoch: 0,
                password_hash: PasswordHash::from_stored("$argon2id$new".to_owned()),
                session: Some(fresh),
                at: at(5),
            };
            let logins = |count| {
                join_all((0..count).map(|_| async {
                    db.store
                        .open_session(&new_session(id), 0, None, None)
                        .await
                        .map(Durable::acknowledge)
                        .expect("answers")
                }))
            };
            let change =
                async { db.store.change_password(&change).await.map(Durable::acknowledge).expect("answers") };
            let (_, (changed, _)) = join(logins(3), join(change, logins(3))).await;
            assert!(matches!(changed, SessionOpened::Opened(_)));
            let left = db.store.sessions_of(id, 100).await.expect("answers");
            assert_eq!(left.iter().map(|line| line.session.id).collect::<Vec<_>>(), [expected]);
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn no_session_survives_a_change_of_access() {
    on_each_backend(async |db| {
        for round in 0..20 {
            let id = add_user(&*db.store, &format!("user{round}@example.com")).await;
            let logins = join_all((0..4).map(|_| async {
                db.store
                    .open_session(&new_session(id), 0, None, None)
                    .await
                    .map(Durable::acknowledge)
                    .expect("answers")
            }));
            let change =
                AccessChange { user_id: id, role: Role::parse("editor").ok(), disabled: None, at: at(5) };
            let (_, changed) = join(logins, db.store.change_access(&change)).await;
            changed.expect("answers").acknowledge();
            assert!(db.store.sessions_of(id, 100).await.expect("answers").is_empty());
            assert_eq!(credentials(&*db.store, id).await.auth_epoch, 1);
        }
    })
    .await;
}

/// Everything at once on the same rows, in a fixed number of rounds: nothing may fail, in particular not as a
/// deadlock that outlived its retries.
// spec: D15
#[tokio::test]
async fn operations_on_the_same_rows_do_not_get_in_each_others_way() {
    on_each_backend(async |db| {
        let mut users = Vec::new();
        for number in 0..4 {
            users.push(add_user(&*db.store, &format!("user{number}@example.com")).await);
        }
        for round in 0..10 {
            let mut sessions = Vec::new();
            for id in &users {
                for _ in 0..5 {
                    sessions.push(sign_in(&*db.store, *id).await);
                }
            }
            let forward: Vec<Activity> = sessions
                .iter()
                .map(|new| Activity {
                    session_id: new.session.id,
                    user_id: new.session.user_id,
                    at: at(round),
                    ip: None,
                })
                .collect();
            let backward: Vec<Activity> = forward.iter().rev().copied().collect();
            let activity = join(db.store.record_activity(&forward), db.store.record_activity(&backward));
            let ends = join_all(users.iter().map(|id| db.store.end_sessions(EndScope::All(*id), at(round))));
            let cleaning = join(
                db.store.remove_expired(at(0), at(round + 1), 7),
                db.store.trim_invalidations(at(round), 100),
            );
            let rotations = join_all(sessions.iter().map(|new| async {
                let rotation = phoenix_auth::ports::Rotation {
                    presented: new.token_hash,
                    successor: next_hash(),
                    at: at(round),
                    superseded_after: at(round),
                };
                db.store.rotate_token(&rotation).await
            }));
            let ((forward, backward), (ends, ((cleaned, trimmed), rotated))) =
                join(activity, join(ends, join(cleaning, rotations))).await;
            for written in [forward, backward, cleaned, trimmed] {
                written.expect("a relaxed write succeeds").into_inner();
            }
            for end in ends {
                end.expect("ending sessions succeeds").acknowledge();
            }
            for end in rotated {
                end.expect("rotation succeeds").acknowledge();
            }
        }
        // Not even once, with a retry that hid it.
        let failed =
            db.store.statement_stats().into_iter().filter(|line| line.errors > 0).collect::<Vec<_>>();
        assert!(failed.is_empty(), "{failed:?}");
    })
    .await;
}
