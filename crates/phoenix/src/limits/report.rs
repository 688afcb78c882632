//! What people see of the limits of this node.

use phoenix_auth::model::Moment;
use phoenix_http::limits::Limits;
use phoenix_http::{ClassReport, LimitStore, RateLimitReport, RefusedReport};
use phoenix_limit::Source;

use super::block_queue::BlockQueue;

/// Refused clients that are named.
const TOP: usize = 10;

/// Everything that the status page tells. Reads all of memory.
pub(crate) fn report(limits: &Limits, queue: &BlockQueue, now: Moment) -> RateLimitReport {
    let health = limits.limiter().health(now.mono);
    let (store, since, nodes, leases, errors) = match health.shared {
        None => (LimitStore::Memory, now.mono, 1, 0, 0),
        Some(shared) => (store(shared.source), shared.since, shared.nodes, shared.leases, shared.errors),
    };
    let blocks = queue.stats();
    let counts = limits.counts();
    RateLimitReport {
        store,
        since: now.wall.minus(since).to_string(),
        keys: health.memory.keys,
        bytes: health.memory.bytes,
        capacity_bytes: health.memory.capacity,
        blocked_keys: health.memory.blocked,
        nodes,
        leases,
        errors,
        overflow_decisions: health.memory.overflow_decisions,
        refusals: counts.iter().map(|class| class.refused).sum(),
        admissions: counts.iter().map(|class| class.admitted).sum(),
        blocks_waiting: blocks.waiting,
        blocks_dropped: blocks.dropped,
        classes: counts
            .into_iter()
            .map(|class| ClassReport {
                class: class.class,
                admitted: class.admitted,
                refused: class.refused,
                blocked: class.blocked,
                observed: class.observed,
            })
            .collect(),
        top: limits
            .most_refused(TOP)
            .into_iter()
            .map(|count| RefusedReport { subject: count.label, refusals: count.most })
            .collect(),
    }
}

const fn store(source: Source) -> LimitStore {
    match source {
        Source::Memory => LimitStore::Memory,
        Source::Redis => LimitStore::Redis,
        Source::Joined | Source::Merging | Source::Alone => LimitStore::MemoryAfterRedisWasLost,
    }
}
