//! PostgreSQL stopped, killed, paused or read-only: what callers are told, how soon, and that it ends by itself.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::model::{Seq, Timestamp};
use phoenix_auth::ports::{
    AccountStore, EndScope, InvalidationLog, NewSession, SessionStore, StoreError, StoreErrorKind,
};
use phoenix_store::StoreStatus;
use phoenix_store::postgres::{PgConfig, PgStore};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::fixtures::{at, new_session, new_user};
use crate::harness::{BOUND, pg_config, pg_store};

/// A store whose maintenance runs until the guard is dropped, with one session open.
pub(super) async fn running(config: PgConfig) -> (Arc<PgStore>, NewSession, DropGuard) {
    let store = Arc::new(pg_store(config).await);
    let stop = CancellationToken::new();
    let (maintained, stopped) = (Arc::clone(&store), stop.clone());
    TaskTracker::new().spawn(async move { maintained.run(stopped).await });
    let user = new_user("ada@example.com");
    let session = new_session(user.id);
    store.create_user(&user, Some(&session)).await.expect("answers").acknowledge();
    (store, session, stop.drop_guard())
}

pub(super) async fn find(store: &PgStore, session: &NewSession) -> Result<bool, StoreError> {
    Ok(store.find_session(&session.token_hash, Timestamp::default()).await?.is_some())
}

pub(super) async fn finds_again(store: &PgStore, session: &NewSession) {
    wait::until(BOUND, "the session to be found again", || async {
        find(store, session).await.is_ok_and(|found| found)
    })
    .await;
}

// spec: D6
#[tokio::test]
async fn a_killed_server_is_an_outage_and_recovery_needs_no_restart() {
    let server = Postgres::start().expect("a server of its own");
    let (store, session, _running) = running(pg_config(server.create_database())).await;
    assert!(find(&store, &session).await.expect("answers"));
    server.kill().expect("it runs");
    let error = find(&store, &session).await.expect_err("the server is gone");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let error = store.has_users().await.expect_err("the server is gone");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let error = store.end_sessions(EndScope::All(session.session.user_id), at(1)).await.expect_err("gone");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    server.restart().expect("it starts again");
    finds_again(&store, &session).await;
    let user_id = session.session.user_id;
    let opened = store.open_session(&new_session(user_id), 0, None, None).await.expect("writes work again");
    opened.acknowledge();
    assert_eq!(store.sessions_of(user_id, 10).await.expect("answers").len(), 2);
}

// spec: D6
#[tokio::test]
async fn connections_ended_by_a_failover_are_replaced_before_a_caller_notices_a_write() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, session, _running) = running(pg_config(url.clone())).await;
    let user_id = session.session.user_id;
    for _ in 0..5 {
        server.end_sessions(database_name(&url)).expect("a superuser may");
        store.open_session(&new_session(user_id), 0, None, None).await.expect("retried").acknowledge();
        finds_again(&store, &session).await;
    }
    assert_eq!(store.sessions_of(user_id, 10).await.expect("answers").len(), 6);
}

// spec: D6
#[tokio::test]
async fn a_paused_server_times_calls_out_within_their_bound() {
    let server = Postgres::start().expect("a server of its own");
    let config = PgConfig {
        query_timeout: Duration::from_millis(700),
        connection_timeout: Duration::from_millis(600),
        ..pg_config(server.create_database())
    };
    let (store, session, _running) = running(config).await;
    store.log_after(Seq(0), 0).await.expect("answers");
    server.pause().expect("it runs");
    let calls = async {
        let mut kinds = Vec::new();
        kinds.push(find(&store, &session).await.expect_err("paused").kind());
        kinds.push(store.has_users().await.expect_err("paused").kind());
        let session = new_session(session.session.user_id);
        kinds.push(store.open_session(&session, 0, None, None).await.expect_err("paused").kind());
        kinds
    };
    let kinds = tokio::time::timeout(Duration::from_secs(5), calls).await.expect("three bounds, and some");
    assert_eq!(kinds, [StoreErrorKind::TimedOut; 3]);
    // The lane that did not answer was given up; nobody else waits for it.
    let error = wait_for_fast_failure(&store, &session).await;
    assert_eq!(error, StoreErrorKind::Unavailable);
    server.resume().expect("it is paused");
    finds_again(&store, &session).await;
    wait::until(BOUND, "writes to work again", || async {
        store.open_session(&new_session(session.session.user_id), 0, None, None).await.is_ok()
    })
    .await;
}

/// Calls until no lane is left.
async fn wait_for_fast_failure(store: &PgStore, session: &NewSession) -> StoreErrorKind {
    wait::for_some(BOUND, "look-ups to fail at once", || async {
        let error = find(store, session).await.expect_err("paused");
        (error.kind() != StoreErrorKind::TimedOut).then_some(error.kind())
    })
    .await
}

// spec: D6
#[tokio::test]
async fn a_read_only_database_is_read_and_says_so() {
    let server = Postgres::shared();
    let url = server.create_database();
    let (store, session, _running) = running(pg_config(url.clone())).await;
    assert!(!store.healthy().await.expect("answers").read_only);
    server.set_read_only(database_name(&url), true).expect("a superuser may");
    finds_again(&store, &session).await;
    wait::until(BOUND, "the probe to say read-only", || async {
        store.healthy().await.is_ok_and(|health| health.read_only)
    })
    .await;
    let user_id = session.session.user_id;
    let error = store.open_session(&new_session(user_id), 0, None, None).await.expect_err("read-only");
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly, "{error:?}");
    assert_eq!(store.sessions_of(user_id, 10).await.expect("reads work").len(), 1);
    server.set_read_only(database_name(&url), false).expect("a superuser may");
    wait::until(BOUND, "writes to work again", || async {
        store.open_session(&new_session(user_id), 0, None, None).await.is_ok()
    })
    .await;
}

// spec: D2
#[tokio::test]
async fn a_full_disk_and_a_locked_row_have_their_own_kinds() {
    let server = Postgres::shared();
    let url = server.create_database();
    let config =
        PgConfig { query_timeout: Duration::from_millis(900), max_retries: 1, ..pg_config(url.clone()) };
    let (store, session, _running) = running(config).await;
    let fail = "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$; \
                CREATE TRIGGER fail BEFORE DELETE ON phoenix.sessions \
                FOR EACH ROW EXECUTE FUNCTION public.fail()";
    server.execute(database_name(&url), fail).expect("a superuser may");
    let scope = EndScope::All(session.session.user_id);
    let error = store.end_sessions(scope, at(1)).await.expect_err("the disk is full");
    assert_eq!(error.kind(), StoreErrorKind::StorageFull, "{error:?}");
    assert!(!error.to_string().contains("53100"), "the cause is the source's to tell");

    let driver: tokio_postgres::Config = url.parse().expect("an address");
    let (client, connection) = driver.connect(tokio_postgres::NoTls).await.expect("connects");
    TaskTracker::new().spawn(connection);
    client.batch_execute("BEGIN; UPDATE phoenix.users SET locale = 'xx'").await.expect("locks");
    let error =
        store.open_session(&new_session(session.session.user_id), 0, None, None).await.expect_err("locked");
    assert_eq!(error.kind(), StoreErrorKind::TimedOut, "{error:?}");
    client.batch_execute("ROLLBACK").await.expect("unlocks");
    store
        .open_session(&new_session(session.session.user_id), 0, None, None)
        .await
        .expect("answers")
        .acknowledge();
}
