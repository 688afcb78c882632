//! A session of an outside provider that ended here never comes back, however it ended.

use futures_util::future::{join, join_all};
use phoenix_auth::model::{Durable, PasswordHash, Role, SessionId, Timestamp, UserId};
use phoenix_auth::ports::{
    AccessChange, AccessChanged, CapPolicy, EndScope, EndedExternal, ExternalOpened, NewExternalSession,
    PasswordChange, SessionCap, SessionOpened, SessionsEnded, Stale,
};

use crate::fixtures::{
    LIFETIME_MS, add_user, at, external_hash, identity, new_external, new_session, open_external, sign_in,
};
use crate::harness::{Db, on_each_backend};

/// After every ending in these tests, so that only the memory of the session keeps it from being opened.
const LATER: Timestamp = Timestamp::from_millis(i64::MAX);

async fn end(db: &Db, scope: EndScope) -> SessionsEnded {
    db.store.end_sessions(scope, at(9)).await.expect("the store answers").acknowledge()
}

async fn change(db: &Db, user_id: UserId, role: Option<Role>, disabled: Option<bool>) -> SessionsEnded {
    let change = AccessChange { user_id, role, disabled, at: at(9) };
    match db.store.change_access(&change).await.map(Durable::acknowledge).expect("the store answers") {
        AccessChanged::Changed { ended, .. } => ended,
        refused => unreachable!("{refused:?}"),
    }
}

async fn stays_ended(db: &Db, subject: &str, name: &str) {
    assert!(db.find(&external_hash(name)).await.is_none());
    let again = NewExternalSession { issued_at: LATER, ..new_external(subject, name) };
    let opened = db.store.open_external(&again).await.map(Durable::acknowledge).expect("the store answers");
    assert!(matches!(opened, ExternalOpened::Ended), "{name}: {opened:?}");
    assert!(db.find(&external_hash(name)).await.is_none());
}

fn told(subject: &str, name: Option<&str>) -> EndedExternal {
    EndedExternal { identity: identity(subject), session: name.map(str::to_owned) }
}

/// Opens a session of each of these names; all are the user's.
async fn opened(db: &Db, subject: &str, names: &[&str]) -> (UserId, Vec<SessionId>) {
    let mut ids = Vec::new();
    let mut user_id = None;
    for name in names {
        let new = NewExternalSession { issued_at: LATER, ..new_external(subject, name) };
        let active = open_external(&*db.store, &new).await;
        ids.push(active.session.id);
        user_id = Some(active.user.id);
    }
    (user_id.expect("at least one"), ids)
}

