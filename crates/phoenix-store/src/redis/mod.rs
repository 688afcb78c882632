//! The second tier: sessions in Redis, shared by all nodes.
//!
//! Redis is a hint, never the truth: every entry is sealed with the instance's key, carries the stamp of its load,
//! and is judged by the reader against its own invalidation log. Losing, wiping or replaying Redis brings nothing
//! back. Commands have a deadline, and a breaker spares a Redis that fails.

mod entry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::{ActiveSession, KeyRing, TokenHash};
use phoenix_auth::ports::Clock;
use phoenix_cache::Seq;
use phoenix_resilience::{Breaker, BreakerLimits};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, Client, IntoConnectionInfo, RedisError};

/// Opens after this many commands in a row failed.
const BREAKER: BreakerLimits =
    BreakerLimits { failures: 3, min_pause: Duration::from_millis(200), max_pause: Duration::from_secs(5) };

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://...`
    pub url: String,
    /// A command not answered by then has failed.
    pub command_timeout: Duration,
    /// A connection not made by then has failed.
    pub connect_timeout: Duration,
    /// How long an entry is kept.
    pub lifetime: Duration,
}

impl std::fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConfig").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// The address or options in the URL cannot be used. Never prints the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL cannot be used")]
pub struct RedisUrlError(#[source] RedisError);

/// Counters and state for metrics and the status page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisStats {
    /// Whether the breaker lets commands pass.
    pub available: bool,
    /// Commands sent.
    pub commands: u64,
    /// Commands that failed or were not answered in time.
    pub errors: u64,
    /// Commands not sent because the breaker was open.
    pub spared: u64,
    /// Entries refused because their seal or form was wrong.
    pub refused_entries: u64,
}

/// Sessions in Redis.
pub struct RedisSessions {
    manager: ConnectionManager,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
    keys: KeyRing,
    lifetime: Duration,
    command_timeout: Duration,
    commands: AtomicU64,
    errors: AtomicU64,
    spared: AtomicU64,
    refused_entries: AtomicU64,
}

impl RedisSessions {
    /// Prepares the connection without waiting for it: Redis may be down at start.
    pub fn new(config: &RedisConfig, keys: KeyRing, clock: Arc<dyn Clock>) -> Result<Self, RedisUrlError> {
        let info = config.url.as_str().into_connection_info().map_err(RedisUrlError)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(RedisUrlError)?;
        let options = ConnectionManagerConfig::new()
            .set_response_timeout(Some(config.command_timeout))
            .set_connection_timeout(Some(config.connect_timeout))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_secs(1));
        let manager = ConnectionManager::new_lazy_with_config(client, options).map_err(RedisUrlError)?;
        Ok(Self {
            manager,
            breaker: Breaker::new(BREAKER),
            clock,
            keys,
            lifetime: config.lifetime,
            command_timeout: config.command_timeout,
            commands: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            spared: AtomicU64::new(0),
            refused_entries: AtomicU64::new(0),
        })
    }

    /// The entry of a token, if Redis has one with a valid seal. An absent, broken or late Redis is a miss.
    pub async fn get(&self, hash: &TokenHash) -> Option<(ActiveSession, Seq)> {
        let key = entry::key(hash);
        let mut manager = self.manager.clone();
        let bytes: Option<Vec<u8>> = self.guarded(async move { manager.get(key).await }).await?;
        let bytes = bytes?;
        let opened = entry::open(&self.keys, hash, &bytes);
        if opened.is_none() {
            self.refused_entries.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    /// Keeps entries, in one round trip. Failing to is no error.
    pub async fn put(&self, entries: &[(TokenHash, Arc<ActiveSession>, Seq)]) {
        let millis = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = redis::pipe();
        for (hash, active, stamp) in entries {
            if let Some(bytes) = entry::seal(&self.keys, hash, active, *stamp) {
                pipeline.pset_ex(entry::key(hash), bytes, millis).ignore();
            }
        }
        let mut manager = self.manager.clone();
        let _kept: Option<()> = self.guarded(async move { pipeline.query_async(&mut manager).await }).await;
    }

    /// Round-trip time of a `PING`, or `None` when Redis does not answer in time.
    pub async fn ping(&self) -> Option<Duration> {
        let mut manager = self.manager.clone();
        let started = self.clock.mono();
        let _pong: String = self.guarded(async move { manager.ping().await }).await?;
        Some(self.clock.mono().saturating_sub(started))
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        RedisStats {
            available: self.breaker.is_closed(),
            commands: self.commands.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            spared: self.spared.load(Ordering::Relaxed),
            refused_entries: self.refused_entries.load(Ordering::Relaxed),
        }
    }

    /// Runs a command under breaker and deadline. An error reply counts as an answer.
    async fn guarded<T>(&self, command: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
        let Some(call) = self.breaker.admit(self.clock.mono()) else {
            self.spared.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.commands.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.command_timeout, command).await {
            Ok(Ok(value)) => {
                call.succeeded();
                Some(value)
            }
            Ok(Err(error)) => {
                let broken = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
                if broken {
                    call.failed(self.clock.mono());
                } else {
                    call.succeeded();
                }
                self.note_failure(&error.to_string());
                None
            }
            Err(_elapsed) => {
                call.failed(self.clock.mono());
                self.note_failure("no answer in time");
                None
            }
        }
    }

    fn note_failure(&self, cause: &str) {
        let before = self.errors.fetch_add(1, Ordering::Relaxed);
        // The first of an outage is news; the others are counted.
        if before == 0 || !self.breaker.is_closed() {
            tracing::warn!(cause, "Redis did not answer; sessions are looked up in the database");
        }
    }
}
