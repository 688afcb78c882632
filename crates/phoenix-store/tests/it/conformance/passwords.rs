//! Changes of password.

use phoenix_auth::model::{PasswordHash, UserId};
use phoenix_auth::ports::{AccessChange, NewSession, PasswordChange, SessionOpened, SessionsEnded, Stale};

use crate::fixtures::{add_user, at, credentials, new_session, next_uuid, sign_in};
use crate::harness::{Db, on_each_backend};

fn new_hash() -> PasswordHash {
    PasswordHash::from_stored("$argon2id$new".to_owned())
}

async fn change(db: &Db, user_id: UserId, auth_epoch: i64, session: Option<NewSession>) -> SessionOpened {
    let change = PasswordChange { user_id, auth_epoch, password_hash: new_hash(), session, at: at(5) };
    db.store.change_password(&change).await.expect("the store answers").acknowledge()
}

// spec: D15
#[tokio::test]
async fn a_new_password_ends_every_session_but_the_one_it_opens() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let other = add_user(&*db.store, "bob@example.com").await;
        let old = [sign_in(&*db.store, id).await, sign_in(&*db.store, id).await];
        let bystander = sign_in(&*db.store, other).await;
        let fresh = new_session(id);
        let hash = fresh.token_hash;
        let SessionOpened::Opened(ended) = change(db, id, 0, Some(fresh)).await else {
            panic!("the password changes");
        };
        assert_eq!((ended.count, ended.invalidations[0].stale), (2, Stale::User(id)));
        for session in old {
            assert!(db.find(&session.token_hash).await.is_none());
        }
        assert!(db.find(&hash).await.is_some());
        assert!(db.find(&bystander.token_hash).await.is_some());
        let known = credentials(&*db.store, id).await;
        assert_eq!(known.password_hash, Some(new_hash()));
        assert_eq!(known.auth_epoch, 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_password_can_be_reset_without_opening_a_session() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        sign_in(&*db.store, id).await;
        assert!(matches!(
            change(db, id, 0, None).await,
            SessionOpened::Opened(SessionsEnded { count: 1, .. })
        ));
        assert!(db.store.sessions_of(id, 10).await.expect("answers").is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_change_is_refused_at_another_epoch_for_a_disabled_account_and_for_nobody() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        assert!(matches!(change(db, id, 1, Some(new_session(id))).await, SessionOpened::Refused));
        assert!(db.find(&session.token_hash).await.is_some());
        assert_ne!(credentials(&*db.store, id).await.password_hash, Some(new_hash()));

        let disable = AccessChange { user_id: id, role: None, disabled: Some(true), at: at(6) };
        db.store.change_access(&disable).await.expect("answers").acknowledge();
        assert!(matches!(change(db, id, 1, None).await, SessionOpened::Refused));

        let nobody = UserId::from_uuid(next_uuid());
        assert!(matches!(change(db, nobody, 0, None).await, SessionOpened::Refused));
        assert_eq!(db.last_seq().await, 1);
    })
    .await;
}
