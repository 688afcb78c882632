//! The truth in one file, for a server without PostgreSQL: SQLite in write-ahead mode, a few readers and one writer.
//!
//! Reads run where they are called (a point read takes about 4 us) and see every acknowledged write. Writes queue
//! for the one writer, which commits them in groups (`writer`).

mod accounts;
mod activity;
mod blocks;
mod config;
mod ending;
mod events;
mod external;
mod failure;
mod file;
mod inspect;
mod instance;
mod invalidations;
mod migrations;
mod query;
mod readers;
mod rotation;
mod rows;
mod sessions;
mod sql;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use phoenix_auth::model::{Durable, Relaxed, SessionId};
use phoenix_auth::ports::StoreError;

pub use config::SqliteConfig;
pub use inspect::{SqliteFacts, inspect};
pub use migrations::{migrate, status};

use failure::Failure;
use query::Db;
use readers::Readers;
use sql::Sql;
use writer::{WriteQueue, Writer};

use crate::connect_error::ConnectError;
use crate::health::{Health, StoreStatus};
use crate::statements::{StatementCounters, StatementStats};
use crate::stopwatch::Stopwatch;

/// Name of the thread that writes.
const WRITER_THREAD: &str = "phoenix-sqlite";

/// The embedded store.
pub struct SqliteStore {
    config: SqliteConfig,
    readers: Arc<Readers>,
    queue: WriteQueue,
    counters: Arc<StatementCounters>,
    read_only: Arc<AtomicBool>,
    /// Where the walk over sessions that may be idle goes on. Lost with the process, which only starts it anew.
    idle_position: Arc<Mutex<Option<SessionId>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How the store's connections are used at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SqliteStats {
    /// Connections that read.
    pub readers: usize,
    /// Writes waiting for the writer.
    pub writes_waiting: usize,
    /// Most writes that may wait.
    pub writes_waiting_max: usize,
}

impl SqliteStore {
    /// Opens a migrated file and starts the writer's thread, which ends when the store is closed or dropped.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn open(config: SqliteConfig) -> Result<Self, ConnectError> {
        file::make(&config.file)?;
        let connection = file::open_writer(&config)?;
        migrations::check(&connection, &config)?;
        file::set_up_writer(&connection, &config)?;
        let readers = (0..config.readers.max(1)).map(|_| file::open_reader(&config));
        let readers = Arc::new(Readers::new(readers.collect::<Result<_, _>>()?));
        let names = Sql::ALL.iter().map(|sql| sql.name());
        let counters = Arc::new(StatementCounters::new(names, config.log_statements));
        let read_only = Arc::new(AtomicBool::new(false));
        let (queue, receiver) = WriteQueue::new();
        let writer = Writer {
            connection,
            queue: receiver,
            counters: Arc::clone(&counters),
            read_only: Arc::clone(&read_only),
        };
        let thread = thread::Builder::new()
            .name(WRITER_THREAD.to_owned())
            .spawn(move || writer.run())
            .map_err(|error| ConnectError::failed("start the writer's thread", error))?;
        Ok(Self {
            config,
            readers,
            queue,
            counters,
            read_only,
            idle_position: Arc::default(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Commits what is queued, folds the log into the file and ends the writer's thread. Later writes fail as
    /// unavailable; reads go on. A store dropped without this loses nothing: the log is read at the next start.
    pub async fn close(&self) {
        self.queue.close().await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread panicked, which is in the log already, or the runtime is going down.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// How the connections are used.
    #[must_use]
    pub fn stats(&self) -> SqliteStats {
        SqliteStats {
            readers: self.readers.count(),
            writes_waiting: self.queue.waiting(),
            writes_waiting_max: writer::QUEUE_WRITES,
        }
    }

    /// Reads on the caller's thread.
    fn read<T>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Db<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.readers
            .with(|connection| read(&Db::new(connection, &self.counters)))
            .unwrap_or(Err(Failure::Closed))
            .map_err(|failure| failure.into_store_error(operation))
    }

    /// Reads on a thread of its own, for what takes long.
    async fn read_aside<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (readers, counters) = (Arc::clone(&self.readers), Arc::clone(&self.counters));
        let aside = tokio::task::spawn_blocking(move || {
            readers.with(|connection| read(&Db::new(connection, &counters))).unwrap_or(Err(Failure::Closed))
        });
        let read = tokio::time::timeout(self.config.query_timeout, aside).await;
        let read = read.map_or(Err(Failure::TimedOut(self.config.query_timeout)), |joined| {
            // The thread panicked, which is in the log already, or the runtime is going down.
            joined.unwrap_or(Err(Failure::Closed))
        });
        read.map_err(|failure| failure.into_store_error(operation))
    }

    /// A write that must survive: returned only after the commit, which has reached the disk.
    async fn durable<T, W>(&self, operation: &'static str, work: W) -> Result<Durable<T>, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let committed = self.queue.commit(work, self.config.query_timeout).await;
        committed.map(Durable::committed).map_err(|failure| failure.into_store_error(operation))
    }

    /// A write of which nothing is promised. It shares the commits of the others, so it is as durable as they are.
    async fn relaxed<T, W>(&self, operation: &'static str, work: W) -> Result<Relaxed<T>, StoreError>
    where
        T: Send + 'static,
        W: FnMut(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let accepted = self.queue.commit(work, self.config.query_timeout).await;
        accepted.map(Relaxed::accepted).map_err(|failure| failure.into_store_error(operation))
    }
}

/// Name and text of every statement, for tools that look at query plans.
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    Sql::ALL.iter().map(|sql| (sql.name(), sql.text()))
}

#[async_trait]
impl StoreStatus for SqliteStore {
    async fn healthy(&self) -> Result<Health, StoreError> {
        let watch = Stopwatch::start();
        self.read("answer a probe", |db| db.one(Sql::Probe, [], |_| Ok(())))?;
        Ok(Health { read_only: self.read_only.load(Ordering::Relaxed), round_trip: watch.elapsed() })
    }

    fn statement_stats(&self) -> Vec<StatementStats> {
        self.counters.stats()
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("config", &self.config).finish_non_exhaustive()
    }
}
