//! The pool of connections for everything but look-ups of sessions: at least and at most so many, none too old,
//! none idle for too long, each checked before it is handed out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics, Pool as Connections, PoolConfig,
    PoolError, QueueMode, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::Config;

use super::config::PgConfig;
use super::connection::Connector;
use super::db::Db;
use super::failure::Failure;
use super::retry::{mix, part};
use crate::statements::StatementCounters;

/// A connection is replaced up to this part of its lifetime early.
const LIFETIME_JITTER_DIVISOR: u32 = 10;
/// Longest time of the check before a connection is handed out. It is one round trip.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// How the pool is used at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolStats {
    /// Open connections.
    pub size: usize,
    /// Those that somebody uses.
    pub in_use: usize,
    /// Those that nobody uses.
    pub idle: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
    /// Most connections.
    pub max: usize,
    /// Connections kept open when there is nothing to do.
    pub min: usize,
    /// Callers that waited in vain since the store was opened.
    pub timeouts: u64,
}

pub(super) struct Pool {
    connections: Connections,
    counters: Arc<StatementCounters>,
    lifetime: Lifetime,
    idle_timeout: Duration,
    connection_timeout: Duration,
    min: usize,
    timeouts: AtomicU64,
}

/// When a connection is too old.
#[derive(Clone, Copy)]
struct Lifetime {
    max: Duration,
    seed: u64,
}

impl Lifetime {
    fn is_over(self, client: &ClientWrapper, metrics: &Metrics) -> bool {
        // The address of its statement cache stays the same for a connection's whole life.
        let id = Arc::as_ptr(&client.statement_cache).addr() as u64;
        let early = part(self.max / LIFETIME_JITTER_DIVISOR, mix(self.seed ^ id));
        metrics.age() >= self.max.saturating_sub(early)
    }
}

impl Pool {
    pub(super) fn new(
        config: &PgConfig,
        driver: &Config,
        connector: Connector,
        counters: Arc<StatementCounters>,
    ) -> Result<Self, deadpool_postgres::BuildError> {
        let lifetime = Lifetime { max: config.max_lifetime, seed: config.seed };
        let manager = Manager::from_connect(
            driver.clone(),
            connector,
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let max = config.pool_max.max(1);
        let timeouts = Timeouts {
            wait: Some(config.connection_timeout),
            create: Some(config.connection_timeout),
            recycle: Some(CHECK_TIMEOUT.min(config.connection_timeout)),
        };
        // Last in, first out: what is not needed becomes idle and can be closed.
        let connections = Connections::builder(manager)
            .config(PoolConfig { max_size: max, timeouts, queue_mode: QueueMode::Lifo })
            .runtime(Runtime::Tokio1)
            .pre_recycle(Hook::sync_fn(move |client: &mut ClientWrapper, metrics| {
                if lifetime.is_over(client, metrics) {
                    return Err(HookError::message("the connection is too old"));
                }
                Ok(())
            }))
            .build()?;
        Ok(Self {
            connections,
            counters,
            lifetime,
            idle_timeout: config.idle_timeout,
            connection_timeout: config.connection_timeout,
            min: config.pool_min.min(max),
            timeouts: AtomicU64::new(0),
        })
    }

    /// A checked connection, after waiting at most the connection time-out.
    pub(super) async fn lease(&self) -> Result<Db, Failure> {
        let bound = self.connection_timeout;
        let leased = tokio::time::timeout(bound, self.connections.get()).await;
        let leased = leased.map_or(Err(Failure::PoolWait(bound)), |leased| {
            leased.map_err(|error| Failure::from_pool(error, bound))
        });
        if matches!(leased, Err(Failure::PoolWait(_) | Failure::PoolConnect(_))) {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Db::new(leased?, Arc::clone(&self.counters)))
    }

    /// Closes what is too old, broken, or idle beyond the minimum; then opens what is missing to the minimum.
    pub(super) async fn maintain(&self) -> Result<(), PoolError> {
        if self.connections.is_closed() {
            return Ok(());
        }
        let mut size = self.connections.status().size;
        let closed = self.connections.retain(|client, metrics| {
            let surplus = size > self.min && metrics.last_used() >= self.idle_timeout;
            let keep = !surplus && !client.is_closed() && !self.lifetime.is_over(client, &metrics);
            size -= usize::from(!keep);
            keep
        });
        drop(closed);
        self.warm().await
    }

    /// Opens connections up to the minimum.
    pub(super) async fn warm(&self) -> Result<(), PoolError> {
        // Holding what is idle is the only way to make the pool open another.
        let mut held = Vec::new();
        while self.connections.status().size < self.min && held.len() < self.min {
            held.push(self.connections.get().await?);
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> PoolStats {
        let status = self.connections.status();
        PoolStats {
            size: status.size,
            in_use: status.size - status.available.min(status.size),
            idle: status.available,
            waiting: status.waiting,
            max: status.max_size,
            min: self.min,
            timeouts: self.timeouts.load(Ordering::Relaxed),
        }
    }

    /// Closes idle connections now and the others when they come back.
    pub(super) fn close(&self) {
        self.connections.close();
    }
}
