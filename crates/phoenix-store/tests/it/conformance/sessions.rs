//! Sessions: opened, found by their token, listed, ended, used.

use phoenix_auth::model::{DeviceFeatures, Durable, Fingerprint, KeyRing, SessionId};
use phoenix_auth::ports::{Activity, EndScope, SessionOpened, SessionsEnded, Stale};

use crate::fixtures::{
    NOON, add_user, at, credentials, external_hash, new_external, new_session, next_hash, next_uuid, open,
    open_external, sign_in,
};
use crate::harness::{Db, on_each_backend};

async fn end(db: &Db, scope: EndScope) -> SessionsEnded {
    db.store.end_sessions(scope, at(9)).await.expect("the store answers").acknowledge()
}

// spec: D11
// spec: D15
#[tokio::test]
async fn the_session_table_alone_answers_who_a_token_belongs_to() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let found = db.find(&session.token_hash).await.expect("open");
        assert!(!found.superseded);
        assert_eq!(found.active.session, session.session);
        assert_eq!(found.active.user, credentials(&*db.store, id).await.user);
        assert_eq!(found.active.user.last_active_at, Some(NOON));
        assert!(db.find(&next_hash()).await.is_none());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn addresses_of_both_families_and_none_read_back() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        for ip in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "-"] {
            let mut session = new_session(id);
            session.session.ip_address = ip.parse().ok();
            session.session.device = "Größe 🦀".to_owned();
            open(&*db.store, &session).await;
            let found = db.find(&session.token_hash).await.expect("open");
            assert_eq!(found.active.session, session.session);
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_session_is_opened_only_at_the_epoch_that_was_checked() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let nobody = new_session(phoenix_auth::model::UserId::from_uuid(next_uuid()));
        for (session, epoch) in [(new_session(id), 1), (new_session(id), -1), (nobody, 0)] {
            let opened = db.store.open_session(&session, epoch, None, None).await.map(Durable::acknowledge);
            assert!(matches!(opened, Ok(SessionOpened::Refused)), "{opened:?}");
            assert!(db.find(&session.token_hash).await.is_none());
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_new_session_ends_the_one_it_replaces() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let other = add_user(&*db.store, "bob@example.com").await;
        for owner in [id, other] {
            let old = sign_in(&*db.store, owner).await;
            let new = new_session(id);
            let opened = db.store.open_session(&new, 0, Some(old.session.id), None).await.expect("answers");
            let SessionOpened::Opened(ended) = opened.acknowledge() else { panic!("it is opened") };
            assert_eq!((ended.count, ended.invalidations.len()), (1, 1));
            assert_eq!(ended.invalidations[0].stale, Stale::Session(old.session.id));
            assert!(db.find(&old.token_hash).await.is_none());
            assert!(db.find(&new.token_hash).await.is_some());
        }
        // One that ended already costs nothing.
        let gone = Some(SessionId::from_uuid(next_uuid()));
        let opened = db.store.open_session(&new_session(id), 0, gone, None).await.expect("answers");
        assert!(matches!(opened.acknowledge(), SessionOpened::Opened(SessionsEnded { count: 0, .. })));
        // A refused one ends nothing.
        let kept = sign_in(&*db.store, id).await;
        let refused =
            db.store.open_session(&new_session(id), 7, Some(kept.session.id), None).await.expect("answers");
        assert!(matches!(refused.acknowledge(), SessionOpened::Refused));
        assert!(db.find(&kept.token_hash).await.is_some());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn sessions_are_listed_last_used_first() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let other = add_user(&*db.store, "bob@example.com").await;
        sign_in(&*db.store, other).await;
        let mut sessions = Vec::new();
        for seen in [30, 10, 20] {
            let mut session = new_session(id);
            session.session.last_seen_at = at(seen);
            open(&*db.store, &session).await;
            sessions.push(session);
        }
        let listed = db.store.sessions_of(id, 10).await.expect("answers");
        let expected: Vec<_> = [0, 2, 1].iter().map(|index| sessions[*index].session.clone()).collect();
        assert_eq!(listed.iter().map(|line| line.session.clone()).collect::<Vec<_>>(), expected);
        assert!(listed.iter().all(|line| line.user_agent == sessions[0].user_agent.as_str()));
        let first = db.store.sessions_of(id, 1).await.expect("answers");
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].session, expected[0]);
        assert!(db.store.sessions_of(id, 0).await.expect("answers").is_empty());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn one_session_ends_only_for_its_owner() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let other = add_user(&*db.store, "bob@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let strangers = end(db, EndScope::One(other, session.session.id)).await;
        assert_eq!((strangers.count, strangers.invalidations.len()), (0, 0));
        assert!(db.find(&session.token_hash).await.is_some());
        let own = end(db, EndScope::One(id, session.session.id)).await;
        assert_eq!(own.count, 1);
        assert_eq!(own.invalidations[0].stale, Stale::Session(session.session.id));
        assert!(db.find(&session.token_hash).await.is_none());
        let again = end(db, EndScope::One(id, session.session.id)).await;
        assert_eq!((again.count, again.invalidations.len()), (0, 0));
        assert_eq!(db.last_seq().await, 1);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn others_and_all_end_what_they_say() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let bystander = sign_in(&*db.store, add_user(&*db.store, "bob@example.com").await).await;
        let kept = sign_in(&*db.store, id).await;
        for _ in 0..3 {
            sign_in(&*db.store, id).await;
        }
        let others = end(db, EndScope::Others(id, kept.session.id)).await;
        assert_eq!(others.count, 3);
        assert_eq!(
            others.invalidations.iter().map(|entry| entry.stale).collect::<Vec<_>>(),
            [Stale::User(id)]
        );
        assert!(db.find(&kept.token_hash).await.is_some());
        let none = end(db, EndScope::Others(id, kept.session.id)).await;
        assert_eq!((none.count, none.invalidations.len()), (0, 0));
        let all = end(db, EndScope::All(id)).await;
        assert_eq!(all.count, 1);
        assert_eq!(all.invalidations[0].stale, Stale::Session(kept.session.id));
        assert!(db.find(&kept.token_hash).await.is_none());
        assert_eq!(end(db, EndScope::All(id)).await.count, 0);
        assert!(db.find(&bystander.token_hash).await.is_some());
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn activity_moves_times_forward_and_never_back() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let used =
            |millis| Activity { session_id: session.session.id, user_id: id, at: at(millis), ip: None };
        let record =
            async |batch: &[Activity]| db.store.record_activity(batch).await.expect("answers").into_inner();
        let times = async || {
            let active = db.find(&session.token_hash).await.expect("open").active;
            (active.session.last_seen_at, active.user.last_active_at)
        };
        assert_eq!(record(&[]).await, 0);
        assert_eq!(record(&[used(10)]).await, 1);
        assert_eq!(times().await, (at(10), Some(at(10))));
        record(&[used(5)]).await;
        assert_eq!(times().await, (at(10), Some(at(10))));
        record(&[used(12), used(30), used(20)]).await;
        assert_eq!(times().await, (at(30), Some(at(30))));
        // A session that ended meanwhile is no error, and its user was active all the same.
        let gone =
            Activity { session_id: SessionId::from_uuid(next_uuid()), user_id: id, at: at(40), ip: None };
        assert_eq!(record(&[gone]).await, 0);
        assert_eq!(times().await, (at(30), Some(at(40))));
        assert_eq!(db.last_seq().await, 0);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn the_address_of_the_last_use_is_kept() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let session = sign_in(&*db.store, id).await;
        let used = |millis, ip: &str| {
            let session_id = session.session.id;
            Activity { session_id, user_id: id, at: at(millis), ip: ip.parse().ok() }
        };
        let record =
            async |batch: &[Activity]| db.store.record_activity(batch).await.expect("answers").into_inner();
        let last = async || {
            let session = db.find(&session.token_hash).await.expect("open").active.session;
            (session.last_seen_at, session.last_ip.map(|ip| ip.to_string()).unwrap_or_default())
        };
        // Without one the time moves alone.
        assert_eq!(record(&[used(10, "")]).await, 1);
        assert_eq!(last().await, (at(10), "2001:db8::7".to_owned()));
        // Another at the same moment is not lost, and writing it again writes nothing.
        assert_eq!(record(&[used(10, "192.0.2.1")]).await, 1);
        assert_eq!(record(&[used(10, "192.0.2.1")]).await, 0);
        assert_eq!(last().await, (at(10), "192.0.2.1".to_owned()));
        // An earlier one counts for nothing.
        assert_eq!(record(&[used(9, "192.0.2.9")]).await, 0);
        assert_eq!(last().await, (at(10), "192.0.2.1".to_owned()));
        // In one batch: the latest known one, if it is not before what is stored.
        assert_eq!(record(&[used(30, ""), used(20, "192.0.2.2"), used(15, "192.0.2.3")]).await, 1);
        assert_eq!(last().await, (at(30), "192.0.2.2".to_owned()));
        assert_eq!(record(&[used(40, ""), used(29, "192.0.2.4")]).await, 1);
        assert_eq!(last().await, (at(40), "192.0.2.2".to_owned()));
        assert_eq!(record(&[used(41, "192.0.2.5"), used(41, "::1")]).await, 1);
        assert_eq!(last().await, (at(41), "::1".to_owned()));
        let opened_from = db.find(&session.token_hash).await.expect("open").active.session.ip_address;
        assert_eq!(opened_from, session.session.ip_address);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn the_device_a_session_was_opened_on_reads_back() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let mut session = new_session(id);
        let features = DeviceFeatures { user_agent: Some("curl/8.5.0"), ..DeviceFeatures::default() };
        session.session.fingerprint =
            Some(Fingerprint::of(&features, &KeyRing::derive(b"a secret for tests")));
        session.session.last_ip = None;
        open(&*db.store, &session).await;
        assert_eq!(db.find(&session.token_hash).await.expect("open").active.session, session.session);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn the_sessions_used_last_are_read_with_their_hashes() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let outside = open_external(&*db.store, &new_external("u1", "s1")).await;
        let mut expected = vec![(external_hash("s1"), outside.session.clone())];
        for seen in [30, 10, 20] {
            let mut session = new_session(id);
            session.session.last_seen_at = at(seen);
            open(&*db.store, &session).await;
            expected.push((session.token_hash, session.session));
        }
        expected.sort_by_key(|(_, session)| std::cmp::Reverse(session.last_seen_at));
        for limit in [0, 2, 4, 100] {
            let read = db.store.recently_used(limit).await.expect("answers");
            let read: Vec<_> = read.into_iter().map(|(hash, active)| (hash, active.session)).collect();
            assert_eq!(read, expected[..expected.len().min(limit as usize)]);
        }
        let first = db.store.recently_used(1).await.expect("answers").remove(0).1;
        assert_eq!(first.user, credentials(&*db.store, id).await.user);
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_batch_larger_than_a_transaction_is_written_whole() {
    on_each_backend(async |db| {
        let id = add_user(&*db.store, "ada@example.com").await;
        let mut batch = Vec::new();
        for _ in 0..3 {
            let session_id = sign_in(&*db.store, id).await.session.id;
            batch.extend((1..400).map(|millis| Activity {
                session_id,
                user_id: id,
                at: at(millis),
                ip: None,
            }));
        }
        db.store.record_activity(&batch).await.expect("answers").into_inner();
        let listed = db.store.sessions_of(id, 10).await.expect("answers");
        assert!(listed.len() == 3 && listed.iter().all(|line| line.session.last_seen_at == at(399)));
    })
    .await;
}
