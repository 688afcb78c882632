//! What can be seen of the embedded database's file, for `phoenix doctor`. Opened for reading only; judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::config::SqliteConfig;
use super::file::sqlite_error;
use super::migrations;
use crate::connect_error::ConnectError;
use crate::instance::FINGERPRINT;
use crate::migrate::{HistoryError, MigrationStatus};

/// Problems of the file that are told.
const PROBLEMS: u32 = 3;

/// The file and what is in it.
#[derive(Clone, Debug)]
pub struct SqliteFacts {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Size of the write-ahead log beside it in bytes.
    pub wal_bytes: u64,
    /// Where the schema stands, or why that cannot be said.
    pub schema: Result<MigrationStatus, HistoryError>,
    /// What is wrong in the file, in SQLite's words; `None` when it was too large to be looked through.
    pub damage: Option<Vec<String>>,
    /// Fingerprint of the key that sessions were stored under, if any were.
    pub fingerprint: Option<Vec<u8>>,
}

/// Looks at the file; `None` when there is none yet. It is read as a whole if it has at most `check_bytes`. Blocks.
///
/// # Errors
/// [`ConnectError`], when it cannot be read or is no database.
pub fn inspect(config: &SqliteConfig, check_bytes: u64) -> Result<Option<SqliteFacts>, ConnectError> {
    if !config.file.exists() {
        return Ok(None);
    }
    let explain = |error| sqlite_error(&config.file, "look at the database file", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&config.file, flags).map_err(explain)?;
    connection.busy_timeout(config.busy_timeout).map_err(explain)?;
    let schema = match migrations::status_of(&connection).map_err(explain)? {
        Ok(status) => Ok(status),
        Err(ConnectError::History(error)) => Err(error),
        Err(error) => return Err(error),
    };
    let bytes = size(&config.file);
    let damage = (bytes <= check_bytes).then(|| damage(&connection)).transpose().map_err(explain)?;
    let is_migrated = schema.as_ref().is_ok_and(|status| !status.applied.is_empty());
    let fingerprint = if is_migrated { fingerprint(&connection).map_err(explain)? } else { None };
    let mut log = config.file.clone().into_os_string();
    log.push("-wal");
    Ok(Some(SqliteFacts {
        file: config.file.clone(),
        bytes,
        wal_bytes: size(Path::new(&log)),
        schema,
        damage,
        fingerprint,
    }))
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn damage(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({PROBLEMS})"))?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

fn fingerprint(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    let question = "SELECT value FROM instance WHERE key = ?1";
    connection.query_row(question, [FINGERPRINT], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = SqliteConfig::in_folder(folder.path());
        assert!(inspect(&config, u64::MAX).expect("no file is no failure").is_none());
        assert!(!config.file.exists());
        super::super::migrate(&config).expect("migrated");
        let facts = inspect(&config, u64::MAX).expect("readable").expect("there");
        assert!(facts.schema.is_ok_and(|status| status.pending.is_empty()));
        assert_eq!((facts.damage, facts.fingerprint), (Some(Vec::new()), None));
        assert!(facts.bytes > 0);
        assert!(inspect(&config, 0).expect("readable").expect("there").damage.is_none());
        fs::write(&config.file, vec![7; 8192]).expect("overwritten");
        assert!(matches!(inspect(&config, u64::MAX), Err(ConnectError::NotADatabase { .. })));
    }
}
