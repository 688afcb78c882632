//! Takes the pending steps on a SQLite file, each in one transaction that holds the write lock.

use rusqlite::{Connection, OptionalExtension};

use super::config::SqliteConfig;
use super::file;
use crate::connect_error::ConnectError;
use crate::decode;
use crate::migrate::{self, Applied, Migration, MigrationStatus, SQLITE};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    version     INTEGER NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    checksum    BLOB    NOT NULL,
    applied_ms  INTEGER NOT NULL
) STRICT";

/// Brings the file to the newest version this binary knows; makes it if it does not exist. Returns where it stands.
///
/// # Errors
/// [`ConnectError`]; a file of a newer binary is left as it is.
pub fn migrate(config: &SqliteConfig) -> Result<MigrationStatus, ConnectError> {
    file::make(&config.file)?;
    let connection = file::open_writer(config)?;
    let explain = |error| file::sqlite_error(&config.file, "read the applied migrations", error);
    migrate::pending(SQLITE, &applied(&connection).map_err(explain)?)?;
    file::set_up_writer(&connection, config)?;
    while let Some(step) = take_step(&connection, config)? {
        tracing::info!(version = step.version, name = step.name, "migration applied");
    }
    status_of(&connection).map_err(explain)?
}

/// Where the file stands. Does not make it.
///
/// # Errors
/// [`ConnectError`].
pub fn status(config: &SqliteConfig) -> Result<MigrationStatus, ConnectError> {
    if !config.file.exists() {
        return Ok(MigrationStatus { applied: Vec::new(), pending: SQLITE.to_vec() });
    }
    let connection = file::open_writer(config)?;
    let explain = |error| file::sqlite_error(&config.file, "read the applied migrations", error);
    status_of(&connection).map_err(explain)?
}

/// Refuses a file that is not at exactly the version of this binary.
pub(super) fn check(connection: &Connection, config: &SqliteConfig) -> Result<(), ConnectError> {
    let explain = |error| file::sqlite_error(&config.file, "read the applied migrations", error);
    let status = status_of(connection).map_err(explain)??;
    if status.pending.is_empty() {
        return Ok(());
    }
    let found = status.applied.last().map_or(0, |applied| applied.version);
    Err(ConnectError::NotMigrated { found, needed: migrate::newest(SQLITE) })
}

pub(super) fn status_of(connection: &Connection) -> rusqlite::Result<Result<MigrationStatus, ConnectError>> {
    let applied = applied(connection)?;
    Ok(match migrate::pending(SQLITE, &applied) {
        Ok(pending) => Ok(MigrationStatus { pending: pending.to_vec(), applied }),
        Err(error) => Err(error.into()),
    })
}

/// Takes the first pending step, if there is one.
fn take_step(connection: &Connection, config: &SqliteConfig) -> Result<Option<Migration>, ConnectError> {
    let explain = |error| file::sqlite_error(&config.file, "begin a migration", error);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(explain)?;
    let taken = take_step_locked(connection, config);
    let end = if matches!(taken, Ok(Some(_))) { "COMMIT" } else { "ROLLBACK" };
    if !connection.is_autocommit() {
        connection.execute_batch(end).map_err(explain)?;
    }
    taken
}

fn take_step_locked(
    connection: &Connection,
    config: &SqliteConfig,
) -> Result<Option<Migration>, ConnectError> {
    let explain = |error| file::sqlite_error(&config.file, "read the applied migrations", error);
    // Read again under the lock: another process may have been here since.
    let applied = applied(connection).map_err(explain)?;
    let Some(step) = migrate::pending(SQLITE, &applied)?.first().copied() else { return Ok(None) };
    run(connection, &step).map_err(|error| match file::sqlite_error(&config.file, "migrate", error) {
        ConnectError::Failed { source, .. } => {
            ConnectError::MigrationFailed { version: step.version, name: step.name, source }
        }
        other => other,
    })?;
    Ok(Some(step))
}

fn run(connection: &Connection, step: &Migration) -> rusqlite::Result<()> {
    connection.execute_batch(TABLE)?;
    connection.execute_batch(step.sql)?;
    connection.execute(
        "INSERT INTO migrations VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
        (step.version, step.name, step.checksum()),
    )?;
    Ok(())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<Applied>> {
    let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'";
    if connection.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare("SELECT version, name, checksum, applied_ms FROM migrations ORDER BY version")?;
    let rows = statement.query_map([], |row| {
        Ok(Applied {
            version: row.get(0)?,
            name: row.get(1)?,
            checksum: row.get(2)?,
            applied_at: decode::time(row.get(3)?),
        })
    })?;
    rows.collect()
}
