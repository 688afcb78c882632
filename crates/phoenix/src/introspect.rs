//! Answers the HTTP surface's questions about the process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phoenix_auth::ports::Clock;
use phoenix_http::limits::Limits;
use phoenix_http::{
    DatabaseReport, Introspection, LagReport, NotReady, ProviderReport, PushReport, RedisReport,
    RevocationReport, StatementReport, StatusReport, SystemStatus, TierReport,
};
use phoenix_identity::KeySetStats;
use phoenix_store::StatementStats;
use phoenix_store::bus::Bus;
use phoenix_store::redis::RedisSessions;
use phoenix_store::tiers::TieredSessions;

use crate::VERSION;
use crate::database::Database;
use crate::limits::block_queue::BlockQueue;
use crate::limits::report::report;
use crate::providers::Providers;
use crate::status_word::StatusWord;
use crate::tls::TlsServer;

/// What there is to look at.
pub(crate) struct Inspector {
    pub(crate) word: Arc<StatusWord>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Database,
    pub(crate) tiers: TieredSessions,
    pub(crate) redis: Option<Arc<RedisSessions>>,
    pub(crate) bus: Option<Bus>,
    pub(crate) providers: Option<Arc<Providers>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) blocks: Arc<BlockQueue>,
    pub(crate) tls: Option<Arc<TlsServer>>,
}

#[async_trait]
impl Introspection for Inspector {
    fn system_status(&self) -> SystemStatus {
        self.word.word()
    }

    async fn readiness(&self) -> Result<(), NotReady> {
        if self.word.is_draining() {
            Err(NotReady::Draining)
        } else if self.word.is_database_lost()
            && (self.word.does_another_reach_it() || !self.tiers.may_use_memory())
        {
            // Another node can do all of it. While none can, this one serves those who are signed in, and taking it away
            // would sign them out.
            Err(NotReady::Database)
        } else {
            Ok(())
        }
    }

    async fn report(&self) -> StatusReport {
        let (database, redis) = tokio::join!(self.database_report(), self.redis_report());
        StatusReport {
            status: self.word.word(),
            version: VERSION,
            uptime_seconds: self.clock.mono().as_secs(),
            tiers: self.tier_report(),
            revocation: self.revocation_report(),
            providers: self.provider_reports(),
            database,
            pool: self.database.pool(),
            redis,
            rate_limits: report(&self.limits, &self.blocks, self.clock.now()),
            tls: self.tls.as_ref().map(|tls| tls.report()),
        }
    }
}

impl Inspector {
    async fn database_report(&self) -> DatabaseReport {
        let health = self.database.status().healthy().await.ok();
        DatabaseReport {
            kind: self.database.kind(),
            available: health.is_some(),
            read_only: health.is_some_and(|health| health.read_only),
            round_trip_ms: health.map(|health| millis(health.round_trip)),
            statements: self.database.status().statement_stats().iter().map(statement).collect(),
        }
    }

    async fn redis_report(&self) -> Option<RedisReport> {
        let redis = self.redis.as_ref()?;
        let round_trip = redis.ping().await;
        let stats = redis.stats();
        Some(RedisReport {
            available: round_trip.is_some(),
            round_trip_ms: round_trip.map(millis),
            commands: stats.commands,
            errors: stats.errors,
            spared: stats.spared,
            refused_entries: stats.refused_entries,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    fn tier_report(&self) -> TierReport {
        let (stats, memory) = (self.tiers.stats(), self.tiers.memory_stats());
        let cached = stats.l1_hits + stats.l2_hits;
        let all = cached + stats.l3_hits;
        TierReport {
            l1_hits: stats.l1_hits,
            l2_hits: stats.l2_hits,
            l3_hits: stats.l3_hits,
            hit_rate: (all > 0).then(|| cached as f64 / all as f64),
            l1_absent: stats.l1_absent,
            l3_absent: stats.l3_absent,
            database_reads: stats.database_reads,
            l1_entries: memory.entries,
            l1_bytes: memory.bytes,
            l1_capacity_bytes: memory.capacity_bytes,
            negative_entries: stats.negatives,
            activity_waiting: stats.activity_waiting,
            activity_dropped: stats.activity_dropped,
            warmed_sessions: stats.warmed,
            l1_lifetime_seconds: stats.l1_lifetime.as_secs_f64(),
            pooled_tokens: stats.pooled_tokens,
        }
    }

    fn revocation_report(&self) -> RevocationReport {
        let stats = self.tiers.stats();
        let bus = self.bus.as_ref().map(Bus::stats);
        RevocationReport {
            bound_seconds: stats.revocation_bound.as_secs_f64(),
            lease_remaining_seconds: stats.lease_remaining.as_secs_f64(),
            served_in_grace: stats.served_in_grace,
            apply_lag: LagReport {
                count: stats.apply_lag.count,
                total_seconds: stats.apply_lag.total.as_secs_f64(),
                p50_seconds: stats.apply_lag.p50.as_secs_f64(),
                p99_seconds: stats.apply_lag.p99.as_secs_f64(),
                longest_seconds: stats.apply_lag.longest.as_secs_f64(),
            },
            push: bus.map(|bus| PushReport {
                connected: bus.connected,
                sent: bus.sent,
                not_sent: bus.not_sent,
                received: bus.received,
                refused: bus.refused,
                leases_through_others: bus.leases_through_others,
                reads_for_others: bus.reads_for_others,
            }),
        }
    }

    fn provider_reports(&self) -> Vec<ProviderReport> {
        let Some(providers) = &self.providers else { return Vec::new() };
        let stats = providers.identity.stats(self.clock.mono());
        stats.iter().map(provider).collect()
    }
}

fn statement(stats: &StatementStats) -> StatementReport {
    let mean = u32::try_from(stats.count.max(1)).map_or(Duration::ZERO, |count| stats.total / count);
    StatementReport {
        name: stats.name,
        count: stats.count,
        errors: stats.errors,
        mean_ms: millis(mean),
        longest_ms: millis(stats.longest),
    }
}

fn provider(stats: &KeySetStats) -> ProviderReport {
    ProviderReport {
        issuer: stats.provider.to_string(),
        keys: stats.keys,
        age_seconds: stats.age.map(|age| age.as_secs_f64()),
        fetches: stats.fetches,
        failures: stats.failures,
        unknown_keys: stats.unknown_keys,
    }
}

fn millis(duration: Duration) -> f64 {
    // Whole microseconds: the page needs no more digits.
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).as_secs_f64() * 1000.0
}
