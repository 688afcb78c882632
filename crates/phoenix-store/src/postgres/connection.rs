//! Opens one connection and sets it up; tells in plain words why it cannot be opened.

use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};
use tokio_util::task::TaskTracker;

use super::config::Target;
use super::failure::is_broken_connection;
use super::tls::PgTls;
use crate::connect_error::ConnectError;
use crate::tls::TlsProblem;

/// Oldest supported major version.
const OLDEST: u32 = 15;
/// A commit reaches the disk before it is acknowledged, whatever server, database or role are set to; stronger
/// settings stay. Pinned for the session, so that a reload of the server's configuration does not weaken it.
const PIN_DURABILITY: &str = "SELECT set_config('synchronous_commit', \
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)";

/// Connections opened at once. Each costs a hash of the password on our side and a process on the server's, so that a
/// pool that grows from its minimum to its maximum at once would stall the requests of both.
const OPENING: usize = 2;

/// Opens connections whose drivers run under a tracker.
pub(super) struct Connector {
    tasks: TaskTracker,
    tls: PgTls,
    opening: Semaphore,
}

impl Connector {
    pub(super) fn new(tasks: TaskTracker, tls: PgTls) -> Self {
        Self { tasks, tls, opening: Semaphore::new(OPENING) }
    }

    /// A connection, ready for use, and the task that drives it.
    pub(super) async fn open(&self, driver: &Config) -> Result<(Client, JoinHandle<()>), Error> {
        // Never closed, so an error cannot be.
        let _turn = self.opening.acquire().await;
        let (client, connection) = driver.connect(self.tls.clone()).await?;
        let task = self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(?error, "a connection to PostgreSQL ended");
            }
        });
        match client.batch_execute(PIN_DURABILITY).await {
            Ok(()) => Ok((client, task)),
            Err(error) => {
                task.abort();
                Err(error)
            }
        }
    }

    /// [`Self::open`] at the start of the program: bounded, and with errors for people.
    pub(super) async fn open_first(
        &self,
        driver: &Config,
        target: &Target,
        bound: Duration,
    ) -> Result<(Client, JoinHandle<()>), ConnectError> {
        match tokio::time::timeout(bound, self.open(driver)).await {
            Ok(opened) => opened.map_err(|error| explain(error, target, driver)),
            Err(elapsed) => {
                Err(ConnectError::Unreachable { server: target.server.clone(), source: elapsed.into() })
            }
        }
    }
}

impl Connect for Connector {
    fn connect(&self, driver: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let driver = driver.clone();
        Box::pin(async move { self.open(&driver).await })
    }
}

/// Refuses a server that is too old or read-only.
pub(super) async fn check_server(client: &Client, target: &Target) -> Result<(), ConnectError> {
    let failed = |error: Error| ConnectError::failed("ask the server for its version", error);
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int4 / 10000, \
             pg_is_in_recovery() OR current_setting('transaction_read_only')::bool",
            &[],
        )
        .await
        .map_err(failed)?;
    let found = u32::try_from(row.try_get::<_, i32>(0).map_err(failed)?).unwrap_or(0);
    if found < OLDEST {
        return Err(ConnectError::ServerTooOld { server: target.server.clone(), found, needed: OLDEST });
    }
    if row.try_get(1).map_err(failed)? {
        return Err(ConnectError::ReadOnly { server: target.server.clone() });
    }
    Ok(())
}

/// Why the first connection failed.
pub(super) fn explain(error: Error, target: &Target, driver: &Config) -> ConnectError {
    let Target { server, role, database } = target.clone();
    if let Some(problem) = TlsProblem::of(&error) {
        return ConnectError::Tls { server, problem, source: error.into() };
    }
    match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            ConnectError::CredentialsRefused { server, role, source: error.into() }
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => {
            ConnectError::DatabaseMissing { server, database, source: error.into() }
        }
        Some(&SqlState::TOO_MANY_CONNECTIONS) => {
            ConnectError::TooManyConnections { server, source: error.into() }
        }
        Some(code) if code.code().starts_with("57P") => {
            ConnectError::Unreachable { server, source: error.into() }
        }
        None if is_broken_connection(&error) => ConnectError::Unreachable { server, source: error.into() },
        None if driver.get_password().is_none() => {
            ConnectError::CredentialsRefused { server, role, source: error.into() }
        }
        Some(_) | None => ConnectError::failed("open a connection", error),
    }
}
