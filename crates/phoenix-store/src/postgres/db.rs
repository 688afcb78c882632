//! Runs named statements on one leased connection, counted and timed, and gives the connection back only when it
//! is known to be clean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::failure::Failure;
use super::sql::Sql;
use crate::statements::StatementCounters;
use crate::stopwatch::Stopwatch;

/// Values of a statement's parameters.
pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A leased connection. Dropped without [`Db::release`] (an error, a cancelled caller), it is closed: the server
/// then rolls back whatever was open, and nobody meets the rest of it.
pub(super) struct Db {
    connection: Option<Object>,
    clean: AtomicBool,
    counters: Arc<StatementCounters>,
}

impl Db {
    pub(super) fn new(connection: Object, counters: Arc<StatementCounters>) -> Self {
        Self { connection: Some(connection), clean: AtomicBool::new(false), counters }
    }

    /// The connection holds no open transaction and no unread answer: it may go back to the pool.
    pub(super) fn release(&self) {
        self.clean.store(true, Ordering::Release);
    }

    fn connection(&self) -> Result<&Object, Failure> {
        self.connection.as_ref().ok_or(Failure::Closed)
    }

    /// BEGIN, COMMIT and ROLLBACK.
    pub(super) async fn control(&self, text: &str) -> Result<(), Failure> {
        Ok(self.connection()?.batch_execute(text).await?)
    }

    /// Runs a statement that returns no rows; returns how many it changed.
    pub(super) async fn execute(&self, sql: Sql, params: Params<'_>) -> Result<u64, Failure> {
        self.timed(sql, async {
            let connection = self.connection()?;
            let statement = connection.prepare_cached(sql.text()).await?;
            Ok(connection.execute(&statement, params).await?)
        })
        .await
    }

    /// All rows. The statement bounds how many.
    pub(super) async fn all<T>(
        &self,
        sql: Sql,
        params: Params<'_>,
        read: impl FnMut(&Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let rows = self
            .timed(sql, async {
                let connection = self.connection()?;
                let statement = connection.prepare_cached(sql.text()).await?;
                Ok(connection.query(&statement, params).await?)
            })
            .await?;
        rows.iter().map(read).collect()
    }

    /// The first row, if there is one.
    pub(super) async fn optional<T>(
        &self,
        sql: Sql,
        params: Params<'_>,
        read: impl FnMut(&Row) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        Ok(self.all(sql, params, read).await?.into_iter().next())
    }

    /// The one row that is always there.
    pub(super) async fn one<T>(
        &self,
        sql: Sql,
        params: Params<'_>,
        read: impl FnMut(&Row) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.optional(sql, params, read).await?.ok_or(Failure::NoRow)
    }

    async fn timed<T>(&self, sql: Sql, run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let watch = Stopwatch::start();
        let result = run.await;
        self.counters.record(sql as usize, watch.elapsed(), result.is_err());
        result
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if !self.clean.load(Ordering::Acquire)
            && let Some(connection) = self.connection.take()
        {
            drop(Object::take(connection));
        }
    }
}
