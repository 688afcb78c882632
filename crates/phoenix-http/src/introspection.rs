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
    /// How soon revocations are obeyed.
    pub revocation: RevocationReport,
    /// Outside identity providers and their keys.
    pub providers: Vec<ProviderReport>,
    /// The database.
    pub database: DatabaseReport,
    /// Connections to it.
    pub pool: PoolReport,
    /// Redis, if one is configured.
    pub redis: Option<RedisReport>,
    /// Rate limits.
    pub rate_limits: RateLimitReport,
    /// HTTPS, if it is spoken here.
    pub tls: Option<TlsReport>,
}

/// HTTPS. Counters are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsReport {
    /// Oldest version of TLS that clients may use.
    pub min_version: &'static str,
    /// The certificates in use, the default one first.
    pub certificates: Vec<CertificateReport>,
    /// Who vouches for administrators' client certificates, if they need one.
    pub client_authorities: Option<ClientAuthorityReport>,
    /// Handshakes that were completed.
    pub handshakes: u64,
    /// Of these, those that went on with an earlier session.
    pub resumed: u64,
    /// Handshakes that failed, or were not complete in time.
    pub failed: u64,
    /// Connections of clients that spoke plain HTTP.
    pub plain: u64,
}

/// A certificate in use.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateReport {
    /// Its file.
    pub file: String,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// From when it is valid, RFC 3339.
    #[schema(format = DateTime)]
    pub not_before: String,
    /// Until when it is valid, RFC 3339.
    #[schema(format = DateTime)]
    pub not_after: String,
    /// Whole days until then; below zero when it has expired.
    pub days_left: i64,
    /// Whether it should be renewed now.
    pub expires_soon: bool,
    /// Why what the file holds now is not in use, if it is not.
    pub last_error: Option<String>,
}

/// Authorities of client certificates.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthorityReport {
    /// Their file.
    pub file: String,
    /// How many there are.
    pub authorities: usize,
    /// Why what the file holds now is not in use, if it is not.
    pub last_error: Option<String>,
}

/// Where limits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitStore {
    /// In this node's memory.
    Memory,
    /// In Redis, for all nodes together.
    Redis,
    /// In this node's memory, which admits its share until Redis is back.
    MemoryAfterRedisWasLost,
}

/// Rate limits as this node sees them. Counters are since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitReport {
    /// Where they are kept at the moment.
    pub store: LimitStore,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    pub since: String,
    /// Clients in memory.
    pub keys: u64,
    /// Bytes of memory they are counted as.
    pub bytes: u64,
    /// Most bytes.
    pub capacity_bytes: u64,
    /// Clients in memory that are blocked.
    pub blocked_keys: u64,
    /// Nodes that share the limits, this one included.
    pub nodes: u32,
    /// Busy clients for whom this node holds a few admissions in advance.
    pub leases: u64,
    /// Calls to Redis that failed.
    pub errors: u64,
    /// Decisions in a log that several clients share, because memory is full.
    pub overflow_decisions: u64,
    /// Requests refused.
    pub refusals: u64,
    /// Requests admitted.
    pub admissions: u64,
    /// Blocks that wait to be written to the database.
    pub blocks_waiting: u64,
    /// Blocks not written, because too many waited for the database.
    pub blocks_dropped: u64,
    /// Each class of endpoints.
    pub classes: Vec<ClassReport>,
    /// Clients that were refused the most, at most 10. Estimates that are never too low.
    pub top: Vec<RefusedReport>,
}

/// Counters of one class of endpoints.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassReport {
    /// Its name.
    pub class: String,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused, those of blocked clients included.
    pub refused: u64,
    /// Blocks that began.
    pub blocked: u64,
    /// Requests that would have been refused, if the class did more than observe.
    pub observed: u64,
}

/// A client that was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedReport {
    /// Who, such as `address 203.0.113.7`.
    pub subject: String,
    /// How often.
    pub refusals: u64,
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
    /// Sessions that memory was warmed with at the start; absent before that is done.
    pub warmed_sessions: Option<usize>,
    /// How long a session filled into memory now stays there; adapts to use.
    pub l1_lifetime_seconds: f64,
    /// Verified tokens of outside identity providers that are remembered.
    pub pooled_tokens: usize,
}

/// How soon revocations are obeyed on this node.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationReport {
    /// No session is used longer than this after its revocation was acknowledged.
    pub bound_seconds: f64,
    /// For so long cached sessions may still be used without news from the database.
    pub lease_remaining_seconds: f64,
    /// Answers given in an outage, when nobody could say whether the session still counts.
    pub served_in_grace: u64,
    /// From a revocation on another node to its being obeyed here, by the two nodes' clocks.
    pub apply_lag: LagReport,
    /// Messages between nodes; absent where there is no other node to tell.
    pub push: Option<PushReport>,
}

/// A distribution of times.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LagReport {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_seconds: f64,
    /// Half of them took at most this long, to the next of 1, 2 and 5.
    pub p50_seconds: f64,
    /// 99 % of them took at most this long.
    pub p99_seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
}

/// Messages between nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushReport {
    /// Whether messages of other nodes arrive.
    pub connected: bool,
    /// Sent.
    pub sent: u64,
    /// Could not be sent.
    pub not_sent: u64,
    /// Arrived from other nodes.
    pub received: u64,
    /// Refused, because they were not ours.
    pub refused: u64,
    /// Times that the lease was renewed through another node.
    pub leases_through_others: u64,
    /// Times that the log was read for another node.
    pub reads_for_others: u64,
}

/// The keys of one outside identity provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderReport {
    /// `stack`, or the issuer's address.
    pub issuer: String,
    /// Keys held.
    pub keys: usize,
    /// Seconds since they were fetched.
    pub age_seconds: Option<f64>,
    /// Fetches that were begun.
    pub fetches: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Tokens refused because their key is unknown.
    pub unknown_keys: u64,
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
