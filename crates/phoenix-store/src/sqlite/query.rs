//! Runs named statements on one connection, counted and timed.

use rusqlite::{Connection, Params, Row};

use super::failure::Failure;
use super::sql::Sql;
use crate::statements::StatementCounters;
use crate::stopwatch::Stopwatch;

/// A connection and the counters of the store it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Db<'c> {
    connection: &'c Connection,
    counters: &'c StatementCounters,
}

impl<'c> Db<'c> {
    pub(super) fn new(connection: &'c Connection, counters: &'c StatementCounters) -> Self {
        Self { connection, counters }
    }

    /// Runs a statement that returns no rows; returns how many it changed.
    pub(super) fn execute(&self, sql: Sql, params: impl Params) -> Result<u64, Failure> {
        self.timed(sql, || {
            let changed = self.connection.prepare_cached(sql.text())?.execute(params)?;
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        })
    }

    /// The first row, if there is one.
    pub(super) fn optional<T>(
        &self,
        sql: Sql,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        self.timed(sql, || {
            let mut statement = self.connection.prepare_cached(sql.text())?;
            let mut rows = statement.query(params)?;
            rows.next()?.map(read).transpose()
        })
    }

    /// The one row that is always there.
    pub(super) fn one<T>(
        &self,
        sql: Sql,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.optional(sql, params, read)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
    }

    /// All rows. The statement bounds how many.
    pub(super) fn all<T>(
        &self,
        sql: Sql,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        self.timed(sql, || {
            let mut statement = self.connection.prepare_cached(sql.text())?;
            let mut rows = statement.query(params)?;
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                out.push(read(row)?);
            }
            Ok(out)
        })
    }

    fn timed<T>(&self, sql: Sql, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let watch = Stopwatch::start();
        let result = run();
        self.counters.record(sql as usize, watch.elapsed(), result.is_err());
        result
    }
}