// spec: D15
#[tokio::test]
async fn each_scope_remembers_what_it_ended_and_names_it() {
    on_each_backend(async |db| {
        let (user_id, ids) = opened(db, "u1", &["a", "b", "c", "d", "e"]).await;
        let (stranger, _) = opened(db, "u2", &["x"]).await;
        let none = end(db, EndScope::One(stranger, ids[0])).await;
        assert_eq!((none.count, none.external.len()), (0, 0));
        assert!(db.find(&external_hash("a")).await.is_some());

        let one = end(db, EndScope::One(user_id, ids[0])).await;
        assert_eq!((one.count, one.external), (1, vec![told("u1", Some("a"))]));
        assert_eq!((one.invalidations[0].stale, one.invalidations[0].at), (Stale::Session(ids[0]), at(9)));
        stays_ended(db, "u1", "a").await;
        let again = end(db, EndScope::One(user_id, ids[0])).await;
        assert_eq!((again.count, again.external.len()), (0, 0));

        let others = end(db, EndScope::Others(user_id, ids[1])).await;
        let names = ["c", "d", "e"].map(|name| told("u1", Some(name)));
        assert_eq!((others.count, others.external), (3, names.to_vec()));
        for name in ["c", "d", "e"] {
            stays_ended(db, "u1", name).await;
        }
        assert!(db.find(&external_hash("b")).await.is_some());

        let all = end(db, EndScope::All(user_id)).await;
        assert_eq!((all.count, all.external), (1, vec![told("u1", Some("b")), told("u1", None)]));
        stays_ended(db, "u1", "b").await;
        // The provider is told of the user even if none of the sessions was seen here.
        let nothing = end(db, EndScope::All(user_id)).await;
        assert_eq!((nothing.count, nothing.external), (0, vec![told("u1", None)]));
        assert!(nothing.invalidations.is_empty());
        assert!(db.find(&external_hash("x")).await.is_some(), "another user's goes on");
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn ending_everything_ends_what_was_never_seen_here() {
    on_each_backend(async |db| {
        for (subject, others) in [("u1", false), ("u2", true)] {
            let kept = format!("{subject}-kept");
            let (user_id, ids) = opened(db, subject, &[&kept]).await;
            end(db, if others { EndScope::Others(user_id, ids[0]) } else { EndScope::All(user_id) }).await;
            // Ended at 9.
            for (millis, expected) in [(8, false), (9, true), (10, true)] {
                let name = format!("{subject}-{millis}");
                let new = NewExternalSession { issued_at: at(millis), ..new_external(subject, &name) };
                let outcome = db.store.open_external(&new).await.map(Durable::acknowledge).expect("answers");
                assert_eq!(matches!(outcome, ExternalOpened::Opened { .. }), expected, "{name}: {outcome:?}");
                assert_eq!(matches!(outcome, ExternalOpened::Ended), !expected, "{name}: {outcome:?}");
            }
            // An earlier ending that arrives late does not bring anything back.
            let late = db.store.end_sessions(EndScope::Others(user_id, ids[0]), at(1)).await;
            late.expect("answers").acknowledge();
            let new = NewExternalSession { issued_at: at(5), ..new_external(subject, "late") };
            let outcome = db.store.open_external(&new).await.map(Durable::acknowledge).expect("answers");
            assert!(matches!(outcome, ExternalOpened::Ended));
            if others {
                // The session that stays open is not asked when its token was issued.
                let old = NewExternalSession { issued_at: at(0), ..new_external(subject, &kept) };
                open_external(&*db.store, &old).await;
            }
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_disabled_account_ends_them_and_a_new_role_does_not() {
    on_each_backend(async |db| {
        let (user_id, _) = opened(db, "u1", &["a", "b"]).await;
        let own = sign_in(&*db.store, user_id).await;
        let role = change(db, user_id, Role::parse("editor").ok(), None).await;
        assert_eq!((role.count, role.external.len(), role.invalidations.len()), (1, 0, 1));
        assert_eq!(role.invalidations[0].stale, Stale::User(user_id));
        assert!(db.find(&own.token_hash).await.is_none());
        let found = db.find(&external_hash("a")).await.expect("it goes on");
        assert_eq!(found.active.user.role, Role::parse("editor").expect("a role"));

        let disabled = change(db, user_id, None, Some(true)).await;
        assert_eq!(disabled.external, ["a", "b"].map(|name| told("u1", Some(name))));
        assert_eq!((disabled.count, disabled.invalidations[0].stale), (2, Stale::User(user_id)));
        let enabled = change(db, user_id, None, Some(false)).await;
        assert_eq!((enabled.count, enabled.invalidations.len()), (0, 1));
        for name in ["a", "b"] {
            stays_ended(db, "u1", name).await;
        }
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn a_new_password_ends_them() {
    on_each_backend(async |db| {
        let (user_id, _) = opened(db, "u1", &["a"]).await;
        let password_hash = PasswordHash::from_stored("$argon2id$new".to_owned());
        let session = Some(new_session(user_id));
        let change = PasswordChange { user_id, auth_epoch: 0, password_hash, session, at: at(9) };
        let changed = db.store.change_password(&change).await.expect("answers").acknowledge();
        let SessionOpened::Opened(ended) = changed else { panic!("{changed:?}") };
        assert_eq!((ended.count, ended.external), (1, vec![told("u1", Some("a"))]));
        stays_ended(db, "u1", "a").await;
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn being_replaced_or_evicted_ends_them() {
    on_each_backend(async |db| {
        let (user_id, ids) = opened(db, "u1", &["a", "b"]).await;
        // Replaced by a session of another account: the same browser signed in anew.
        let own = add_user(&*db.store, "ada@example.com").await;
        let replaced =
            db.store.open_session(&new_session(own), 0, Some(ids[0]), None).await.expect("answers");
        let SessionOpened::Opened(ended) = replaced.acknowledge() else { panic!("it is opened") };
        assert_eq!((ended.count, ended.external), (1, vec![told("u1", Some("a"))]));
        stays_ended(db, "u1", "a").await;

        let cap = SessionCap { most: 1, policy: CapPolicy::EvictOldest, idle_before: at(0) };
        let new = NewExternalSession { cap: Some(cap), ..new_external("u1", "c") };
        let outcome = db.store.open_external(&new).await.map(Durable::acknowledge).expect("answers");
        let ExternalOpened::Opened { ended, active, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((ended.count, ended.external), (1, vec![told("u1", Some("b"))]));
        assert_eq!(ended.invalidations[0].stale, Stale::Session(ids[1]));
        stays_ended(db, "u1", "b").await;

        let own = new_session(user_id);
        let opened = db.store.open_session(&own, 0, None, Some(cap)).await.expect("answers").acknowledge();
        let SessionOpened::Opened(ended) = opened else { panic!("{opened:?}") };
        assert_eq!(ended.external, [told("u1", Some("c"))]);
        assert_eq!(ended.invalidations[0].stale, Stale::Session(active.session.id));
        stays_ended(db, "u1", "c").await;
    })
    .await;
}

// spec: A8
// spec: D15
#[tokio::test]
async fn the_clean_up_ends_them() {
    on_each_backend(async |db| {
        let mut expired = new_external("u1", "expired");
        expired.session.expires_at = at(10);
        open_external(&*db.store, &expired).await;
        open_external(&*db.store, &new_external("u1", "idle")).await;
        let mut used = new_external("u1", "used");
        used.session.last_seen_at = at(100);
        open_external(&*db.store, &used).await;
        let removed = db.store.remove_expired(at(10), at(100), 10).await.expect("answers").into_inner();
        assert_eq!(removed, 2);
        stays_ended(db, "u1", "expired").await;
        stays_ended(db, "u1", "idle").await;
        assert!(db.find(&external_hash("used")).await.is_some());
        // Forgotten after their time, and not before.
        let trim = async |endings, limit| {
            db.store.trim_external(at(0), at(endings), limit).await.expect("answers").into_inner()
        };
        assert_eq!(trim(10, 10).await, 0);
        assert_eq!(trim(11, 1).await, 1);
        assert_eq!(trim(LIFETIME_MS, 10).await, 1);
        open_external(&*db.store, &new_external("u1", "expired")).await;
    })
    .await;
}

// spec: D15
#[tokio::test]
async fn replacing_the_instances_key_lets_no_token_issued_before_come_back() {
    on_each_backend(async |db| {
        opened(db, "u1", &["a"]).await;
        db.store.replace_fingerprint([2; 32]).await.map(Durable::acknowledge).expect("answers");
        // Under another key the same session has another hash.
        let outcome = db.store.open_external(&new_external("u1", "a-hashed-anew")).await.expect("answers");
        assert!(matches!(outcome.acknowledge(), ExternalOpened::Ended));
        opened(db, "u1", &["b"]).await;
    })
    .await;
}

/// Requests with the token go on while the session is ended: none of them opens it again.
// spec: D15
#[tokio::test]
async fn no_request_that_races_with_the_end_brings_a_session_back() {
    on_each_backend(async |db| {
        for round in 0..30 {
            let name = format!("race-{round}");
            let (user_id, ids) = opened(db, "u1", &[&name]).await;
            let requests = || {
                join_all((0..6).map(|_| async {
                    let again = NewExternalSession { issued_at: LATER, ..new_external("u1", &name) };
                    db.store.open_external(&again).await.map(Durable::acknowledge).expect("answers")
                }))
            };
            let ending = async {
                match round % 3 {
                    0 => end(db, EndScope::One(user_id, ids[0])).await.count,
                    1 => end(db, EndScope::All(user_id)).await.count,
                    _ => {
                        let removed = db.store.remove_expired(at(LIFETIME_MS), at(0), 10).await;
                        removed.expect("answers").into_inner()
                    }
                }
            };
            let (_, (ended, _)) = join(requests(), join(ending, requests())).await;
            assert_eq!(ended, 1);
            stays_ended(db, "u1", &name).await;
        }
    })
    .await;
}
