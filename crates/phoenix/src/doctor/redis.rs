//! Checks of Redis.

use std::time::Duration;

use phoenix_limit::{Keyer, nodes_key};
use phoenix_store::redis::{RedisFacts, RedisServerFacts, inspect};

use super::catalogue as check;
use super::finding::{Area, Finding};
use super::postgres::{clock, is_local};
use super::{Said, Subject, bounded, millis, size, skip_rest};
use crate::app;

/// Oldest version that Phoenix is tested with.
const OLDEST: (u32, u32) = (6, 2);
/// A node that was silent for longer is gone.
const SILENT_US: i64 = 10_000_000;
/// Part of the memory or the connections in use from which it gets tight.
const TIGHT_PERCENT: u64 = 80;

type Seen = Option<Result<RedisFacts, String>>;

pub(super) async fn look(subject: &Subject<'_>) -> Seen {
    let options = match app::redis_config(subject.config) {
        Ok(options) => options?,
        Err(error) => return Some(Err(error.said())),
    };
    // Without a key of one's own nobody knows here under which name the nodes meet.
    let installation = subject.keys().map_or(0, |keys| Keyer::new(keys.limited_keys()).fingerprint());
    Some(bounded(inspect(&options, &nodes_key(installation), &*subject.world.clock)).await)
}

/// Nodes of Phoenix that showed themselves lately.
pub(super) fn live_nodes(facts: &RedisFacts) -> u32 {
    let is_live = |seen: &&i64| facts.now_us.saturating_sub(**seen).abs() <= SILENT_US;
    u32::try_from(facts.signs_of_life.iter().filter(is_live).count()).unwrap_or(u32::MAX)
}

pub(super) fn judge(subject: &Subject<'_>, seen: Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    match seen {
        None => skip_rest(Area::Redis, &mut findings, "REDIS_URL is not set"),
        Some(Err(error)) => {
            let mend = "start it, or correct REDIS_URL; until then nodes go on without it";
            findings.push(check::REDIS_REACHABLE.failure(error, mend));
            skip_rest(Area::Redis, &mut findings, "Redis cannot be used (redis.reachable)");
        }
        Some(Ok(facts)) => {
            findings.push(reachable(&facts));
            findings.push(encrypted(subject));
            for server in &facts.servers {
                findings.extend(of_server(subject, server, facts.servers.len() > 1));
            }
            findings.push(cluster(&facts));
        }
    }
    findings
}

fn reachable(facts: &RedisFacts) -> Finding {
    let servers = facts.servers.len();
    let nodes = live_nodes(facts);
    check::REDIS_REACHABLE.ok(format!("{servers} servers, {nodes} nodes of Phoenix"))
}

fn encrypted(subject: &Subject<'_>) -> Finding {
    let url = subject.config.redis.url.as_ref();
    let has_tls = url.is_some_and(phoenix_config::RedisUrl::tls_required);
    let local = url.is_some_and(|url| is_local(url.expose()));
    let found = match (has_tls, local) {
        (true, _) => "TLS",
        (false, true) => "not encrypted, on this machine",
        (false, false) => "not encrypted, over the network",
    };
    check::REDIS_TLS.ok_or_warning(
        has_tls || local,
        found,
        "use rediss:// in REDIS_URL: docs/operations/tls-outgoing.md",
    )
}

/// What is to be seen of one server, the names of which are told where there are several.
fn of_server(subject: &Subject<'_>, server: &RedisServerFacts, is_named: bool) -> Vec<Finding> {
    let mut findings = vec![
        version(server),
        latency(subject, server),
        clock(check::REDIS_CLOCK, server.clock_ahead_ms),
        eviction(server),
        memory(server),
        persistence(server),
        clients(server),
    ];
    if server.word("role") == "master" {
        findings.push(replicas(server));
    }
    if is_named {
        for finding in &mut findings {
            finding.found = format!("{}: {}", server.name, finding.found);
        }
    }
    findings
}

fn version(server: &RedisServerFacts) -> Finding {
    let text = server.word("redis_version");
    let mut parts = text.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    check::REDIS_VERSION.ok_or_warning(version >= OLDEST, text, "upgrade Redis to 6.2 or later")
}

