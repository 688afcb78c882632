//! Takes the pending steps on a PostgreSQL database, each in one transaction, under an advisory lock: of nodes that
//! start at the same moment one migrates and the others wait.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_util::task::TaskTracker;

use super::config::{PgConfig, Target, Way};
use super::connection::{Connector, check_server};
use crate::connect_error::ConnectError;
use crate::decode;
use crate::migrate::{self, Applied, Migration, MigrationStatus, POSTGRES};

/// Longest wait for another node that migrates.
const LOCK_WAIT: Duration = Duration::from_mins(5);
/// Key of the advisory lock: "phoenix" in ASCII.
const LOCK_KEY: i64 = 0x0070_686f_656e_6978;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS phoenix.migrations (
    version     integer PRIMARY KEY,
    name        text    NOT NULL,
    checksum    bytea   NOT NULL,
    applied_ms  bigint  NOT NULL
)";

/// Brings the database to the newest version this binary knows. Returns where it stands. Several nodes may do this
/// at once.
///
/// # Errors
/// [`ConnectError`]; a database of a newer binary is left as it is.
pub async fn migrate(config: &PgConfig, tasks: &TaskTracker) -> Result<MigrationStatus, ConnectError> {
    let (client, target) = open(config, tasks).await?;
    check_server(&client, &target).await?;
    migrate::pending(POSTGRES, &applied(&client).await?)?;
    lock(&client).await?;
    make_table(&client, &target).await?;
    while let Some(step) = take_step(&client).await? {
        tracing::info!(version = step.version, name = step.name, "migration applied");
    }
    // The lock goes with the connection.
    status_of(&client).await
}

/// Where the database stands. Changes nothing.
///
/// # Errors
/// [`ConnectError`].
pub async fn status(config: &PgConfig, tasks: &TaskTracker) -> Result<MigrationStatus, ConnectError> {
    let (client, _) = open(config, tasks).await?;
    status_of(&client).await
}

/// Refuses a database that is not at exactly the version of this binary.
pub(super) async fn check(client: &Client) -> Result<(), ConnectError> {
    let status = status_of(client).await?;
    if status.pending.is_empty() {
        return Ok(());
    }
    let found = status.applied.last().map_or(0, |applied| applied.version);
    Err(ConnectError::NotMigrated { found, needed: migrate::newest(POSTGRES) })
}

async fn open(config: &PgConfig, tasks: &TaskTracker) -> Result<(Client, Target), ConnectError> {
    let Way { driver, tls, target } = config.way()?;
    let connector = Connector::new(tasks.clone(), tls);
    let (client, _) = connector.open_first(&driver, &target, config.connection_timeout).await?;
    Ok((client, target))
}

pub(super) async fn status_of(client: &Client) -> Result<MigrationStatus, ConnectError> {
    let applied = applied(client).await?;
    let pending = migrate::pending(POSTGRES, &applied)?.to_vec();
    Ok(MigrationStatus { applied, pending })
}

async fn lock(client: &Client) -> Result<(), ConnectError> {
    let failed = |error| ConnectError::failed("wait for the migration lock", error);
    // A step may take long on a large database; the wait for another node is bounded by lock_timeout.
    let settings = format!("SET statement_timeout = 0; SET lock_timeout = {}", LOCK_WAIT.as_millis());
    client.batch_execute(&settings).await.map_err(failed)?;
    match client.execute("SELECT pg_advisory_lock($1)", &[&LOCK_KEY]).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(ConnectError::MigrationBusy { waited: LOCK_WAIT })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes the schema and the table of steps, under the lock.
async fn make_table(client: &Client, target: &Target) -> Result<(), ConnectError> {
    let failed = |error: tokio_postgres::Error| {
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            ConnectError::SchemaForbidden { role: target.role.clone(), source: error.into() }
        } else {
            ConnectError::failed("make the schema", error)
        }
    };
    // Asked first: IF NOT EXISTS needs the right to create even when there is nothing to create.
    let exists = client
        .query_one("SELECT to_regnamespace('phoenix') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .map_err(failed)?;
    if !exists {
        client.batch_execute("CREATE SCHEMA IF NOT EXISTS phoenix").await.map_err(failed)?;
    }
    client.batch_execute(TABLE).await.map_err(failed)
}

/// Takes the first pending step, if there is one.
async fn take_step(client: &Client) -> Result<Option<Migration>, ConnectError> {
    let Some(step) = migrate::pending(POSTGRES, &applied(client).await?)?.first().copied() else {
        return Ok(None);
    };
    // On an error the connection is dropped, which rolls back.
    run(client, &step).await.map_err(|error| ConnectError::MigrationFailed {
        version: step.version,
        name: step.name,
        source: error.into(),
    })?;
    Ok(Some(step))
}

async fn run(client: &Client, step: &Migration) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    client.batch_execute(step.sql).await?;
    let version = i32::try_from(step.version).unwrap_or(i32::MAX);
    client
        .execute(
            "INSERT INTO phoenix.migrations (version, name, checksum, applied_ms) \
             VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::int8)",
            &[&version, &step.name, &step.checksum().as_slice()],
        )
        .await?;
    client.batch_execute("COMMIT").await
}

async fn applied(client: &Client) -> Result<Vec<Applied>, ConnectError> {
    read_applied(client).await.map_err(|error| ConnectError::failed("read the applied migrations", error))
}

async fn read_applied(client: &Client) -> Result<Vec<Applied>, tokio_postgres::Error> {
    let exists = client.query_one("SELECT to_regclass('phoenix.migrations') IS NOT NULL", &[]).await?;
    if !exists.try_get::<_, bool>(0)? {
        return Ok(Vec::new());
    }
    let rows = client
        .query("SELECT version, name, checksum, applied_ms FROM phoenix.migrations ORDER BY version", &[])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Applied {
                version: u32::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0),
                name: row.try_get(1)?,
                checksum: row.try_get(2)?,
                applied_at: decode::time(row.try_get(3)?),
            })
        })
        .collect()
}
