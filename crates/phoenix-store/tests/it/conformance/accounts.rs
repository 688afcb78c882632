//! Accounts: made once, read back as they were written, listed in pages.

use futures_util::future::join_all;
use phoenix_auth::model::{Durable, Email, PasswordHash, Profile, Role, UserId};
use phoenix_auth::ports::{NewUser, UserCreated};

use crate::fixtures::{NOON, add_user, credentials, new_session, new_user};
use crate::harness::on_each_backend;

fn full_profile() -> Profile {
    let text = |text: &str| Some(text.to_owned());
    Profile {
        username: text("ada 🦀"),
        first_name: text("Ada 𝔘𝔫𝔦"),
        last_name: text("Løve'lace\"; DROP TABLE users; --"),
        image_url: text("https://example.com/a.png"),
        timezone: text("Europe/Berlin"),
        locale: text("de-AT"),
    }
}

// spec: D15
#[tokio::test]
async fn an_account_reads_back_as_it_was_written() {
    on_each_backend(async |db| {
        assert!(!db.store.has_users().await.expect("the store answers"));
        let user = NewUser {
            role: Role::parse("editor").expect("a role"),
            profile: full_profile(),
            ..new_user("Jörg@Müller.example")
        };
        let created = db.store.create_user(&user, None).await.expect("the store answers").acknowledge();
        assert!(matches!(created, UserCreated::Created));
        assert!(db.store.has_users().await.expect("the store answers"));

        let key = Email::parse("jörg@müller.EXAMPLE").expect("an address").key();
        let by_email = db.store.credentials(&key).await.expect("the store answers").expect("known");
        let by_id = credentials(&*db.store, user.id).await;
        for known in [by_email, by_id] {
            assert_eq!(known.user.id, user.id);
            assert_eq!(known.user.email.as_ref(), Some(&user.email));
            assert_eq!(known.user.profile, user.profile);
            assert_eq!(known.user.role, user.role);
            assert_eq!(known.user.created_at, NOON);
            assert_eq!(known.user.last_active_at, None);
            assert_eq!(known.user.settings, "{}");
            assert!(!known.user.email_verified && !known.user.disabled);
            assert_eq!(known.password_hash.as_ref(), Some(&user.password_hash));
            assert_eq!(known.auth_epoch, 0);
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn unknown_accounts_are_not_found() {
    on_each_backend(async |db| {
        let key = Email::parse("nobody@example.com").expect("an address").key();
        assert!(db.store.credentials(&key).await.expect("the store answers").is_none());
        let id = new_user("nobody@example.com").id;
        assert!(db.store.credentials_by_id(id).await.expect("the store answers").is_none());
        assert!(db.store.users(None, 10).await.expect("the store answers").is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_address_is_taken_whatever_its_case_and_nothing_of_the_second_account_stays() {
    on_each_backend(async |db| {
        let first = add_user(&*db.store, "Ada@example.com").await;
        let second = new_user("ada@EXAMPLE.com");
        let session = new_session(second.id);
        let taken = db.store.create_user(&second, Some(&session)).await.map(Durable::acknowledge);
        assert!(matches!(taken, Ok(UserCreated::EmailTaken)), "{taken:?}");
        assert!(db.find(&session.token_hash).await.is_none());
        let all = db.store.users(None, 10).await.expect("the store answers");
        assert_eq!(all.iter().map(|user| user.id).collect::<Vec<_>>(), [first]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn an_account_is_made_together_with_its_first_session() {
    on_each_backend(async |db| {
        let user = new_user("ada@example.com");
        let session = new_session(user.id);
        let created = db.store.create_user(&user, Some(&session)).await.expect("the store answers");
        assert!(matches!(created.acknowledge(), UserCreated::Created));
        let found = db.find(&session.token_hash).await.expect("open");
        assert_eq!(found.active.session, session.session);
        assert_eq!(found.active.user.last_active_at, Some(NOON));
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_hundred_registrations_of_one_address_make_one_account() {
    on_each_backend(async |db| {
        let attempts = (0..100).map(async |_| {
            let user = new_user("race@example.com");
            db.store.create_user(&user, Some(&new_session(user.id))).await.expect("the store answers")
        });
        let made = join_all(attempts).await;
        let made = made.into_iter().map(Durable::acknowledge);
        assert_eq!(made.filter(|created| matches!(created, UserCreated::Created)).count(), 1);
        assert_eq!(db.store.users(None, 1000).await.expect("the store answers").len(), 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn accounts_are_listed_in_pages_in_order_of_their_names() {
    on_each_backend(async |db| {
        let mut ids = Vec::new();
        for number in 0..7 {
            ids.push(add_user(&*db.store, &format!("user{number}@example.com")).await);
        }
        let mut listed: Vec<UserId> = Vec::new();
        for expected in [3, 3, 1, 0] {
            let page = db.store.users(listed.last().copied(), 3).await.expect("the store answers");
            assert_eq!(page.len(), expected);
            listed.extend(page.iter().map(|user| user.id));
        }
        assert_eq!(listed, ids);
        assert!(db.store.users(None, 0).await.expect("the store answers").is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_hash_is_upgraded_only_if_it_is_still_the_same() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let before = credentials(&*db.store, id).await;
        let stronger = PasswordHash::from_stored("$argon2id$stronger".to_owned());
        let other = PasswordHash::from_stored("$argon2id$other".to_owned());
        let upgrade = async |from: &PasswordHash, to: &PasswordHash| {
            db.store.upgrade_password_hash(id, from, to).await.expect("the store answers").acknowledge()
        };
        assert!(!upgrade(&other, &stronger).await);
        let present = before.password_hash.expect("it has a password");
        assert!(upgrade(&present, &stronger).await);
        assert!(!upgrade(&present, &other).await);
        let after = credentials(&*db.store, id).await;
        assert_eq!(after.password_hash, Some(stronger));
        assert_eq!(after.auth_epoch, before.auth_epoch);
    })
    .await;
}
