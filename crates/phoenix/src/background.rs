//! Everything that runs beside the requests.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ops::CleanUp;
use phoenix_config::Config;
use phoenix_store::redis::RedisSessions;
use phoenix_store::tiers::TieredSessions;

use crate::app::App;
use crate::lifecycle::Lifecycle;
use crate::status_word::StatusWord;

/// Last-seens wait at most this long before they are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Last-seens written in one statement.
const FLUSH_BATCH: usize = 1000;
/// Redis is asked whether it is there this often.
const REDIS_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Statements of one kind in one clean-up.
const CLEAN_UP_BATCHES: u32 = 20;
/// The log of invalidations is kept this long, and at least twice as long as any entry of Redis.
const MIN_LOG_AGE: Duration = Duration::from_hours(1);

/// Starts all background tasks.
pub(crate) fn start(app: &App, config: &Config) {
    let lifecycle = &app.lifecycle;
    app.database.maintain(lifecycle);
    let bound = config.cache.revocation_bound;
    let lease = keep_lease(lifecycle.clone(), app.tiers.clone(), Arc::clone(&app.word), bound / 4);
    lifecycle.spawn("freshness lease", lease);
    lifecycle.spawn("last-seen writer", write_activity(lifecycle.clone(), app.tiers.clone()));
    let bounds = CleanUp {
        batch: config.session.cleanup_batch,
        max_batches: CLEAN_UP_BATCHES,
        invalidation_age: MIN_LOG_AGE.max(config.cache.l2_ttl * 2),
    };
    lifecycle
        .spawn("clean-up", clean_up(lifecycle.clone(), app.clone(), config.session.cleanup_interval, bounds));
    if let Some(redis) = &app.redis {
        let (stopping, tiers) = (lifecycle.stopping().clone(), app.tiers.clone());
        lifecycle.spawn("Redis writer", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tiers.run_l2_writer() => {}
            }
        });
        lifecycle
            .spawn("Redis probe", probe_redis(lifecycle.clone(), Arc::clone(redis), Arc::clone(&app.word)));
    }
}

/// Renews the lease four times within its bound, and at once when an invalidation arrived out of order.
async fn keep_lease(lifecycle: Lifecycle, tiers: TieredSessions, word: Arc<StatusWord>, interval: Duration) {
    while !lifecycle.stopping().is_cancelled() {
        // Given up before the store is done with its retries: an outage is known within the bound, and what the
        // lease is for is over by then.
        let lost = match tokio::time::timeout(interval * 2, tiers.renew_lease()).await {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                tracing::debug!(?error, "the freshness lease was not renewed");
                true
            }
            Err(_elapsed) => true,
        };
        word.set_database_lost(lost);
        tokio::select! {
            _ = lifecycle.pause(interval) => {}
            () = tiers.gap_noticed() => {}
        }
    }
}

/// The last flush is `App::stop`'s: it closes the database right after, and must not do so under another one.
async fn write_activity(lifecycle: Lifecycle, tiers: TieredSessions) {
    while lifecycle.pause(FLUSH_INTERVAL).await {
        if let Err(error) = tiers.flush_activity(FLUSH_BATCH).await {
            tracing::warn!(?error, "last-seens were not written; they wait for the next time");
        }
    }
}

async fn clean_up(lifecycle: Lifecycle, app: App, interval: Duration, bounds: CleanUp) {
    while lifecycle.pause(interval).await {
        match app.auth.clean_up(bounds).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "expired sessions removed"),
            Err(error) => {
                tracing::warn!(?error, "expired sessions were not removed; the next run tries again");
            }
        }
    }
}

async fn probe_redis(lifecycle: Lifecycle, redis: Arc<RedisSessions>, word: Arc<StatusWord>) {
    loop {
        word.set_redis_lost(redis.ping().await.is_none());
        if !lifecycle.pause(REDIS_PROBE_INTERVAL).await {
            return;
        }
    }
}
