//! Users and sessions of outside identity providers: made once, kept in step, never mixed with ours.

use std::collections::HashSet;

use futures_util::future::join_all;
use phoenix_auth::model::{Durable, Email, Profile, Provider, Role, UserId};
use phoenix_auth::ports::{
    AccessChange, ExternalOpened, ExternalProfile, NewExternalSession, Rotated, Rotation, Stale,
};

use crate::fixtures::{
    NOON, add_user, at, credentials, external_hash, identity, new_external, new_user, next_hash, next_uuid,
    open_external, said,
};
use crate::harness::{Db, on_each_backend};

async fn open(db: &Db, new: &NewExternalSession) -> ExternalOpened {
    db.store.open_external(new).await.map(Durable::acknowledge).expect("the store answers")
}

// spec: D15
#[tokio::test]
async fn the_first_session_makes_the_account_and_the_next_finds_it() {
    on_each_backend(async |db| {
        let new = new_external("u1", "s1");
        let ExternalOpened::Opened { active, ended, created_user: true } = open(db, &new).await else {
            panic!("it is opened");
        };
        assert_eq!(ended.count, 0);
        assert_eq!(active.session, new.session);
        assert_eq!(active.session.provider, Provider::Stack);
        let user = &active.user;
        assert_eq!((user.id, &user.email, user.email_verified), (new.user_id, &new.profile.email, true));
        assert_eq!((&user.role, &user.profile, user.disabled), (&Role::user(), &new.profile.profile, false));
        assert_eq!((user.created_at, user.last_active_at), (NOON, Some(NOON)));
        let found = db.find(&new.token_hash).await.expect("open").active;
        assert_eq!((&found.session, &found.user), (&active.session, &active.user));

        let second = new_external("u1", "s2");
        let ExternalOpened::Opened { active, created_user: false, .. } = open(db, &second).await else {
            panic!("it is opened");
        };
        assert_eq!((active.user.id, active.session.user_id), (new.user_id, new.user_id));
        assert_eq!(active.session.id, second.session.id);
        assert_eq!(db.store.users(None, 10).await.expect("answers").len(), 1);
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_open_session_is_answered_as_it_is_stored() {
    on_each_backend(async |db| {
        let first = open_external(&*db.store, &new_external("u1", "s1")).await;
        let mut again = new_external("u1", "s1");
        again.session.device = "another".to_owned();
        again.session.created_at = at(50);
        let ExternalOpened::Opened { active, created_user: false, .. } = open(db, &again).await else {
            panic!("it is open");
        };
        assert_eq!((&active.session, &active.user), (&first.session, &first.user));
        assert_eq!(db.store.sessions_of(first.user.id, 10).await.expect("answers").len(), 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn of_a_thousand_at_once_one_makes_the_account_and_all_get_the_one_session() {
    on_each_backend(async |db| {
        let attempts = (0..1000).map(|_| async { open(db, &new_external("u1", "s1")).await });
        let opened: Vec<_> = join_all(attempts).await;
        let mut made = 0;
        let mut names = HashSet::new();
        for outcome in opened {
            let ExternalOpened::Opened { active, created_user, .. } = outcome else { panic!("{outcome:?}") };
            made += u32::from(created_user);
            names.insert((active.session.id, active.user.id));
        }
        assert_eq!((made, names.len()), (1, 1));
        let users = db.store.users(None, 2000).await.expect("answers");
        assert_eq!(users.len(), 1, "nobody who lost the race left a user behind");
        assert_eq!(db.store.sessions_of(users[0].id, 2000).await.expect("answers").len(), 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn users_of_two_issuers_and_our_own_with_one_address_are_three() {
    on_each_backend(async |db| {
        let own = add_user(&*db.store, "ada@example.com").await;
        let one = open_external(&*db.store, &new_external("u1", "s1")).await.user.id;
        let mut other = new_external("u1", "s2");
        other.identity =
            phoenix_auth::model::Identity::new("https://issuer.example", "u1").expect("an identity");
        let other = open_external(&*db.store, &other).await.user.id;
        assert_eq!(HashSet::from([own, one, other]).len(), 3);
        // Only ours is found by the address, and only ours has a password.
        let key = Email::parse("ada@example.com").expect("an address").key();
        let known = db.store.credentials(&key).await.expect("answers").expect("known");
        assert!(known.user.id == own && known.password_hash.is_some());
        assert!(credentials(&*db.store, one).await.password_hash.is_none());
        // One who comes later is not kept from it either.
        open_external(
            &*db.store,
            &NewExternalSession { profile: said("bob@example.com"), ..new_external("u2", "s3") },
        )
        .await;
        add_user(&*db.store, "bob@example.com").await;
        assert_eq!(db.store.users(None, 10).await.expect("answers").len(), 5);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_user_without_an_address_has_none() {
    on_each_backend(async |db| {
        for subject in ["u1", "u2"] {
            let mut new = new_external(subject, subject);
            new.profile = ExternalProfile::default();
            let active = open_external(&*db.store, &new).await;
            assert_eq!((&active.user.email, active.user.email_verified), (&None, false));
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_disabled_account_opens_no_outside_session() {
    on_each_backend(async |db| {
        let user_id = open_external(&*db.store, &new_external("u1", "s1")).await.user.id;
        let set = async |disabled| {
            let change = AccessChange { user_id, role: None, disabled: Some(disabled), at: at(5) };
            db.store.change_access(&change).await.expect("answers").acknowledge();
        };
        set(true).await;
        let later = || NewExternalSession { issued_at: at(6), ..new_external("u1", "s2") };
        assert!(matches!(open(db, &later()).await, ExternalOpened::Disabled));
        assert!(db.find(&external_hash("s2")).await.is_none());
        set(false).await;
        open_external(&*db.store, &later()).await;
        // What was issued before the account was disabled stays worthless.
        assert!(matches!(open(db, &new_external("u1", "s3")).await, ExternalOpened::Ended));
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_name_of_another_users_session_opens_nothing() {
    on_each_backend(async |db| {
        let ada = open_external(&*db.store, &new_external("u1", "s1")).await;
        assert!(matches!(open(db, &new_external("u2", "s1")).await, ExternalOpened::Ended));
        assert_eq!(db.find(&external_hash("s1")).await.expect("open").active.user.id, ada.user.id);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_outside_session_is_never_rotated() {
    on_each_backend(async |db| {
        let new = new_external("u1", "s1");
        open_external(&*db.store, &new).await;
        let successor = next_hash();
        let rotation = Rotation { presented: new.token_hash, successor, at: at(5), superseded_after: at(0) };
        assert!(matches!(db.rotate(&rotation).await, Rotated::Unknown));
        assert!(db.find(&new.token_hash).await.is_some() && db.find(&successor).await.is_none());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_profile_is_taken_over_only_when_it_differs() {
    on_each_backend(async |db| {
        let user = open_external(&*db.store, &new_external("u1", "s1")).await.user.clone();
        let update = async |profile: &ExternalProfile| {
            let updated = db.store.update_external(&identity("u1"), profile, at(6), at(7)).await;
            updated.map(Durable::acknowledge).expect("answers")
        };
        let stored =
            async || db.store.user_of_identity(&identity("u1")).await.expect("answers").expect("known");
        assert_eq!(stored().await, user);
        assert!(update(&said("ada@example.com")).await.is_none());
        let text = |text: &str| Some(text.to_owned());
        let full = Profile {
            username: text("Ada L."),
            first_name: text("Ada"),
            last_name: text("Lovelace"),
            image_url: text("https://example.com/a.png"),
            timezone: text("Europe/London"),
            locale: text("en-GB"),
        };
        let changes = [
            ExternalProfile { profile: full.clone(), ..said("ada@example.com") },
            ExternalProfile { profile: full.clone(), ..said("ada@example.org") },
            ExternalProfile { profile: full.clone(), email_verified: false, ..said("ada@example.org") },
            ExternalProfile { profile: full.clone(), email: None, email_verified: false },
        ];
        for (number, change) in changes.iter().enumerate() {
            let entry = update(change).await.expect("it differs");
            assert_eq!(
                (entry.stale, entry.at, entry.seq.0),
                (Stale::User(user.id), at(7), number as u64 + 1)
            );
            let now = stored().await;
            assert_eq!((&now.email, now.email_verified), (&change.email, change.email_verified));
            assert_eq!(now.profile, full);
            assert!(update(change).await.is_none());
        }
        // The name is always taken over; of the rest only what is said.
        assert!(update(&ExternalProfile::default()).await.is_some());
        let expected = Profile { username: None, ..full };
        assert_eq!(stored().await.profile, expected);
        assert_eq!(db.find(&external_hash("s1")).await.expect("open").active.user, stored().await);
        assert!(update(&ExternalProfile::default()).await.is_none());
        assert_eq!(db.last_seq().await, 5);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_unknown_identity_has_no_user() {
    on_each_backend(async |db| {
        add_user(&*db.store, "ada@example.com").await;
        assert!(db.store.user_of_identity(&identity("u1")).await.expect("answers").is_none());
        let updated = db.store.update_external(&identity("u1"), &said("ada@example.com"), at(1), at(1)).await;
        assert!(updated.expect("answers").acknowledge().is_none());
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn what_was_said_before_the_last_change_is_not_taken_over() {
    on_each_backend(async |db| {
        open_external(&*db.store, &new_external("u1", "s1")).await;
        let update = async |address: &str, said_at| {
            let updated =
                db.store.update_external(&identity("u1"), &said(address), at(said_at), at(50)).await;
            updated.map(Durable::acknowledge).expect("answers").is_some()
        };
        assert!(update("new@example.com", 20).await);
        assert!(!update("old@example.com", 19).await, "said earlier, heard later");
        assert!(update("newer@example.com", 20).await, "said in the same moment");
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_delivery_is_known_from_when_it_is_remembered_until_it_is_trimmed() {
    on_each_backend(async |db| {
        let knows = async |id: &str| db.store.knows_delivery(id).await.expect("answers");
        let remember = async |id: &str, millis| {
            db.store.remember_delivery(id, at(millis)).await.expect("answers").acknowledge();
        };
        assert!(!knows("msg_1").await);
        join_all((0..50).map(|_| remember("msg_1", 1))).await;
        remember("msg_2", 2).await;
        assert!(knows("msg_1").await && knows("msg_2").await && !knows("msg_3").await);
        let trim = async |deliveries, limit| {
            let trimmed = db.store.trim_external(at(deliveries), at(0), limit).await;
            trimmed.expect("answers").into_inner()
        };
        assert_eq!(trim(1, 10).await, 0);
        assert_eq!(trim(9, 1).await, 1);
        assert!(!knows("msg_1").await && knows("msg_2").await);
        assert_eq!(trim(9, 10).await, 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_outside_account_is_listed_and_changed_like_any_other() {
    on_each_backend(async |db| {
        let own = new_user("ada@example.com");
        db.store.create_user(&own, None).await.expect("answers").acknowledge();
        let outside = open_external(&*db.store, &new_external("u1", "s1")).await.user.clone();
        let listed: HashSet<UserId> =
            db.store.users(None, 10).await.expect("answers").iter().map(|user| user.id).collect();
        assert_eq!(listed, HashSet::from([own.id, outside.id]));
        let nobody = UserId::from_uuid(next_uuid());
        assert!(db.store.credentials_by_id(nobody).await.expect("answers").is_none());
        assert_eq!(credentials(&*db.store, outside.id).await.user, outside);
    })
    .await;
}
