//! A standby answers reads, but late: what it shows of the log must not be taken for the truth.

use std::fs::File;
use std::sync::Arc;

use phoenix_auth::model::Seq;
use phoenix_auth::ports::{AccountStore, InvalidationLog, StoreErrorKind};
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::wait;

use super::outages::{finds_again, running};
use crate::harness::{BOUND, pg_config};

/// Stands in the server's log each time the log of invalidations was read.
const READ: &str = "pg_is_in_recovery() FROM phoenix.invalidation_counter";

// spec: D6
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_standby_is_an_outage_until_it_is_promoted() {
    let server = Postgres::builder().setting("log_statement", "all").start().expect("a server of its own");
    let server = Arc::new(server);
    let url = server.create_database();
    let database = database_name(&url);
    let (store, session, _running) = running(pg_config(url.clone())).await;
    store.log_after(Seq(0), 10).await.expect("answers");
    server.stop().expect("it runs");
    // The same server comes back as a standby at the same address, as behind a virtual one.
    File::create(server.directory().join("data/standby.signal")).expect("a file in the data directory");
    let started = Arc::clone(&server);
    // Returns when the server is a primary, not before.
    let started = tokio::task::spawn_blocking(move || started.restart());
    wait::until(BOUND, "the standby to answer reads", || async {
        store.has_users().await.is_ok_and(|any| any)
    })
    .await;
    let recovering = server.query(database, "SELECT pg_is_in_recovery()").expect("it answers");
    assert_eq!(recovering[0][0].as_deref(), Some("t"));
    let before = server.log().matches(READ).count();
    wait::until(BOUND, "the standby's log to have been read again and again", || async {
        let error = store.log_after(Seq(0), 10).await.expect_err("a standby");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
        server.log().matches(READ).count() >= before + 4
    })
    .await;
    server.execute(database, "SELECT pg_promote()").expect("a superuser may");
    started.await.expect("no panic").expect("it is a primary");
    wait::until(BOUND, "the log to be read again", || async { store.log_after(Seq(0), 10).await.is_ok() })
        .await;
    finds_again(&store, &session).await;
}
