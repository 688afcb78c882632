//! Changes of role and access, and the administrator that must stay.

use futures_util::future::join;
use phoenix_auth::model::{Role, UserId};
use phoenix_auth::ports::{AccessChange, AccessChanged, SessionOpened, Stale};

use crate::fixtures::{add_administrator, add_user, at, credentials, new_session, next_uuid, sign_in};
use crate::harness::{Db, on_each_backend};

async fn change(db: &Db, user_id: UserId, role: Option<Role>, disabled: Option<bool>) -> AccessChanged {
    let change = AccessChange { user_id, role, disabled, at: at(5) };
    db.store.change_access(&change).await.expect("the store answers").acknowledge()
}

// spec: D15
#[tokio::test]
async fn a_new_role_ends_every_session_and_refuses_those_being_opened() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let before = credentials(&*db.store, id).await;
        let role = Role::parse("editor").expect("a role");
        let AccessChanged::Changed { user, ended } = change(db, id, Some(role), None).await else {
            panic!("the role changes");
        };
        assert_eq!(user.role, role);
        assert_eq!((ended.count, ended.invalidations.len()), (1, 1));
        assert_eq!(ended.invalidations[0].stale, Stale::User(id));
        assert!(db.find(&session.token_hash).await.is_none());
        let after = credentials(&*db.store, id).await;
        assert_eq!(after.auth_epoch, before.auth_epoch + 1);
        assert_eq!(after.user.role, role);
        let late =
            db.store.open_session(&new_session(id), before.auth_epoch, None, None).await.expect("answers");
        assert!(matches!(late.acknowledge(), SessionOpened::Refused));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_disabled_account_opens_no_session_until_it_is_enabled() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let AccessChanged::Changed { user, .. } = change(db, id, None, Some(true)).await else {
            panic!("the account is disabled");
        };
        assert!(user.disabled);
        let epoch = credentials(&*db.store, id).await.auth_epoch;
        let refused = db.store.open_session(&new_session(id), epoch, None, None).await.expect("answers");
        assert!(matches!(refused.acknowledge(), SessionOpened::Refused));
        change(db, id, None, Some(false)).await;
        sign_in(&*db.store, id).await;
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_change_that_changes_nothing_ends_nothing() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        for (role, disabled) in [(None, None), (Some(Role::user()), Some(false)), (None, Some(false))] {
            let AccessChanged::Changed { user, ended } = change(db, id, role, disabled).await else {
                panic!("the account exists");
            };
            assert_eq!(user.id, id);
            assert!(ended.count == 0 && ended.invalidations.is_empty() && ended.external.is_empty());
        }
        assert_eq!(credentials(&*db.store, id).await.auth_epoch, 0);
        assert_eq!(db.last_seq().await, 0);
        assert!(db.find(&session.token_hash).await.is_some());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn nobody_is_not_found() {
    on_each_backend(async |db| {
        let nobody = UserId::from_uuid(next_uuid());
        for disabled in [None, Some(true)] {
            assert!(matches!(change(db, nobody, None, disabled).await, AccessChanged::NotFound));
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn the_last_enabled_administrator_stays() {
    on_each_backend(async |db| {
        let first = add_administrator(&*db.store, "first@example.com").await;
        let second = add_administrator(&*db.store, "second@example.com").await;
        assert!(matches!(change(db, second, None, Some(true)).await, AccessChanged::Changed { .. }));
        for (role, disabled) in
            [(Some(Role::user()), None), (None, Some(true)), (Some(Role::user()), Some(true))]
        {
            assert!(matches!(change(db, first, role, disabled).await, AccessChanged::LastAdministrator));
        }
        let known = credentials(&*db.store, first).await;
        assert!(known.user.role.is_admin() && !known.user.disabled && known.auth_epoch == 0);
        // A disabled administrator is not the last one: it may lose the role too.
        assert!(matches!(change(db, second, Some(Role::user()), None).await, AccessChanged::Changed { .. }));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn of_two_administrators_who_demote_each_other_one_stays() {
    on_each_backend(async |db| {
        let first = add_administrator(&*db.store, "first@example.com").await;
        let second = add_administrator(&*db.store, "second@example.com").await;
        for _ in 0..20 {
            let (one, other) =
                join(change(db, first, Some(Role::user()), None), change(db, second, None, Some(true))).await;
            let refused =
                [&one, &other].iter().filter(|end| matches!(end, AccessChanged::LastAdministrator)).count();
            assert_eq!(refused, 1, "{one:?} {other:?}");
            change(db, first, Some(Role::admin()), None).await;
            change(db, second, None, Some(false)).await;
        }
    })
    .await;
}
