//! Random histories, run on both databases: every answer must be the same, to the sequence number.

use phoenix_auth::model::{Durable, PasswordHash, Role, SessionId, Timestamp, TokenHash, UserId};
use phoenix_auth::ports::{
    AccessChange, Activity, CapPolicy, EndScope, NewExternalSession, NewSession, PasswordChange, Rotation,
    SessionCap, Stale,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::fixtures::{at, identity, new_external, new_session, new_user, said};
use crate::harness::{TestStore, postgres_db, sqlite_db};

const USERS: u8 = 3;
const SESSIONS: u8 = 8;
const TOKENS: u8 = 12;

/// One step. Small numbers, so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    Create { user: u8, admin: bool, session: Option<(u8, u8)> },
    Open { user: u8, session: u8, token: u8, epoch: i64, replaces: Option<u8>, cap: Option<(u32, bool)> },
    OpenExternal { subject: u8, session: u8, token: u8, issued: i64, cap: Option<(u32, bool)> },
    Profile { subject: u8, name: u8 },
    Identity { subject: u8 },
    Recent,
    Find { token: u8, since: i64 },
    Rotate { presented: u8, successor: u8, millis: i64, since: i64 },
    End { user: u8, session: Option<u8>, others: bool },
    Seen { user: u8, session: u8, millis: i64, ip: bool },
    Clean { now: i64, idle_before: i64 },
    Password { user: u8, epoch: i64, session: Option<(u8, u8)> },
    Access { user: u8, admin: Option<bool>, disabled: Option<bool> },
    List { user: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let new = || proptest::option::of((0..SESSIONS, 0..TOKENS));
    // Ours and the provider's.
    let owner = || 0..2 * USERS;
    let cap = || proptest::option::of((1..4_u32, any::<bool>()));
    let (user, token, millis, epoch) = (|| 0..USERS, || 0..TOKENS, || 0..50_i64, || 0..3_i64);
    prop_oneof![
        1 => (user(), any::<bool>(), new())
            .prop_map(|(user, admin, session)| Step::Create { user, admin, session }),
        3 => (user(), 0..SESSIONS, token(), epoch(), proptest::option::of(0..SESSIONS), cap()).prop_map(
            |(user, session, token, epoch, replaces, cap)| {
                Step::Open { user, session, token, epoch, replaces, cap }
            }
        ),
        4 => (user(), 0..SESSIONS, token(), epoch(), cap()).prop_map(
            |(subject, session, token, issued, cap)| {
                Step::OpenExternal { subject, session, token, issued, cap }
            }
        ),
        1 => (user(), 0..3_u8).prop_map(|(subject, name)| Step::Profile { subject, name }),
        1 => user().prop_map(|subject| Step::Identity { subject }),
        1 => Just(Step::Recent),
        3 => (token(), millis()).prop_map(|(token, since)| Step::Find { token, since }),
        3 => (token(), token(), millis(), millis()).prop_map(|(presented, successor, millis, since)| {
            Step::Rotate { presented, successor, millis, since }
        }),
        2 => (owner(), proptest::option::of(0..SESSIONS), any::<bool>())
            .prop_map(|(user, session, others)| Step::End { user, session, others }),
        2 => (owner(), 0..SESSIONS, millis(), any::<bool>())
            .prop_map(|(user, session, millis, ip)| Step::Seen { user, session, millis, ip }),
        1 => (millis(), millis()).prop_map(|(now, idle_before)| Step::Clean { now, idle_before }),
        1 => (owner(), epoch(), new())
            .prop_map(|(user, epoch, session)| Step::Password { user, epoch, session }),
        1 => (owner(), proptest::option::of(any::<bool>()), proptest::option::of(any::<bool>()))
            .prop_map(|(user, admin, disabled)| Step::Access { user, admin, disabled }),
        1 => owner().prop_map(|user| Step::List { user }),
    ]
}

fn user_id(number: u8) -> UserId {
    UserId::from_uuid(Uuid::from_u128(100 + u128::from(number)))
}

fn session_id(number: u8) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(200 + u128::from(number)))
}

