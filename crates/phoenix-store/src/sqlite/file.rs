//! The database file: made, checked and opened, and every way in which that fails put in plain words.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::config::SqliteConfig;
use crate::connect_error::ConnectError;

/// Prepared statements kept by each connection; more than there are.
const CACHED_STATEMENTS: usize = 64;
/// The write-ahead log is cut back to this after a checkpoint, in bytes.
const WAL_KEPT_BYTES: u32 = 8 << 20;
/// Access for the owner only: the file holds password hashes.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Makes folder and file if they do not exist.
pub(super) fn make(file: &Path) -> Result<(), ConnectError> {
    let folder = match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(ConnectError::NotADirectory { path: file.to_owned() }),
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(|error| file_error(folder, error))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(file)
        .map(drop)
        .map_err(|error| file_error(file, error))
}

fn file_error(path: &Path, error: io::Error) -> ConnectError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => ConnectError::NotADirectory { path },
        ErrorKind::IsADirectory => ConnectError::NotADatabase { path, source: error.into() },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ConnectError::NotWritable { path, source: error.into() }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            ConnectError::StorageFull { path, source: error.into() }
        }
        _ => ConnectError::failed("make the database file", error),
    }
}

/// Opens the connection that writes. Changes nothing in the file.
pub(super) fn open_writer(config: &SqliteConfig) -> Result<Connection, ConnectError> {
    let explain = |error| sqlite_error(&config.file, "open the database file", error);
    let connection = Connection::open_with_flags(
        &config.file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(explain)?;
    connection.busy_timeout(config.busy_timeout).map_err(explain)?;
    // The first statement that reads the file: says whether it is a database at all.
    connection.query_row("PRAGMA schema_version", [], |_| Ok(())).map_err(explain)?;
    if connection.is_readonly("main").map_err(explain)? {
        let source = io::Error::from(ErrorKind::PermissionDenied).into();
        return Err(ConnectError::NotWritable { path: config.file.clone(), source });
    }
    Ok(connection)
}

/// Sets up the connection that writes, once the schema is known to fit.
pub(super) fn set_up_writer(connection: &Connection, config: &SqliteConfig) -> Result<(), ConnectError> {
    let explain = |error| sqlite_error(&config.file, "set up the writing connection", error);
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(explain)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(ConnectError::failed(
            "turn on the write-ahead log",
            "the file system of the database file has no shared memory",
        ));
    }
    // FULL: a commit is answered only after the log has reached the disk.
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; \
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = {WAL_KEPT_BYTES}; \
             PRAGMA cache_size = -{}; PRAGMA mmap_size = {}",
            config.writer_cache_bytes / 1024,
            config.mmap_bytes,
        ))
        .map_err(explain)?;
    if let Some(bytes) = config.max_bytes {
        limit_size(connection, bytes).map_err(explain)?;
    }
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(())
}

fn limit_size(connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
    let page: u64 =
        connection.query_row("PRAGMA page_size", [], |row| row.get::<_, u32>(0)).map(u64::from)?;
    let pages = (bytes / page).max(1);
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}

/// Opens a connection that can only read.
pub(super) fn open_reader(config: &SqliteConfig) -> Result<Connection, ConnectError> {
    let explain = |error| sqlite_error(&config.file, "open a reading connection", error);
    let connection = Connection::open_with_flags(
        &config.file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(explain)?;
    connection.busy_timeout(config.busy_timeout).map_err(explain)?;
    connection
        .execute_batch(&format!(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; \
             PRAGMA cache_size = -{}; PRAGMA mmap_size = {}",
            config.reader_cache_bytes / 1024,
            config.mmap_bytes,
        ))
        .map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

/// A failure of SQLite before the store is open.
pub(super) fn sqlite_error(file: &Path, step: &'static str, error: rusqlite::Error) -> ConnectError {
    let path: PathBuf = file.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ConnectError::NotADatabase { path, source: error.into() }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            ConnectError::NotWritable { path, source: error.into() }
        }
        Some(ErrorCode::DiskFull) => ConnectError::StorageFull { path, source: error.into() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ConnectError::Locked { path, source: error.into() }
        }
        _ => ConnectError::failed(step, error),
    }
}
