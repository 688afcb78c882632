//! How a node that shares limits is doing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::node::Shared;
use super::situation::Phase;
use crate::MemoryStats;

/// Where decisions come from, of the partition that is worst off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// This node's memory: limits are not shared.
    Memory,
    /// This node's memory and its share: Redis cannot be asked.
    Alone,
    /// The same; Redis is back and being told what was admitted meanwhile.
    Merging,
    /// Redis and in addition this node's share, until all nodes have told it.
    Joined,
    /// Redis.
    Redis,
}

/// How sharing is going. Counters count from the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedHealth {
    /// Of the partition that is worst off.
    pub source: Source,
    /// For how long that has been so.
    pub since: Duration,
    /// All partitions.
    pub partitions: u32,
    /// Those that are decided by Redis alone.
    pub partitions_up: u32,
    /// Nodes among which limits are divided when Redis is lost, by the partition that is worst off.
    pub nodes: u32,
    /// Leases held now.
    pub leases: u64,
    /// Commands sent to Redis.
    pub calls: u64,
    /// Commands without a good answer.
    pub errors: u64,
    /// How often a partition was lost.
    pub losses: u64,
    /// Requests decided by Redis.
    pub decided_by_redis: u64,
    /// Requests admitted from a lease.
    pub decided_by_lease: u64,
    /// Requests refused by what this node knew.
    pub refused_here: u64,
    /// Requests decided while Redis could not be asked.
    pub decided_alone: u64,
}

impl From<Phase> for Source {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Down => Self::Alone,
            Phase::Merging => Self::Merging,
            Phase::Joined => Self::Joined,
            Phase::Up => Self::Redis,
        }
    }
}

impl Shared {
    pub(crate) fn memory_stats(&self, now: Duration) -> MemoryStats {
        self.memory.stats(self.clock.at(now))
    }

    pub(crate) fn health(&self, now: Duration) -> SharedHealth {
        let (mut worst, mut since, mut nodes, mut up) = (Phase::Up, Duration::ZERO, 1, 0);
        for place in 0..self.options.partitions {
            let partition = self.read(place);
            up += u32::from(partition.present.phase == Phase::Up);
            if place == 0 || partition.present.phase < worst {
                (worst, since) = (partition.present.phase, partition.since);
                nodes = partition.present.share.nodes();
            }
        }
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        SharedHealth {
            source: worst.into(),
            since: now.saturating_sub(since),
            partitions: self.options.partitions,
            partitions_up: up,
            nodes,
            leases: self.leases.len() as u64,
            calls: of(&self.counters.calls),
            errors: of(&self.counters.errors),
            losses: of(&self.counters.losses),
            decided_by_redis: of(&self.counters.by_redis),
            decided_by_lease: of(&self.counters.by_lease),
            refused_here: of(&self.counters.refused_here),
            decided_alone: of(&self.counters.alone),
        }
    }
}
