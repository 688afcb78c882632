//! What the HTTP surface asks of the rest of the process to answer probes and `GET /api/phoenix/status`.

use async_trait::async_trait;
use serde::Serialize;
use utoipa::ToSchema;

/// How the process does, in one word: the `X-System-Status` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SystemStatus {
    /// Everything works.
    Ok,
    /// Something is down, and requests are answered without it.
    Degraded,
}

impl SystemStatus {
    /// Value of the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
        }
    }
}

/// Why the process should be sent no requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotReady {
    /// It is shutting down.
    Draining,
    /// Its database does not answer.
    Database,
}

/// Answers questions about the process.
#[async_trait]
pub trait Introspection: Send + Sync {
    /// One word, from memory.
    fn system_status(&self) -> SystemStatus;

    /// Whether requests should be sent here.
    async fn readiness(&self) -> Result<(), NotReady>;

    /// Everything. Asks the dependencies, so it may take as long as their time-outs.
    async fn report(&self) -> StatusReport;
}

/// Answer of `GET /api/phoenix/status`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// In one word.
    pub status: SystemStatus,
    /// Version of the binary.
    pub version: &'static str,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
    /// Counters of the session tiers since the start.
    pub tiers: TierReport,
    /// The database.
    pub database: DatabaseReport,
    /// Connections to it.
    pub pool: PoolReport,
    /// Redis, if one is configured.
    pub redis: Option<RedisReport>,
}

/// Counters of the session tiers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierReport {
    /// Answers from memory.
    pub l1_hits: u64,
    /// Answers from Redis.
    pub l2_hits: u64,
    /// Answers from the database.
    pub l3_hits: u64,
    /// Part of all answers given without the database, 0 to 1. Absent before the first answer.
    pub hit_rate: Option<f64>,
    /// Tokens found to be unknown, from memory.
    pub l1_absent: u64,
    /// Tokens found to be unknown, from the database.
    pub l3_absent: u64,
    /// Reads of the database for sessions.
    pub database_reads: u64,
    /// Sessions in memory.
    pub l1_entries: usize,
    /// Bytes of memory they are counted as.
    pub l1_bytes: u64,
    /// Most bytes.
    pub l1_capacity_bytes: u64,
    /// Unknown tokens remembered.
    pub negative_entries: usize,
    /// Sessions whose last-seen waits to be written.
    pub activity_waiting: usize,
    /// Last-seens not kept because their queue was full.
    pub activity_dropped: u64,
    /// Milliseconds for which cached sessions may still be used without news from the database.
    pub lease_remaining_ms: u64,
}

/// The database.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseReport {
    /// `postgresql` or `sqlite`.
    pub kind: &'static str,
    /// Whether it answered just now.
    pub available: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Time of that answer in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Counters of each statement since the start.
    pub statements: Vec<StatementReport>,
}

/// Counters of one statement.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementReport {
    /// Its name.
    pub name: &'static str,
    /// How often it ran.
    pub count: u64,
    /// How often it failed.
    pub errors: u64,
    /// Mean time in milliseconds.
    pub mean_ms: f64,
    /// Longest time in milliseconds.
    pub longest_ms: f64,
}

/// Connections to the database.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolReport {
    /// Open connections.
    pub size: usize,
    /// In use.
    pub in_use: usize,
    /// Idle.
    pub idle: usize,
    /// Callers waiting for one.
    pub waiting: usize,
    /// Fewest kept open.
    pub min: usize,
    /// Most opened.
    pub max: usize,
    /// Callers that waited in vain.
    pub timeouts: u64,
}

/// Redis.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisReport {
    /// Whether it is used at the moment.
    pub available: bool,
    /// Time of a `PING` just now in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Commands sent.
    pub commands: u64,
    /// Commands that failed.
    pub errors: u64,
    /// Commands not sent, to spare a Redis that fails.
    pub spared: u64,
    /// Entries refused because they were not ours.
    pub refused_entries: u64,
}
