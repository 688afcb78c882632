//! How the embedded database is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the database file in Phoenix's data folder.
const FILE_NAME: &str = "phoenix.db";

/// Options of [`SqliteStore`](super::SqliteStore).
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// The database file. It and its folder are made when they do not exist, readable by their owner only.
    pub file: PathBuf,
    /// Connections that read, at least 1. Each costs about `reader_cache_bytes`.
    pub readers: usize,
    /// Longest time a caller waits for a write, from queueing to commit.
    pub query_timeout: Duration,
    /// Longest time to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// Page cache of the writer in bytes.
    pub writer_cache_bytes: u32,
    /// Page cache of each reader in bytes; pages within `mmap_bytes` do not need it.
    pub reader_cache_bytes: u32,
    /// How much of the file is mapped into memory, shared by all connections; the kernel may take it back.
    pub mmap_bytes: u64,
    /// Largest size of the file in bytes, after which writes fail as on a full disk. `None`: what the disk holds.
    pub max_bytes: Option<u64>,
    /// Writes every statement with its duration to the log at level debug.
    pub log_statements: bool,
}

impl SqliteConfig {
    /// The database in `folder`, with bounds that keep an idle server small.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            file: folder.join(FILE_NAME),
            readers: 4,
            query_timeout: Duration::from_secs(15),
            busy_timeout: Duration::from_secs(5),
            writer_cache_bytes: 4 << 20,
            reader_cache_bytes: 1 << 20,
            mmap_bytes: 256 << 20,
            max_bytes: None,
            log_statements: false,
        }
    }
}
