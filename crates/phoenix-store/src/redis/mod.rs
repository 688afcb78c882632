//! The second tier: sessions in Redis, shared by all nodes; and a way to Redis for commands of others (`commands.rs`).
//!
//! For sessions Redis is a hint, never the truth: every entry is sealed with the instance's key, carries the stamp of its load,
//! and is judged by the reader against its own invalidation log. Losing, wiping or replaying Redis brings nothing
//! back. A request pays for a Redis that does not answer at most once, and at most the command time-out; `link.rs`
//! says how. They use no scripts, so there is no `NOSCRIPT` to handle.

mod address;
mod channel;
mod cluster;
mod commands;
mod connect;
mod entry;
mod failure;
mod inspect;
mod lane;
mod link;
mod nodes;
mod slots;
mod subscription;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::{ActiveSession, KeyRing, TokenHash};
use phoenix_auth::ports::Clock;
use phoenix_cache::Seq;
use redis::{AsyncCommands, Cmd, RedisError};

pub use channel::{Delivered, MAX_PAYLOAD_BYTES, RedisChannel, RedisReceiver};
pub use commands::{CommandError, CommandStats, MAX_COMMANDS, RedisCommands};
pub use inspect::{RedisFacts, RedisInspectError, RedisServerFacts, inspect};

use connect::Target;
use link::Link;

use crate::tls::Authorities;

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://...`, `redis-sentinel://...` or `redis-cluster://...`, or `rediss...` for TLS; `address.rs` says what
    /// may follow.
    pub url: String,
    /// Whom a server is believed that shows a certificate of theirs. Not used without TLS.
    pub trusted: Authorities,
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
    /// Whether commands are sent.
    pub available: bool,
    /// Commands sent.
    pub commands: u64,
    /// Commands that failed or were not answered in time.
    pub errors: u64,
    /// Commands not sent, to spare a Redis that failed and the caller the wait.
    pub spared: u64,
    /// Entries refused because their seal or form was wrong.
    pub refused_entries: u64,
}

/// Sessions in Redis.
pub struct RedisSessions {
    link: Arc<Link>,
    keys: KeyRing,
    lifetime: Duration,
    refused_entries: AtomicU64,
}

impl RedisSessions {
    /// Prepares the connection without making it: Redis may be down at start.
    pub fn new(config: &RedisConfig, keys: KeyRing, clock: Arc<dyn Clock>) -> Result<Self, RedisUrlError> {
        let target = Arc::new(Target::new(config).map_err(RedisUrlError)?);
        let link = Arc::new(Link::new(target, config.command_timeout, clock));
        Ok(Self { link, keys, lifetime: config.lifetime, refused_entries: AtomicU64::new(0) })
    }

    /// The entry of a token, if Redis has one with a valid seal. An absent, broken or late Redis is a miss.
    pub async fn get(&self, hash: &TokenHash) -> Option<(ActiveSession, Seq)> {
        let key = entry::key(hash);
        let bytes: Option<Vec<u8>> =
            self.link.run(|mut connection| async move { connection.get(key).await }).await?;
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
        let commands: Vec<Cmd> = entries
            .iter()
            .filter_map(|(hash, active, stamp)| {
                let bytes = entry::seal(&self.keys, hash, active, *stamp)?;
                Some(Cmd::pset_ex(entry::key(hash), bytes, millis))
            })
            .collect();
        let _kept: Option<()> = self.link.run(|connection| connection.send_all(commands)).await;
    }

    /// Asks Redis whether it can be used; returns how long that took if so: one round trip, and with a cluster three.
    /// After a failure this alone lets commands pass again, so a background task has to call it for as long as the
    /// process runs.
    ///
    /// Takes at most about twice the connection time-out and six times the command time-out; `None` also when another
    /// call is finding out.
    pub async fn ping(&self) -> Option<Duration> {
        self.link.probe().await
    }

    /// Messages between nodes, over the same connection settings and breaker. `seed` decides the jitter of its pauses;
    /// it need not be secret, but nodes should have different ones.
    #[must_use]
    pub fn channel(&self, seed: u64) -> RedisChannel {
        RedisChannel::new(Arc::clone(&self.link), seed)
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        RedisStats {
            available: self.link.is_available(),
            commands: self.link.commands.load(Ordering::Relaxed),
            errors: self.link.errors.load(Ordering::Relaxed),
            spared: self.link.spared.load(Ordering::Relaxed),
            refused_entries: self.refused_entries.load(Ordering::Relaxed),
        }
    }
}
