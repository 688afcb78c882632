//! The truth, whichever of the two databases keeps it. The only place that knows there are two.

use std::sync::Arc;

use phoenix_auth::ports::Store;
use phoenix_config::Config;
use phoenix_http::PoolReport;
use phoenix_store::migrate::MigrationStatus;
use phoenix_store::postgres::{self, PgConfig, PgStore};
use phoenix_store::sqlite::{self, SqliteConfig, SqliteStore};
use phoenix_store::{ConnectError, InstanceStore, StoreStatus};
use tokio_util::task::TaskTracker;

use crate::lifecycle::Lifecycle;
use crate::trust;

/// An open database.
#[derive(Clone)]
pub(crate) enum Database {
    Postgres(Arc<PgStore>),
    Sqlite(Arc<SqliteStore>),
}

/// Where the database is, and with what options.
pub(crate) enum DatabaseOptions {
    Postgres(PgConfig),
    Sqlite(SqliteConfig),
}

impl DatabaseOptions {
    /// # Errors
    /// When `tls.trust_file` cannot be used.
    pub(crate) fn of(config: &Config, seed: u64) -> anyhow::Result<Self> {
        let database = &config.database;
        Ok(match &database.url {
            Some(url) => Self::Postgres(PgConfig {
                url: url.expose().to_owned(),
                trusted: trust::authorities(config)?,
                pool_max: database.pool_max,
                pool_min: database.pool_min,
                connection_timeout: database.connection_timeout,
                idle_timeout: database.idle_timeout,
                max_lifetime: database.max_lifetime,
                statement_timeout: database.statement_timeout,
                query_timeout: database.query_timeout,
                max_retries: database.max_retries,
                retry_delay: database.retry_delay,
                log_statements: database.logging,
                seed,
            }),
            None => Self::Sqlite(SqliteConfig {
                query_timeout: database.query_timeout,
                log_statements: database.logging,
                ..SqliteConfig::in_folder(&config.data.dir)
            }),
        })
    }

    /// Brings the schema to this binary's version.
    pub(crate) async fn migrate(&self, tasks: &TaskTracker) -> Result<MigrationStatus, ConnectError> {
        match self {
            Self::Postgres(config) => postgres::migrate(config, tasks).await,
            Self::Sqlite(config) => sqlite::migrate(config),
        }
    }

    /// Where the schema stands.
    pub(crate) async fn status(&self, tasks: &TaskTracker) -> Result<MigrationStatus, ConnectError> {
        match self {
            Self::Postgres(config) => postgres::status(config, tasks).await,
            Self::Sqlite(config) => sqlite::status(config),
        }
    }

    pub(crate) async fn open(self, tasks: &TaskTracker) -> Result<Database, ConnectError> {
        Ok(match self {
            Self::Postgres(config) => Database::Postgres(Arc::new(PgStore::connect(config, tasks).await?)),
            Self::Sqlite(config) => Database::Sqlite(Arc::new(SqliteStore::open(config)?)),
        })
    }
}

impl Database {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) fn instance(&self) -> &dyn InstanceStore {
        match self {
            Self::Postgres(store) => &**store,
            Self::Sqlite(store) => &**store,
        }
    }

    pub(crate) fn status(&self) -> &dyn StoreStatus {
        match self {
            Self::Postgres(store) => &**store,
            Self::Sqlite(store) => &**store,
        }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Starts what keeps its connections in order.
    pub(crate) fn maintain(&self, lifecycle: &Lifecycle) {
        if let Self::Postgres(store) = self {
            let (store, stop) = (Arc::clone(store), lifecycle.stopping().clone());
            lifecycle.spawn("database connections", async move { store.run(stop).await });
        }
    }

    /// Connections as the status page shows them. The embedded database has a fixed number.
    pub(crate) fn pool(&self) -> PoolReport {
        match self {
            Self::Postgres(store) => {
                let pool = store.stats().pool;
                PoolReport {
                    size: pool.size,
                    in_use: pool.in_use,
                    idle: pool.idle,
                    waiting: pool.waiting,
                    min: pool.min,
                    max: pool.max,
                    timeouts: pool.timeouts,
                }
            }
            Self::Sqlite(store) => {
                let stats = store.stats();
                let size = stats.readers + 1;
                PoolReport {
                    size,
                    in_use: 0,
                    idle: size,
                    waiting: stats.writes_waiting,
                    min: size,
                    max: size,
                    timeouts: 0,
                }
            }
        }
    }

    /// Finishes what is queued and closes.
    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(store) => store.close(),
            Self::Sqlite(store) => store.close().await,
        }
    }
}
