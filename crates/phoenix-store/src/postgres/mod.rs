//! The truth in PostgreSQL, for any number of nodes.
//!
//! Look-ups of sessions and reads of the log share two pipelined connections (`lanes`); a listener has one of its own
//! (`listen`); everything else leases one from a pool (`pool`). Nothing here runs in the background by itself: the
//! composition root runs [`PgStore::run`] under its lifecycle, and the drivers of connections are spawned on the
//! tracker it gives.
//!
//! One operation takes at most `query_timeout`, retries included, so with the default options (3 retries of about a
//! second) a request never waits longer than 15 s for the database.

mod accounts;
mod activity;
mod blocks;
mod config;
mod connection;
mod db;
mod end_point;
mod ending;
mod events;
mod external;
mod failure;
mod inspect;
mod instance;
mod invalidations;
mod lanes;
mod listen;
mod migrations;
mod pool;
mod retry;
mod rotation;
mod rows;
mod sessions;
mod sql;
mod tls;
mod upkeep;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::model::{Durable, Relaxed, SessionId};
use phoenix_auth::ports::StoreError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::PgConfig;
pub use inspect::{PgArchiver, PgFacts, PgTable, inspect};
pub use listen::PgNotice;
pub use migrations::{migrate, status};
pub use pool::PoolStats;

use config::Way;
use connection::Connector;
use db::Db;
use failure::{Failure, Reached};
use lanes::Lanes;
use listen::Listening;
use pool::Pool;
use retry::Retries;
use sql::Sql;
use upkeep::keep_up;

use crate::connect_error::ConnectError;
use crate::health::{Health, StoreStatus};
use crate::statements::{StatementCounters, StatementStats};
use crate::stopwatch::Stopwatch;

/// The isolation is named, because a role or database may have another default and the locking relies on this one.
const BEGIN_DURABLE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const BEGIN_RELAXED: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit TO OFF";

/// The store on PostgreSQL.
pub struct PgStore {
    pool: Pool,
    lanes: Lanes,
    listening: Listening,
    retries: Retries,
    counters: Arc<StatementCounters>,
    query_timeout: Duration,
    /// Where the walk over sessions that may be idle goes on. Lost with the process, which only starts it anew.
    idle_position: Mutex<Option<SessionId>>,
}

/// How the store's connections are used at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PgStats {
    /// The pool.
    pub pool: PoolStats,
    /// Shared connections that are open.
    pub shared_open: usize,
}

