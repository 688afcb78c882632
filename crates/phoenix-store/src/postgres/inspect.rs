//! What can be seen of a PostgreSQL server and of our part of it, for `phoenix doctor`. Only reads, over two connections
//! of its own; judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phoenix_auth::ports::Clock;
use tokio_postgres::{Client, Error, Row};
use tokio_util::task::TaskTracker;

use super::config::{PgConfig, Way};
use super::connection::Connector;
use super::migrations;
use crate::connect_error::ConnectError;
use crate::instance::FINGERPRINT;
use crate::migrate::{self, HistoryError, MigrationStatus, POSTGRES};
use crate::stopwatch::Stopwatch;

/// Settings of the server that matter to us.
const SETTINGS: [&str; 14] = [
    "archive_mode",
    "autovacuum",
    "fsync",
    "full_page_writes",
    "idle_session_timeout",
    "max_connections",
    "max_wal_senders",
    "reserved_connections",
    "server_version",
    "shared_buffers",
    "superuser_reserved_connections",
    "synchronous_commit",
    "transaction_timeout",
    "work_mem",
];

/// The value with which a connection begins, in the unit of the setting; memory in bytes.
const READ_SETTINGS: &str = "SELECT name, CASE unit \
    WHEN '8kB' THEN (reset_val::int8 * 8192)::text WHEN 'kB' THEN (reset_val::int8 * 1024)::text \
    ELSE reset_val END FROM pg_settings WHERE name = ANY($1)";
const READ_SELF: &str = "SELECT current_setting('server_version_num')::int4 / 10000, \
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
    coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), ''), pg_backend_pid(), \
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
    (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'phoenix' AND pid <> pg_backend_pid()), \
    coalesce((SELECT (extract(epoch FROM max(clock_timestamp() - xact_start)) * 1000)::int8 FROM pg_stat_activity \
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), 0)";
const READ_TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
const READ_INDEXES: &str = "SELECT c.relname::text, t.relname::text, i.indisvalid AND i.indisready \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid \
    JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = 'phoenix' ORDER BY 1";
const READ_TABLES: &str = "SELECT relname::text, n_live_tup, n_dead_tup, seq_scan, coalesce(idx_scan, 0), \
    seq_tup_read FROM pg_stat_user_tables WHERE schemaname = 'phoenix' ORDER BY 1";
const READ_ARCHIVER: &str = "SELECT (extract(epoch FROM clock_timestamp() - last_archived_time))::int8, \
    coalesce(last_failed_time > last_archived_time OR (last_failed_time IS NOT NULL AND last_archived_time IS NULL), \
    false) FROM pg_stat_archiver";

/// A server and our part of it.
#[derive(Clone, Debug)]
pub struct PgFacts {
    /// Major version.
    pub version: u32,
    /// Time to open a connection, and for the shortest question and its answer.
    pub connect: Duration,
    /// The same for a statement.
    pub round_trip: Duration,
    /// Version of TLS of this connection; empty without it.
    pub tls: String,
    /// A standby, or read-only by a setting.
    pub read_only: bool,
    /// Milliseconds by which its clock is ahead of ours.
    pub clock_ahead_ms: i64,
    /// Its settings by name, for a connection of ours; memory in bytes, times in milliseconds.
    pub settings: BTreeMap<String, String>,
    /// Connections of clients that are open, those of this look included.
    pub connections: i64,
    /// Connections of running Phoenix processes.
    pub ours: i64,
    /// Age of the oldest open transaction.
    pub oldest_transaction: Duration,
    /// Two of our connections share a server process: a pooler stands between, in transaction mode.
    pub is_pooled: bool,
    /// Where the schema stands, or why that cannot be said.
    pub schema: Result<MigrationStatus, HistoryError>,
    /// Indexes that there should be and are not.
    pub missing_indexes: Vec<String>,
    /// Indexes that are there but are not used, because making them failed.
    pub invalid_indexes: Vec<String>,
    /// How many indexes are valid.
    pub valid_indexes: usize,
    /// Our tables.
    pub tables: Vec<PgTable>,
    /// Archiving of the write-ahead log.
    pub archiver: PgArchiver,
    /// Replicas that are connected; `None` when the role may not know.
    pub replicas: Option<i64>,
    /// Fingerprint of the key that sessions were stored under, if any were.
    pub fingerprint: Option<Vec<u8>>,
}

/// One table, by the counters since the server's statistics began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PgTable {
    /// Its name.
    pub name: String,
    /// Rows, about.
    pub live: i64,
    /// Rows that nobody sees any more, about.
    pub dead: i64,
    /// Reads of the whole table.
    pub whole_reads: i64,
    /// Rows read by them.
    pub whole_read_rows: i64,
    /// Reads through an index.
    pub index_reads: i64,
}

/// Archiving of the write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PgArchiver {
    /// Time since a file was archived.
    pub last: Option<Duration>,
    /// The latest attempt failed.
    pub is_failing: bool,
}