fn latency(subject: &Subject<'_>, server: &RedisServerFacts) -> Finding {
    let bound = subject.config.redis.command_timeout;
    let found = format!("{}, and {} counts as down", millis(server.round_trip), millis(bound));
    let mend = "put Redis and Phoenix into one zone, or raise PHOENIX_REDIS_COMMAND_TIMEOUT";
    let slow = (bound / 5).max(Duration::from_millis(2));
    check::REDIS_LATENCY.ok_or_warning(server.round_trip <= slow, found, mend)
}

fn eviction(server: &RedisServerFacts) -> Finding {
    let policy = server.word("maxmemory_policy");
    let is_bounded = server.number("maxmemory").unwrap_or_default() > 0;
    let mend = "set maxmemory-policy noeviction (redis.conf or CONFIG SET)";
    if policy == "noeviction" {
        check::REDIS_EVICTION.ok(policy)
    } else if is_bounded {
        check::REDIS_EVICTION.failure(policy, mend)
    } else {
        check::REDIS_EVICTION.warning(format!("{policy}, which counts once maxmemory is set"), mend)
    }
}

fn memory(server: &RedisServerFacts) -> Finding {
    let (used, max) =
        (server.number("used_memory").unwrap_or_default(), server.number("maxmemory").unwrap_or_default());
    if max == 0 {
        return check::REDIS_MEMORY.warning(
            format!("{} used, without a limit", size(used)),
            "set maxmemory to what the machine can spare, so that the system does not end Redis",
        );
    }
    let found = format!("{} of {} used", size(used), size(max));
    let is_fine = used.saturating_mul(100) / max < TIGHT_PERCENT;
    check::REDIS_MEMORY.ok_or_warning(is_fine, found, "raise maxmemory, or shorten PHOENIX_L2_TTL")
}

fn persistence(server: &RedisServerFacts) -> Finding {
    let appends = server.word("aof_enabled") == "1";
    let snapshots = server.save.as_deref().is_some_and(|save| !save.is_empty());
    let failed = server.word("rdb_last_bgsave_status") == "err"
        || (appends && server.word("aof_last_write_status") == "err");
    let mend = "set appendonly yes and appendfsync everysec, on a disk with space";
    if failed {
        return check::REDIS_PERSISTENCE.failure("the latest write to disk failed", mend);
    }
    match (appends, snapshots, &server.save) {
        (true, _, _) => check::REDIS_PERSISTENCE.ok("append-only file"),
        (false, true, _) => check::REDIS_PERSISTENCE.ok("snapshots"),
        (false, false, None) => check::REDIS_PERSISTENCE.skipped("the server does not tell its settings"),
        (false, false, Some(_)) => check::REDIS_PERSISTENCE.warning("nothing is written to disk", mend),
    }
}

fn clients(server: &RedisServerFacts) -> Finding {
    let (open, max) = (
        server.number("connected_clients").unwrap_or_default(),
        server.number("maxclients").unwrap_or_default(),
    );
    let is_fine = max == 0 || open.saturating_mul(100) / max < TIGHT_PERCENT;
    check::REDIS_CLIENTS.ok_or_warning(
        is_fine,
        format!("{open} of {max}"),
        "raise maxclients, or find who holds them",
    )
}

fn replicas(server: &RedisServerFacts) -> Finding {
    let replicas = server.number("connected_slaves").unwrap_or_default();
    let mend = "add a replica with Sentinel or a cluster: docs/operations/redis.md; or accept that nodes limit by \
                themselves meanwhile";
    check::REDIS_REPLICAS.ok_or_warning(replicas > 0, replicas.to_string(), mend)
}

fn cluster(facts: &RedisFacts) -> Finding {
    let Some(info) = &facts.cluster else { return check::REDIS_CLUSTER.skipped("not a cluster") };
    let state = info.get("cluster_state").map_or("", String::as_str);
    let slots = info.get("cluster_slots_ok").map_or("", String::as_str);
    let found = format!("{state}, {slots} of 16384 slots");
    check::REDIS_CLUSTER.ok_or_failure(
        state == "ok",
        found,
        "look at CLUSTER NODES and bring back who failed",
    )
}
