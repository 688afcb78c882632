//! What can be set about sharing.

use std::time::Duration;

pub use super::lease::LeaseBounds;

/// How a node shares limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedOptions {
    /// Names this node. Random, another one for each process.
    pub node: u64,
    /// Tells installations apart that use one Redis: the same on all nodes of one, such as [`crate::Keyer::fingerprint`].
    pub installation: u32,
    /// Parts into which keys are divided, each of which may be lost by itself: 64 for a Redis Cluster, 1 otherwise. All
    /// nodes must agree.
    pub partitions: u32,
    /// A guess of Redis' clock, since the Unix epoch, when this process' clock shows zero.
    pub unix_at_zero: Duration,
    /// Nodes among which limits are divided when Redis is out of reach, even if fewer were seen.
    pub nodes_at_least: u32,
    /// When keys are leased.
    pub leases: LeaseBounds,
    /// How often a node says that it lives.
    pub heartbeat: Duration,
    /// A node that is silent for so long is dead.
    pub node_timeout: Duration,
}

impl SharedOptions {
    /// The usual values, for the only installation of a Redis.
    #[must_use]
    pub fn new(node: u64, unix_at_zero: Duration) -> Self {
        Self {
            node,
            installation: 0,
            partitions: 1,
            unix_at_zero,
            nodes_at_least: 1,
            leases: LeaseBounds::default(),
            heartbeat: Duration::from_millis(500),
            node_timeout: Duration::from_secs(5),
        }
    }
}