/// Looks at the server. Changes nothing.
///
/// # Errors
/// [`ConnectError`], when it cannot be reached or does not answer a question.
pub async fn inspect(
    config: &PgConfig,
    clock: &dyn Clock,
    tasks: &TaskTracker,
) -> Result<PgFacts, ConnectError> {
    let Way { driver, tls, target } = config.way()?;
    let connector = Connector::new(tasks.clone(), tls);
    let watch = Stopwatch::start();
    let (client, _) = connector.open_first(&driver, &target, config.connection_timeout).await?;
    let connect = watch.elapsed();
    let schema = match migrations::status_of(&client).await {
        Ok(status) => Ok(status),
        Err(ConnectError::History(error)) => Err(error),
        Err(error) => return Err(error),
    };
    let mut facts = look(&client, schema, clock)
        .await
        .map_err(|error| ConnectError::failed("ask the server about itself", error))?;
    facts.connect = connect;
    let (other, _) = connector.open_first(&driver, &target, config.connection_timeout).await?;
    facts.is_pooled = share_a_process(&client, &other)
        .await
        .map_err(|error| ConnectError::failed("ask who serves the connection", error))?;
    Ok(facts)
}

async fn look(
    client: &Client,
    schema: Result<MigrationStatus, HistoryError>,
    clock: &dyn Clock,
) -> Result<PgFacts, Error> {
    let watch = Stopwatch::start();
    let theirs: i64 = client.query_one(READ_TIME, &[]).await?.try_get(0)?;
    let round_trip = watch.elapsed();
    // Their clock was read about half a round trip ago.
    let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or_default();
    let clock_ahead_ms = theirs + half - clock.now().wall.as_millis();
    let own = client.query_one(READ_SELF, &[]).await?;
    let names: &[&str] = &SETTINGS;
    let settings = client.query(READ_SETTINGS, &[&names]).await?;
    let indexes = client.query(READ_INDEXES, &[]).await?;
    let tables = client.query(READ_TABLES, &[]).await?;
    let expected = schema.as_ref().map(|status| expected_indexes(status.applied.len())).unwrap_or_default();
    let found = indexes.iter().map(index).collect::<Result<Vec<_>, _>>()?;
    let has = |name: &str| found.iter().any(|(known, _)| known == name);
    Ok(PgFacts {
        version: u32::try_from(own.try_get::<_, i32>(0)?).unwrap_or_default(),
        connect: Duration::ZERO,
        round_trip,
        tls: own.try_get(2)?,
        read_only: own.try_get(1)?,
        clock_ahead_ms,
        settings: settings
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get::<_, Option<String>>(1)?.unwrap_or_default())))
            .collect::<Result<_, Error>>()?,
        connections: own.try_get(4)?,
        ours: own.try_get(5)?,
        oldest_transaction: Duration::from_millis(u64::try_from(own.try_get::<_, i64>(6)?).unwrap_or(0)),
        is_pooled: false,
        missing_indexes: expected.into_iter().filter(|name| !has(name)).map(str::to_owned).collect(),
        invalid_indexes: found.iter().filter(|(_, valid)| !valid).map(|(name, _)| name.clone()).collect(),
        valid_indexes: found.iter().filter(|(_, valid)| *valid).count(),
        tables: tables.iter().map(table).collect::<Result<_, _>>()?,
        archiver: archiver(client).await?,
        replicas: replicas(client).await,
        fingerprint: if schema.as_ref().is_ok_and(|status| !status.applied.is_empty()) {
            fingerprint(client).await?
        } else {
            None
        },
        schema,
    })
}

fn index(row: &Row) -> Result<(String, bool), Error> {
    Ok((row.try_get(0)?, row.try_get(2)?))
}

fn table(row: &Row) -> Result<PgTable, Error> {
    Ok(PgTable {
        name: row.try_get(0)?,
        live: row.try_get(1)?,
        dead: row.try_get(2)?,
        whole_reads: row.try_get(3)?,
        index_reads: row.try_get(4)?,
        whole_read_rows: row.try_get(5)?,
    })
}

async fn archiver(client: &Client) -> Result<PgArchiver, Error> {
    let row = client.query_one(READ_ARCHIVER, &[]).await?;
    let seconds: Option<i64> = row.try_get(0)?;
    Ok(PgArchiver {
        last: seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default())),
        is_failing: row.try_get(1)?,
    })
}

/// A role without rights sees the rows of others, but nothing in them.
async fn replicas(client: &Client) -> Option<i64> {
    let row = client.query_one("SELECT count(*) FROM pg_stat_replication", &[]).await.ok()?;
    row.try_get(0).ok()
}

async fn fingerprint(client: &Client) -> Result<Option<Vec<u8>>, Error> {
    let rows = client.query("SELECT value FROM phoenix.instance WHERE key = $1", &[&FINGERPRINT]).await?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// Connections that are open at the same time have a process each, unless a pooler lends one to both in turn.
async fn share_a_process(one: &Client, other: &Client) -> Result<bool, Error> {
    let pid = async |client: &Client| -> Result<i32, Error> {
        client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)
    };
    Ok(pid(one).await? == pid(other).await?)
}

/// The indexes that the first `steps` migrations make, by their own text.
fn expected_indexes(steps: usize) -> BTreeSet<&'static str> {
    let applied = POSTGRES.iter().take(steps);
    applied.flat_map(|step| migrate::indexes_of(step.sql)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indexes_that_should_be_there_follow_from_the_migrations() {
        assert!(expected_indexes(0).is_empty());
        let first = expected_indexes(1);
        assert!(first.contains("sessions_token_hash") && first.contains("sessions_user_id"), "{first:?}");
        assert!(!first.contains("blocks_until_ms"));
        assert!(expected_indexes(POSTGRES.len()).contains("blocks_until_ms"));
    }
}
