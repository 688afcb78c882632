//! Everything that runs beside the requests.

use std::sync::Arc;
use std::time::Duration;

use phoenix_auth::ops::CleanUp;
use phoenix_config::Config;
use phoenix_store::redis::RedisSessions;
use phoenix_store::tiers::{Adjustment, TieredSessions};

use crate::app::App;
use crate::lease::Keeper;
use crate::lifecycle::Lifecycle;
use crate::status_word::StatusWord;
use crate::{events, providers};

/// Last-seens wait at most this long before they are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Last-seens written in one statement.
const FLUSH_BATCH: usize = 1000;
/// Redis is asked whether it is there this often.
const REDIS_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// While it is not there, this often: requests do not find out by themselves that it is back.
const LOST_REDIS_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Most sessions handed to a Redis that is back.
const WARM_REDIS: usize = 50_000;
/// Lifetimes are adapted this often.
const ADAPT_INTERVAL: Duration = Duration::from_mins(1);
/// Statements of one kind in one clean-up.
const CLEAN_UP_BATCHES: u32 = 20;
/// The log of invalidations is kept this long, and at least twice as long as any entry of Redis.
const MIN_LOG_AGE: Duration = Duration::from_hours(1);

/// Starts all background tasks.
pub(crate) fn start(app: &App, config: &Config) {
    let lifecycle = &app.lifecycle;
    app.database.maintain(lifecycle);
    if let Some(applications) = &app.gateway.applications {
        applications.tend(lifecycle);
    }
    let keeper = Keeper {
        lifecycle: lifecycle.clone(),
        tiers: app.tiers.clone(),
        bus: app.bus.clone(),
        word: Arc::clone(&app.word),
        interval: config.cache.revocation_bound / 4,
    };
    lifecycle.spawn("freshness lease", keeper.run());
    until_stopped(lifecycle, "sessions refreshed ahead", {
        let tiers = app.tiers.clone();
        async move { tiers.run_refresher().await }
    });
    lifecycle.spawn("memory warmed", warm(app.tiers.clone(), config.cache.warm_entries));
    lifecycle.spawn("lifetimes adapted", adapt(lifecycle.clone(), app.tiers.clone()));
    lifecycle.spawn(
        "security events",
        events::write(lifecycle.clone(), Arc::clone(&app.events), app.database.store()),
    );
    if let Some(bus) = &app.bus {
        let (listener, inbox, pusher) = (bus.clone(), bus.clone(), bus.clone());
        until_stopped(lifecycle, "messages of other nodes", async move { listener.run_listener().await });
        until_stopped(lifecycle, "questions of other nodes", async move { inbox.run_inbox().await });
        until_stopped(lifecycle, "messages to other nodes", async move { pusher.run_pusher().await });
    }
    if let Some(providers) = &app.providers {
        providers::run_sync(lifecycle, providers, &app.auth, &app.clock());
    }
    lifecycle.spawn("last-seen writer", write_activity(lifecycle.clone(), app.tiers.clone()));
    let bounds = CleanUp {
        batch: config.session.cleanup_batch,
        max_batches: CLEAN_UP_BATCHES,
        invalidation_age: MIN_LOG_AGE.max(config.cache.l2_ttl * 2),
        event_age: config.session.event_retention,
    };
    lifecycle
        .spawn("clean-up", clean_up(lifecycle.clone(), app.clone(), config.session.cleanup_interval, bounds));
    if let Some(redis) = &app.redis {
        let writer = app.tiers.clone();
        until_stopped(lifecycle, "Redis writer", async move { writer.run_l2_writer().await });
        let probe =
            probe_redis(lifecycle.clone(), Arc::clone(redis), app.tiers.clone(), Arc::clone(&app.word));
        lifecycle.spawn("Redis probe", probe);
    }
}

/// Runs work that ends with the process only, and not by itself.
fn until_stopped(lifecycle: &Lifecycle, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stopping = lifecycle.stopping().clone();
    lifecycle.spawn(name, async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = work => {}
        }
    });
}

/// Fills memory with the sessions used last, so that the first requests after a start are fast.
async fn warm(tiers: TieredSessions, limit: u32) {
    match tiers.warm_memory(limit).await {
        Ok(sessions) => tracing::info!(sessions, "memory warmed with the sessions used last"),
        Err(error) => tracing::warn!(?error, "memory was not warmed; it fills as it is used"),
    }
}

/// Adapts how long sessions stay in memory to how soon they are used again.
async fn adapt(lifecycle: Lifecycle, tiers: TieredSessions) {
    while lifecycle.pause(ADAPT_INTERVAL).await {
        if let Some(Adjustment { from, to, observations, p95 }) = tiers.adapt_lifetime() {
            tracing::info!(?from, ?to, observations, ?p95, "lifetime in memory adapted to use");
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

async fn probe_redis(
    lifecycle: Lifecycle,
    redis: Arc<RedisSessions>,
    tiers: TieredSessions,
    word: Arc<StatusWord>,
) {
    let mut lost = false;
    loop {
        // Without an answer also when somebody else was asking: then what they found counts.
        let answered = redis.ping().await.is_some() || redis.stats().available;
        word.set_redis_lost(!answered);
        if answered && lost {
            let sessions = tiers.warm_redis(WARM_REDIS).await;
            tracing::info!(sessions, "Redis is warmed from this node's memory");
        }
        lost = !answered;
        if !lifecycle.pause(if lost { LOST_REDIS_PROBE_INTERVAL } else { REDIS_PROBE_INTERVAL }).await {
            return;
        }
    }
}