fn token(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

fn session(user: u8, (number, hash): (u8, u8)) -> NewSession {
    let mut new = new_session(user_id(user));
    new.session.id = session_id(number);
    new.token_hash = token(hash);
    new.session.created_at = at(i64::from(hash));
    new.session.expires_at = at(i64::from(number) * 7);
    new
}

/// Users of the provider have the numbers after ours.
fn outside(subject: u8, number: (u8, u8), issued: i64, most: Option<(u32, bool)>) -> NewExternalSession {
    let NewSession { session, token_hash, user_agent } = session(USERS + subject, number);
    NewExternalSession {
        user_id: session.user_id,
        session,
        token_hash,
        user_agent,
        issued_at: at(issued),
        cap: cap(most),
        ..new_external(&format!("u{subject}"), &format!("s{}", number.1))
    }
}

fn cap(most: Option<(u32, bool)>) -> Option<SessionCap> {
    let policy = |refuse| if refuse { CapPolicy::Refuse } else { CapPolicy::EvictOldest };
    most.map(|(most, refuse)| SessionCap { most, policy: policy(refuse), idle_before: at(0) })
}

fn role(admin: bool) -> Role {
    if admin { Role::admin() } else { Role::user() }
}

/// Does the step and describes the answer. Broken constraints (a session or token that exists) count as an answer.
async fn run(store: &dyn TestStore, step: &Step) -> String {
    match step.clone() {
        Step::Create { user, admin, session: first } => {
            let mut new = new_user(&format!("user{user}@example.com"));
            new.id = user_id(user);
            new.role = role(admin);
            let first = first.map(|first| session(user, first));
            show(store.create_user(&new, first.as_ref()).await.map(Durable::acknowledge))
        }
        Step::Open { user, session: number, token, epoch, replaces, cap: most } => {
            let new = session(user, (number, token));
            let opened = store.open_session(&new, epoch, replaces.map(session_id), cap(most)).await;
            show(opened.map(Durable::acknowledge))
        }
        Step::OpenExternal { subject, session: number, token, issued, cap: most } => {
            let new = outside(subject, (number, token), issued, most);
            show(store.open_external(&new).await.map(Durable::acknowledge))
        }
        Step::Profile { subject, name } => {
            let profile = said(&format!("user{name}@example.com"));
            let updated =
                store.update_external(&identity(&format!("u{subject}")), &profile, at(4), at(4)).await;
            show(updated.map(Durable::acknowledge))
        }
        Step::Identity { subject } => show(store.user_of_identity(&identity(&format!("u{subject}"))).await),
        Step::Recent => show(store.recently_used(5).await),
        Step::Find { token: number, since } => show(store.find_session(&token(number), at(since)).await),
        Step::Rotate { presented, successor, millis, since } => {
            let (presented, successor) = (token(presented), token(successor));
            let rotation = Rotation { presented, successor, at: at(millis), superseded_after: at(since) };
            show(store.rotate_token(&rotation).await.map(Durable::acknowledge))
        }
        Step::End { user, session, others } => {
            let scope = match (session.map(session_id), others) {
                (Some(id), true) => EndScope::Others(user_id(user), id),
                (Some(id), false) => EndScope::One(user_id(user), id),
                (None, _) => EndScope::All(user_id(user)),
            };
            show(store.end_sessions(scope, at(1)).await.map(Durable::acknowledge))
        }
        Step::Seen { user, session, millis, ip } => {
            let (session_id, user_id) = (session_id(session), user_id(user));
            let ip = ip.then(|| std::net::Ipv4Addr::new(192, 0, 2, session).into());
            let batch = [Activity { session_id, user_id, at: at(millis), ip }];
            show(store.record_activity(&batch).await)
        }
        Step::Clean { now, idle_before } => show(store.remove_expired(at(now), at(idle_before), 1000).await),
        Step::Password { user, epoch, session: new } => {
            let change = PasswordChange {
                user_id: user_id(user),
                auth_epoch: epoch,
                password_hash: PasswordHash::from_stored("$new".to_owned()),
                session: new.map(|new| session(user, new)),
                at: at(2),
            };
            show(store.change_password(&change).await.map(Durable::acknowledge))
        }
        Step::Access { user, admin, disabled } => {
            let change = AccessChange { user_id: user_id(user), role: admin.map(role), disabled, at: at(3) };
            show(store.change_access(&change).await.map(Durable::acknowledge))
        }
        Step::List { user } => show(store.sessions_of(user_id(user), 100).await),
    }
}

/// The answer; of an error only its kind, because the causes differ.
fn show<T: std::fmt::Debug>(answer: Result<T, phoenix_auth::ports::StoreError>) -> String {
    match answer {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Empties both stores between histories through their own ports, as far as ports can: sessions and times.
async fn forget(store: &dyn TestStore) {
    let end = Timestamp::from_millis(i64::MAX);
    store.remove_expired(end, end, 100_000).await.expect("answers").into_inner();
    store.trim_external(end, end, 100_000).await.expect("answers").into_inner();
}

// spec: D15
#[test]
fn both_databases_give_the_same_answers_to_the_same_history() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (left, right) = runtime.block_on(async { (sqlite_db(), postgres_db().await) });
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let histories = proptest::collection::vec(step(), 1..60);
    let outcome = runner.run(&histories, |steps| {
        runtime.block_on(async {
            for step in &steps {
                let answers = (run(&*left.store, step).await, run(&*right.store, step).await);
                prop_assert_eq!(answers.0, answers.1, "{:?}", step);
            }
            let last = (left.last_seq().await, right.last_seq().await);
            prop_assert_eq!(last.0, last.1);
            let since = phoenix_auth::model::Seq(last.0.saturating_sub(50));
            let entries = |entries: Vec<phoenix_auth::ports::Invalidation>| -> Vec<Stale> {
                entries.into_iter().map(|entry| entry.stale).collect()
            };
            let logs = (
                entries(left.store.log_after(since, 100).await.expect("answers").entries),
                entries(right.store.log_after(since, 100).await.expect("answers").entries),
            );
            prop_assert_eq!(logs.0, logs.1);
            forget(&*left.store).await;
            forget(&*right.store).await;
            Ok(())
        })
    });
    outcome.expect("the databases agree");
}
