//! What can break between nodes, and how to break and mend it. Everything here blocks for milliseconds.

use anyhow::Result;
use phoenix_testkit::proxy::{Mode, REDIS_MESSAGE};

use super::cluster::Cluster;

/// One thing that is broken for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Redis keeps its connections and answers nothing (SIGSTOP).
    RedisPaused,
    /// Redis is killed, and started again with nothing in it.
    RedisRestarted,
    /// What Redis pushes to subscribers gets lost on the way to every node.
    PushLost,
    /// One node does not reach Redis.
    CutFromRedis,
    /// One node does not reach the database.
    CutFromDatabase,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::None,
        Self::RedisPaused,
        Self::RedisRestarted,
        Self::PushLost,
        Self::CutFromRedis,
        Self::CutFromDatabase,
    ];

    /// For tables.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing broken",
            Self::RedisPaused => "Redis paused",
            Self::RedisRestarted => "Redis killed, restarted",
            Self::PushLost => "pushes lost",
            Self::CutFromRedis => "node cut from Redis",
            Self::CutFromDatabase => "node cut from database",
        }
    }
}

/// Which node is cut off, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) node: usize,
    /// Bytes disappear, as in a broken network, instead of connections being refused, as from a dead server.
    pub(super) silent: bool,
}

impl Cut {
    fn mode(self) -> Mode {
        if self.silent { Mode::Blackhole } else { Mode::Refuse }
    }
}

/// Breaks it.
pub(super) fn begin(fault: Fault, cluster: &Cluster, cut: Cut) -> Result<()> {
    match fault {
        Fault::None => {}
        Fault::RedisPaused => cluster.ground.redis.pause()?,
        Fault::RedisRestarted => cluster.ground.redis.kill()?,
        Fault::PushLost => {
            for node in &cluster.nodes {
                node.to_redis.set(Mode::Losing(REDIS_MESSAGE));
            }
        }
        Fault::CutFromRedis => cluster.nodes[cut.node].to_redis.set(cut.mode()),
        Fault::CutFromDatabase => cluster.nodes[cut.node].to_database.set(cut.mode()),
    }
    Ok(())
}

/// Mends what [`begin`] broke.
pub(super) fn end(fault: Fault, cluster: &Cluster, cut: Cut) -> Result<()> {
    match fault {
        Fault::None => {}
        Fault::RedisPaused => cluster.ground.redis.resume()?,
        Fault::RedisRestarted => cluster.ground.redis.restart()?,
        Fault::PushLost => {
            for node in &cluster.nodes {
                node.to_redis.set(Mode::Pass);
            }
        }
        Fault::CutFromRedis => cluster.nodes[cut.node].to_redis.set(Mode::Pass),
        Fault::CutFromDatabase => cluster.nodes[cut.node].to_database.set(Mode::Pass),
    }
    Ok(())
}