impl PgStore {
    /// Connects to a migrated database, opens the shared connections and the pool's minimum. The drivers of all
    /// connections, now and later, run on `tasks`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(config: PgConfig, tasks: &TaskTracker) -> Result<Self, ConnectError> {
        let Way { driver, tls, target } = config.way()?;
        let connector = || Connector::new(tasks.clone(), tls.clone());
        let (client, _) = connector().open_first(&driver, &target, config.connection_timeout).await?;
        check_ready(&client, &target).await?;
        drop(client);
        let names = Sql::ALL.iter().map(|sql| sql.name());
        let counters = Arc::new(StatementCounters::new(names, config.log_statements));
        let pool = Pool::new(&config, &driver, connector(), Arc::clone(&counters))
            .map_err(|error| ConnectError::failed("set up the pool", error))?;
        let lanes = Lanes::new(&config, &driver, connector(), Arc::clone(&counters));
        let store = Self {
            pool,
            lanes,
            listening: Listening::new(&driver, tls.clone(), config.seed),
            retries: Retries::new(config.max_retries, config.retry_delay, config.seed),
            counters,
            query_timeout: config.query_timeout,
            idle_position: Mutex::new(None),
        };
        store.lanes.reopen().await;
        match store.pool.warm().await {
            Ok(()) => Ok(store),
            Err(deadpool_postgres::PoolError::Backend(error)) => {
                Err(connection::explain(error, &target, &driver))
            }
            Err(error) => Err(ConnectError::failed("open the pool's first connections", error)),
        }
    }

    /// Keeps the connections in order until `stop`: reopens shared connections, gives up silent ones, keeps the pool's
    /// minimum, closes what is idle or old. To be run once, under the lifecycle.
    pub async fn run(&self, stop: CancellationToken) {
        // Beside each other: while the pool waits for a server that is silent, a lane can be opened at another.
        let pool = keep_up(&stop, std::future::pending, || self.maintain());
        tokio::join!(self.lanes.run(&stop), pool);
    }

    /// One pass of [`Self::run`] over the pool.
    pub async fn maintain(&self) {
        if let Err(error) = self.pool.maintain().await {
            tracing::warn!(?error, "the pool's minimum of connections cannot be kept");
        }
    }

    /// Closes all connections: idle ones now, others when their operation ends. Later calls fail as unavailable.
    pub fn close(&self) {
        self.lanes.close();
        self.pool.close();
    }

    /// How the connections are used.
    #[must_use]
    pub fn stats(&self) -> PgStats {
        PgStats { pool: self.pool.stats(), shared_open: self.lanes.open_count() }
    }

    /// A read, outside of any transaction. Repeated after every kind of outage.
    async fn read<T, W, F>(&self, operation: &'static str, work: W) -> Result<T, StoreError>
    where
        W: Fn(Arc<Db>) -> F + Sync,
        F: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        self.repeat(operation, || self.ask(&work)).await
    }

    /// A write that must survive: returned only after the commit, which has reached the disk.
    async fn durable<T, W, F>(&self, operation: &'static str, work: W) -> Result<Durable<T>, StoreError>
    where
        W: Fn(Arc<Db>) -> F + Sync,
        F: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let committed = self.repeat(operation, || self.transact(BEGIN_DURABLE, &work)).await;
        committed.map(Durable::committed)
    }

    /// A write of which a crash of the server may lose the last moments.
    async fn relaxed<T, W, F>(&self, operation: &'static str, work: W) -> Result<Relaxed<T>, StoreError>
    where
        W: Fn(Arc<Db>) -> F + Sync,
        F: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let accepted = self.repeat(operation, || self.transact(BEGIN_RELAXED, &work)).await;
        accepted.map(Relaxed::accepted)
    }

    /// One attempt at one read.
    async fn ask<T, W, F>(&self, work: &W) -> Result<T, (Failure, Reached)>
    where
        W: Fn(Arc<Db>) -> F + Sync,
        F: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let db = Arc::new(self.pool.lease().await.map_err(before_commit)?);
        let result = work(Arc::clone(&db)).await;
        // A statement that failed leaves a connection usable; one that broke is noticed by the pool's check.
        db.release();
        result.map_err(before_commit)
    }

    /// One attempt at one transaction.
    async fn transact<T, W, F>(&self, begin: &str, work: &W) -> Result<T, (Failure, Reached)>
    where
        W: Fn(Arc<Db>) -> F + Sync,
        F: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let db = Arc::new(self.pool.lease().await.map_err(before_commit)?);
        db.control(begin).await.map_err(before_commit)?;
        match work(Arc::clone(&db)).await {
            Ok(outcome) => {
                db.control("COMMIT").await.map_err(|failure| (failure, Reached::Commit))?;
                db.release();
                Ok(outcome)
            }
            Err(failure) => {
                if db.control("ROLLBACK").await.is_ok() {
                    db.release();
                }
                Err(before_commit(failure))
            }
        }
    }

    /// Repeats `attempt` where that is safe, within the one time-out of the operation.
    async fn repeat<T, A>(&self, operation: &'static str, attempt: impl Fn() -> A) -> Result<T, StoreError>
    where
        A: Future<Output = Result<T, (Failure, Reached)>> + Send,
    {
        let attempts = async {
            let mut number = 0;
            loop {
                let (failure, reached) = match attempt().await {
                    Ok(outcome) => return Ok(outcome),
                    Err(failed) => failed,
                };
                if !failure.may_retry(reached) || self.retries.pause(number).await.is_none() {
                    return Err(failure);
                }
                tracing::debug!(operation, ?failure, number, "an operation is tried again");
                number += 1;
            }
        };
        let bound = self.query_timeout;
        let result = tokio::time::timeout(bound, attempts).await.unwrap_or(Err(Failure::TimedOut(bound)));
        result.map_err(|failure| failure.into_store_error(operation))
    }
}

/// Name and text of every statement, for tools that look at query plans.
pub fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    Sql::ALL.iter().map(|sql| (sql.name(), sql.text()))
}

fn before_commit(failure: Failure) -> (Failure, Reached) {
    (failure, Reached::Statements)
}

async fn check_ready(client: &tokio_postgres::Client, target: &config::Target) -> Result<(), ConnectError> {
    connection::check_server(client, target).await?;
    migrations::check(client).await
}

#[async_trait]
impl StoreStatus for PgStore {
    async fn healthy(&self) -> Result<Health, StoreError> {
        let watch = Stopwatch::start();
        let answer = self.lanes.query(Sql::Probe, &[]).await.and_then(|row| {
            let row = row.ok_or(Failure::NoRow)?;
            Ok(row.try_get(0)?)
        });
        let read_only = answer.map_err(|failure| failure.into_store_error("answer a probe"))?;
        Ok(Health { read_only, round_trip: watch.elapsed() })
    }

    fn statement_stats(&self) -> Vec<StatementStats> {
        self.counters.stats()
    }
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
