//! Databases on a private server: one per test, addresses for clients, and statements a test runs beside the product.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::{PASSWORD, Postgres, USER};
use crate::runtime;

/// Rows of a text query: one value per column, `None` for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

static DATABASES: AtomicU64 = AtomicU64::new(0);

impl Postgres {
    /// Address of `database` for a client.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_via(self.address(), database)
    }

    /// Address of `database` through another address, such as a [`crate::proxy::FaultProxy`].
    #[must_use]
    pub fn url_via(&self, address: SocketAddr, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@{address}/{database}")
    }

    /// An address whose password is refused.
    #[must_use]
    pub fn url_with_wrong_password(&self, database: &str) -> String {
        format!("postgres://{USER}:not-the-password@{}/{database}", self.address())
    }

    /// Creates a fresh, empty database and returns its address.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn create_database(&self) -> String {
        self.url(&self.create_database_from("template0"))
    }

    /// Creates a fresh copy of database `template`, to which nobody may be connected, and returns its name.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn create_database_from(&self, template: &str) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let created = self.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        created.unwrap_or_else(|error| panic!("database {name} could not be created: {error:#}"));
        name
    }

    /// Runs statements in `database` as the superuser.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn execute(&self, database: &str, statements: &str) -> Result<()> {
        self.query(database, statements).map(drop)
    }

    /// Runs statements in `database` as the superuser and returns all rows as text.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn query(&self, database: &str, statements: &str) -> Result<Rows> {
        let config: Config = self.url(database).parse().context("the server's own address")?;
        let statements = statements.to_owned();
        runtime::block_on(async move {
            let (client, connection) = config.connect(NoTls).await.context("connect to PostgreSQL")?;
            let connection = tokio::spawn(connection);
            let messages = client.simple_query(&statements).await.context("run the test's statement")?;
            drop(client);
            let _ = connection.await;
            Ok(messages.iter().filter_map(texts).collect())
        })?
    }

    /// Makes `database` refuse writes (or accept them again), also in sessions that are open: they are ended.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn set_read_only(&self, database: &str, read_only: bool) -> Result<()> {
        self.execute(
            "postgres",
            &format!("ALTER DATABASE {database} SET default_transaction_read_only = {read_only}"),
        )?;
        self.end_sessions(database)
    }

    /// Ends all sessions in `database`, as a failover or an administrator would.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn end_sessions(&self, database: &str) -> Result<()> {
        self.execute(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"
            ),
        )
    }
}

/// The name of the database in an address made by this server.
#[must_use]
pub fn database_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn texts(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
}
