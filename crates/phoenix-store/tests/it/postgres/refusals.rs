//! Why a store cannot be opened, in plain words and without the password.

use phoenix_store::ConnectError;
use phoenix_store::postgres::{PgConfig, PgStore};
use phoenix_testkit::postgres::{Postgres, database_name};
use tokio_util::task::TaskTracker;

use crate::harness::{pg_config, pg_store};

async fn refusal(url: String) -> ConnectError {
    let config = PgConfig { connection_timeout: std::time::Duration::from_secs(5), ..pg_config(url) };
    let error = PgStore::connect(config, &TaskTracker::new()).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("not-the-password"), "{shown}");
    error
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_role_are_named() {
    let server = Postgres::shared();
    let url = server.create_database();
    let error = refusal(server.url_with_wrong_password(database_name(&url))).await;
    assert!(
        matches!(&error, ConnectError::CredentialsRefused { role, .. } if role == "phoenix"),
        "{error:?}"
    );
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
    let url = format!("postgres://nobody:not-the-password@{}/x", server.address());
    assert!(matches!(refusal(url).await, ConnectError::CredentialsRefused { .. }));
    let url = format!("postgres://phoenix@{}/x", server.address());
    assert!(matches!(refusal(url).await, ConnectError::CredentialsRefused { .. }));
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let error = refusal(Postgres::shared().url("no_such_database")).await;
    assert!(matches!(&error, ConnectError::DatabaseMissing { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_database"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = phoenix_testkit::port::free();
    let error = refusal(format!("postgres://phoenix:not-the-password@127.0.0.1:{port}/x")).await;
    assert!(matches!(&error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_read_only_database_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    pg_store(pg_config(url.clone())).await.close();
    server.set_read_only(database_name(&url), true).expect("a superuser may");
    let error = refusal(url).await;
    assert!(matches!(error, ConnectError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused_before_connecting() {
    for url in [
        "",
        "mysql://phoenix:not-the-password@localhost/x",
        "postgres:///x",
        "postgres://phoenix:not-the-password@localhost/x?sslmode=on",
    ] {
        let error = refusal(url.to_owned()).await;
        assert!(matches!(error, ConnectError::Address(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_role_that_may_not_create_the_schema_is_told_so() {
    let server = Postgres::shared();
    let url = server.create_database();
    let role = format!("plain_{}", database_name(&url));
    server
        .execute("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD 'plain'"))
        .expect("a superuser may");
    let url = format!("postgres://{role}:plain@{}/{}", server.address(), database_name(&url));
    let tasks = TaskTracker::new();
    let config = pg_config(url);
    let error = phoenix_store::postgres::migrate(&config, &tasks).await.expect_err("no right to create");
    assert!(matches!(&error, ConnectError::SchemaForbidden { .. }), "{error:?}");
    // With a schema made for it, it needs no more rights.
    let database = config.url.rsplit('/').next().expect("a database").to_owned();
    server
        .execute(&database, &format!("CREATE SCHEMA phoenix AUTHORIZATION {role}"))
        .expect("a superuser may");
    phoenix_store::postgres::migrate(&config, &tasks).await.expect("the schema is its own");
}
