//! Facts about the installation.

use futures_util::future::join_all;
use phoenix_auth::model::Durable;
use phoenix_auth::ports::{BlockFilter, EndScope};
use phoenix_store::FingerprintCheck;

use super::blocks::block;
use crate::fixtures::{add_user, at, sign_in};
use crate::harness::on_each_backend;

// spec: D15
#[tokio::test]
async fn of_secrets_offered_at_once_one_wins_everywhere() {
    on_each_backend(async |db| {
        let offers = (0..20_u8).map(async |number| {
            db.store.get_or_set_secret([number; 32]).await.map(Durable::acknowledge).expect("answers")
        });
        let secrets = join_all(offers).await;
        assert!(secrets.iter().all(|secret| secret == &secrets[0]));
        let later = db.store.get_or_set_secret([99; 32]).await.map(Durable::acknowledge).expect("answers");
        assert_eq!(later, secrets[0]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn another_key_is_noticed_and_replacing_it_removes_every_session() {
    on_each_backend(async |db| {
        let check = async |fingerprint| {
            db.store.check_fingerprint(fingerprint).await.map(Durable::acknowledge).expect("answers")
        };
        assert_eq!(check([1; 32]).await, FingerprintCheck::FirstUse);
        assert_eq!(check([1; 32]).await, FingerprintCheck::Matches);
        assert_eq!(check([2; 32]).await, FingerprintCheck::Differs);
        assert_eq!(check([1; 32]).await, FingerprintCheck::Matches);
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let secret = db.store.get_or_set_secret([7; 32]).await.map(Durable::acknowledge).expect("answers");
        let blocked = db.store.put_blocks(&[block(1, 0, 100)]).await.expect("answers").acknowledge();
        assert_eq!(blocked, 1);
        db.store.replace_fingerprint([2; 32]).await.map(Durable::acknowledge).expect("answers");
        assert_eq!(check([2; 32]).await, FingerprintCheck::Matches);
        assert!(db.find(&session.token_hash).await.is_none());
        let blocks = db.store.live_blocks(&BlockFilter::default(), at(1), 10).await.expect("answers");
        assert_eq!(blocks, [], "their keys mean nothing any more");
        // A hole in the log, at which a node that was left running drops its copies.
        let page = db.log_after(0, 10).await;
        assert_eq!((page.last.0, page.entries), (1, Vec::new()));
        assert!(db.store.has_users().await.expect("answers"));
        let kept = db.store.get_or_set_secret([8; 32]).await.map(Durable::acknowledge).expect("answers");
        assert_eq!(kept, secret);
        let session = sign_in(&*db.store, id).await.session.id;
        db.store.end_sessions(EndScope::One(id, session), at(1)).await.expect("answers").acknowledge();
        let page = db.log_after(0, 10).await;
        assert_eq!(page.entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [2]);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_store_tells_how_it_does() {
    on_each_backend(async |db| {
        let health = db.store.healthy().await.expect("answers");
        assert!(!health.read_only);
        add_user(&*db.store, "ada@example.com").await;
        let stats = db.store.statement_stats();
        let insert = stats.iter().find(|line| line.name == "user_insert").expect("a named statement");
        assert_eq!((insert.count, insert.errors), (1, 0));
        assert!(!insert.total.is_zero() && insert.longest <= insert.total);
    })
    .await;
}
