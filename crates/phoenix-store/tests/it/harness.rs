//! Opens a fresh database of each kind for a test and runs the test on both.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ports::Store;
use phoenix_store::postgres::{self, PgConfig, PgStore};
use phoenix_store::sqlite::{self, SqliteConfig, SqliteStore};
use phoenix_store::tls::Authorities;
use phoenix_store::{InstanceStore, StoreStatus};
use phoenix_testkit::postgres::Postgres;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

/// Longest wait for anything that a test waits for.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// All that a store offers.
pub(crate) trait TestStore: Store + InstanceStore + StoreStatus {}
impl<T: Store + InstanceStore + StoreStatus> TestStore for T {}

/// A store on a database of its own.
pub(crate) struct Db {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn TestStore>,
    /// Where it is, if it is a server.
    pub(crate) url: Option<String>,
    _folder: Option<TempDir>,
}

/// Runs `test` on an empty database of each kind, one after the other.
#[expect(
    clippy::print_stdout,
    reason = "captured with the test's output: says which database a failure belongs to"
)]
pub(crate) async fn on_each_backend(test: impl AsyncFn(&Db)) {
    for db in [sqlite_db(), postgres_db().await] {
        println!("on {}", db.name);
        test(&db).await;
    }
}

/// The embedded store in a new folder.
pub(crate) fn sqlite_db() -> Db {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = SqliteConfig::in_folder(folder.path());
    sqlite::migrate(&config).expect("a new file can be migrated");
    let store = SqliteStore::open(config).expect("a migrated file can be opened");
    Db { name: "SQLite", store: Arc::new(store), url: None, _folder: Some(folder) }
}

/// The store on a new database of the shared server.
pub(crate) async fn postgres_db() -> Db {
    let url = Postgres::shared().create_database();
    let store = pg_store(pg_config(url.clone())).await;
    Db { name: "PostgreSQL", store: Arc::new(store), url: Some(url), _folder: None }
}

/// A migrated store with the given options.
pub(crate) async fn pg_store(config: PgConfig) -> PgStore {
    let tasks = TaskTracker::new();
    postgres::migrate(&config, &tasks).await.expect("a new database can be migrated");
    PgStore::connect(config, &tasks).await.expect("a migrated database can be used")
}

/// Options that suit a test: a small pool and short pauses.
pub(crate) fn pg_config(url: String) -> PgConfig {
    PgConfig {
        url,
        trusted: Authorities::none(),
        pool_max: 8,
        pool_min: 0,
        connection_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        max_lifetime: Duration::from_mins(30),
        statement_timeout: Duration::from_secs(30),
        query_timeout: Duration::from_secs(15),
        max_retries: 3,
        retry_delay: Duration::from_millis(20),
        log_statements: true,
        seed: 42,
    }
}
