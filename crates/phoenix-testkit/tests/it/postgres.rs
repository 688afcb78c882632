//! The private `PostgreSQL`: databases per test, and every way of failing that tests rely on.

use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::postgres::{Postgres, database_name};
use tokio_postgres::NoTls;

const BOUND: Duration = Duration::from_secs(20);

fn value(postgres: &Postgres, database: &str, query: &str) -> Result<String> {
    let rows = postgres.query(database, query)?;
    let cell = rows.first().and_then(|row| row.first()).cloned().flatten();
    cell.ok_or_else(|| anyhow::anyhow!("{query} has no value"))
}

#[test]
fn every_test_gets_an_empty_database_of_its_own() -> Result<()> {
    let postgres = Postgres::shared();
    let (first, second) = (postgres.create_database(), postgres.create_database());
    assert_ne!(first, second);
    postgres.execute(database_name(&first), "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")?;
    assert_eq!(value(postgres, database_name(&first), "SELECT n FROM t")?, "7");
    assert!(postgres.query(database_name(&second), "SELECT n FROM t").is_err());

    let copy = postgres.create_database_from(database_name(&first));
    assert_eq!(value(postgres, &copy, "SELECT n FROM t")?, "7");
    Ok(())
}

#[test]
fn a_killed_server_comes_back_on_the_same_port_with_its_data() -> Result<()> {
    let postgres = Postgres::start()?;
    assert_eq!(value(&postgres, "postgres", "SHOW fsync")?, "on");
    assert_eq!(value(&postgres, "postgres", "SHOW max_connections")?, "200");
    postgres.execute("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")?;
    let port = postgres.port();

    postgres.kill()?;
    assert!(postgres.pid().is_none());
    assert!(postgres.query("postgres", "SELECT 1").is_err());
    postgres.restart()?;
    assert_eq!(postgres.port(), port);
    assert_eq!(value(&postgres, "postgres", "SELECT n FROM t")?, "7");

    postgres.stop()?;
    assert!(postgres.query("postgres", "SELECT 1").is_err());
    postgres.set_for_restart("work_mem", "5MB");
    postgres.restart()?;
    assert_eq!(value(&postgres, "postgres", "SHOW work_mem")?, "5MB");
    assert_eq!(value(&postgres, "postgres", "SELECT n FROM t")?, "7");
    Ok(())
}

#[tokio::test]
async fn a_paused_server_keeps_connections_and_answers_later() -> Result<()> {
    let postgres = Postgres::builder().fsync(false).setting("work_mem", "6MB").start()?;
    let (client, connection) = tokio_postgres::connect(&postgres.url("postgres"), NoTls).await?;
    let _connection = tokio::spawn(connection);
    assert_eq!(client.query_one("SHOW work_mem", &[]).await?.get::<_, String>(0), "6MB");

    postgres.pause()?;
    let asked = client.query_one("SELECT 1", &[]);
    tokio::pin!(asked);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asked).await.is_err());
    postgres.resume()?;
    assert_eq!(tokio::time::timeout(BOUND, asked).await??.get::<_, i32>(0), 1);
    Ok(())
}

#[tokio::test]
async fn a_database_can_be_made_read_only_and_passwords_are_checked() -> Result<()> {
    let postgres = Postgres::shared();
    let url = postgres.create_database();
    let database = database_name(&url);
    postgres.execute(database, "CREATE TABLE t (n int)")?;
    postgres.set_read_only(database, true)?;
    let refused = postgres.execute(database, "INSERT INTO t VALUES (1)");
    assert!(format!("{:#}", refused.expect_err("the database is read only")).contains("read-only"));
    postgres.set_read_only(database, false)?;
    postgres.execute(database, "INSERT INTO t VALUES (1)")?;

    let wrong = tokio_postgres::connect(&postgres.url_with_wrong_password(database), NoTls).await;
    let error = wrong.err().expect("the password is wrong");
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("28P01"));
    Ok(())
}
