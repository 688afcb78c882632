//! The pool keeps its bounds, and statements stay prepared.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use phoenix_auth::ports::{AccountStore, SessionStore, StoreErrorKind};
use phoenix_store::postgres::PgConfig;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;
use tokio_util::task::TaskTracker;

use crate::fixtures::{new_session, new_user};
use crate::harness::{BOUND, pg_config, pg_store};

/// Connections of the store to its database, as the server sees them.
fn pids(url: &str) -> BTreeSet<String> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'phoenix' AND datname = '{}'",
        database_name(url)
    );
    let rows = Postgres::shared().query("postgres", &sql).expect("answers");
    rows.into_iter().flatten().flatten().collect()
}

// spec: D1
#[tokio::test]
async fn the_pool_opens_its_minimum_at_once_and_never_exceeds_its_maximum() {
    let url = Postgres::shared().create_database();
    let store = pg_store(PgConfig { pool_min: 3, pool_max: 4, ..pg_config(url.clone()) }).await;
    let pool = store.stats().pool;
    assert_eq!((pool.size, pool.idle, pool.in_use, pool.min, pool.max), (3, 3, 0, 3, 4));
    assert_eq!(store.stats().shared_open, 2);
    let burst = join_all((0..50).map(|_| store.has_users())).await;
    assert!(burst.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(store.stats().pool.size, 4);
    wait::until(BOUND, "four connections and two shared ones", || async { pids(&url).len() == 6 }).await;
    store.close();
    wait::until(BOUND, "all connections to be closed", || async { pids(&url).is_empty() }).await;
    let error = store.has_users().await.expect_err("closed");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

// spec: D1
#[tokio::test]
async fn idle_connections_are_closed_down_to_the_minimum() {
    let url = Postgres::shared().create_database();
    let idle_timeout = Duration::from_millis(1);
    let store = pg_store(PgConfig { pool_min: 2, idle_timeout, ..pg_config(url) }).await;
    let burst = join_all((0..50).map(|_| store.has_users())).await;
    assert!(burst.into_iter().all(|answer| answer.is_ok()));
    assert!(store.stats().pool.size > 2);
    wait::until(BOUND, "the pool to shrink to its minimum", || async {
        store.maintain().await;
        store.stats().pool.size == 2
    })
    .await;
}

// spec: D1
#[tokio::test]
async fn old_connections_are_replaced() {
    let url = Postgres::shared().create_database();
    let max_lifetime = Duration::from_millis(200);
    let store = pg_store(PgConfig { pool_min: 2, max_lifetime, ..pg_config(url.clone()) }).await;
    let first = pids(&url);
    wait::until(BOUND, "both pooled connections to be replaced", || async {
        store.maintain().await;
        let now = pids(&url);
        // The two shared ones stay.
        now.intersection(&first).count() <= 2 && now.len() >= 4
    })
    .await;
    assert_eq!(store.stats().pool.size, 2);
}

// spec: D1
#[tokio::test]
async fn a_caller_waits_for_a_connection_no_longer_than_it_may() {
    let url = Postgres::shared().create_database();
    let connection_timeout = Duration::from_millis(300);
    let store = pg_store(PgConfig { pool_max: 1, connection_timeout, ..pg_config(url.clone()) }).await;
    let user = new_user("ada@example.com");
    store.create_user(&user, None).await.expect("answers").acknowledge();
    let driver: tokio_postgres::Config = url.parse().expect("an address");
    let (client, connection) = driver.connect(tokio_postgres::NoTls).await.expect("connects");
    TaskTracker::new().spawn(connection);
    client.batch_execute("BEGIN; UPDATE phoenix.users SET locale = 'xx'").await.expect("locks");
    let session = new_session(user.id);
    let unlock = async {
        let error = store.has_users().await.expect_err("the only connection is in use");
        assert_eq!(error.kind(), StoreErrorKind::TimedOut);
        let pool = store.stats().pool;
        assert_eq!((pool.in_use, pool.timeouts), (1, 1));
        client.batch_execute("ROLLBACK").await.expect("unlocks");
    };
    let (opened, ()) = tokio::join!(store.open_session(&session, 0, None, None), unlock);
    opened.expect("goes on when the row is free").acknowledge();
    store.has_users().await.expect("the connection is free again");
}

// spec: D1
#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_transaction_behind() {
    let url = Postgres::shared().create_database();
    let store = pg_store(PgConfig { pool_max: 1, ..pg_config(url.clone()) }).await;
    let user = new_user("ada@example.com");
    store.create_user(&user, None).await.expect("answers").acknowledge();
    let driver: tokio_postgres::Config = url.parse().expect("an address");
    let (client, connection) = driver.connect(tokio_postgres::NoTls).await.expect("connects");
    TaskTracker::new().spawn(connection);
    client.batch_execute("BEGIN; UPDATE phoenix.users SET locale = 'xx'").await.expect("locks");
    let session = new_session(user.id);
    let cancelled = store.open_session(&session, 0, None, None);
    let gone = tokio::time::timeout(Duration::from_millis(100), cancelled).await;
    assert!(gone.is_err(), "the row is locked");
    client.batch_execute("ROLLBACK").await.expect("unlocks");
    assert_eq!(store.stats().pool.in_use, 0);
    store.open_session(&new_session(user.id), 0, None, None).await.expect("answers").acknowledge();
    let open = store.sessions_of(user.id, 10).await.expect("answers");
    assert_eq!(open.len(), 1, "the cancelled one was rolled back");
}

// spec: D5
#[tokio::test]
async fn a_statement_is_prepared_once_for_each_connection() {
    let server =
        Postgres::builder().setting("log_min_duration_statement", "0").start().expect("a server of its own");
    let url = server.create_database();
    let store = pg_store(PgConfig { pool_max: 1, ..pg_config(url) }).await;
    let user = new_user("ada@example.com");
    store.create_user(&user, None).await.expect("answers").acknowledge();
    for _ in 0..20 {
        store.credentials(&user.email.key()).await.expect("answers").expect("known");
        let missing = store.find_session(&new_session(user.id).token_hash, user.created_at).await;
        assert!(missing.expect("answers").is_none());
    }
    store.close();
    let count = |step: &str, text: &str| {
        let log = server.log();
        log.lines().filter(|line| line.contains(&format!("ms  {step} s")) && line.contains(text)).count()
    };
    for (text, connections) in [("u.email_key = $1", 1), ("s.token_hash = $1", 2)] {
        wait::until(BOUND, "the server to log all executions", || async { count("execute", text) == 20 })
            .await;
        assert_eq!(count("parse", text), connections, "{text}");
    }
}
