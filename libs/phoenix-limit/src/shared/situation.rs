//! How a node stands to the Redis of one partition, and what follows when it is lost and found again. Decides nothing
//! about requests and sends nothing.
//!
//! ```text
//!       lost                 found               all own entries are there      all others are as far
//!  Up --------> Down ----------------> Merging -----------------------> Joined ----------------------> Up
//!                ^------ lost --------------------------------------------'
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::call::{Registry, generation_of, resets_of};
use crate::Share;

/// Who decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// Memory: Redis cannot be asked.
    Down,
    /// Memory: Redis answers, but does not yet know what this node admitted.
    Merging,
    /// Redis, and in addition the node's share: others may still decide by themselves.
    Joined,
    /// Redis.
    Up,
}

impl Phase {
    /// What other nodes are told.
    pub(super) const fn standing(self) -> &'static str {
        match self {
            Self::Down | Self::Merging => "merging",
            Self::Joined => "joined",
            Self::Up => "up",
        }
    }
}

/// What a decision needs to know of its partition.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    pub(super) phase: Phase,
    /// When Redis was lost, on its clock. Of no meaning in [`Phase::Up`].
    pub(super) lost_at: Duration,
    pub(super) share: Share,
    /// `<generation>.<number of resets>`; empty before the first contact.
    pub(super) state: Arc<str>,
    pub(super) resets: u64,
}

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) present: Situation,
    /// Nodes that lived when Redis last answered.
    nodes: Vec<u64>,
    /// Nodes that may still decide by themselves.
    awaited: Vec<u64>,
    /// When Redis was found again, on this process' clock.
    found_at: Duration,
    /// When the registry was last asked.
    pub(super) beat_at: Option<Duration>,
    /// Since when it is in its phase, on this process' clock.
    pub(super) since: Duration,
    /// What was admitted before this time is certainly in Redis; zero if it came back empty and was not told yet.
    pub(super) merge_from: Duration,
    /// Redis' clock at this node's last sign of life that was answered, in microseconds.
    pub(super) last_beat: u64,
    /// Counts losses, so that what began before one does not end it.
    pub(super) round: u64,
}

/// What this node admitted so long before the last sign of life that Redis still knows needs no merging.
const LAG: Duration = Duration::from_secs(10);

impl Partition {
    /// Never been in contact.
    pub(super) fn new(lost_at: Duration, nodes: u32) -> Self {
        let present = Situation {
            phase: Phase::Down,
            lost_at,
            share: Share::new(nodes, 0),
            state: Arc::from(""),
            resets: 0,
        };
        Self {
            present,
            nodes: Vec::new(),
            awaited: Vec::new(),
            found_at: Duration::ZERO,
            beat_at: None,
            since: Duration::ZERO,
            merge_from: Duration::ZERO,
            last_beat: 0,
            round: 0,
        }
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        if self.present.phase != phase {
            self.present.phase = phase;
            self.since = now;
        }
    }

    /// Redis cannot be asked any more. `at` is on Redis' clock, `now` on this process'. The phase that ended, if this was
    /// news. After [`Phase::Joined`] escrows are void.
    pub(super) fn lose(&mut self, me: u64, at: Duration, now: Duration) -> Option<Phase> {
        let before = self.present.phase;
        match before {
            Phase::Down => return None,
            // Whoever was awaited still is, and what was admitted since the first loss still counts against the share.
            Phase::Merging => {}
            // Others may have been up already and have used what this node was granted before the first loss. So this is
            // a loss of its own, without a grant: in windows across it nobody admits more than it had admitted then.
            Phase::Joined => {
                self.merge_from = self.present.lost_at.saturating_sub(LAG);
                self.present.lost_at = at;
            }
            Phase::Up => {
                self.present.lost_at = at;
                self.merge_from = at.saturating_sub(LAG);
                self.awaited = self.nodes.iter().copied().filter(|node| *node != me).collect();
            }
        }
        self.round += 1;
        self.enter(Phase::Down, now);
        Some(before)
    }

    /// The registry answered. `at` is Redis' clock.
    pub(super) fn hear(&mut self, registry: &Registry, me: Me, at: Duration, now: Duration) -> Heard {
        let first = self.present.state.is_empty();
        let is_anew = generation_of(&registry.state) != generation_of(&self.present.state);
        // It came back from an older copy. What it holds ends somewhere after the sign of life that it knows.
        let is_behind = !is_anew && registry.before < self.last_beat;
        if (is_anew || is_behind) && self.present.phase != Phase::Down {
            self.lose(me.node, at, now);
        }
        self.present.state = Arc::from(registry.state.as_str());
        self.present.resets = resets_of(&registry.state).unwrap_or_default();
        if self.present.phase == Phase::Down {
            self.found_at = now;
            if is_anew || first {
                self.merge_from = Duration::ZERO;
            } else if is_behind {
                let known = Duration::from_micros(registry.before).saturating_sub(LAG);
                self.merge_from = self.merge_from.min(known);
            }
            self.enter(Phase::Merging, now);
        }
        self.last_beat = registry.now;
        self.await_others(registry, me, now);
        if self.present.phase >= Phase::Joined {
            self.count(registry, me);
        }
        Heard {
            has_lost: is_behind || is_anew && !first,
            may_rise: self.present.phase == Phase::Joined && self.awaited.is_empty(),
        }
    }

    /// All nodes are as far, and escrows of before the loss are void: Redis alone decides.
    pub(super) fn rise(&mut self, now: Duration) {
        if self.present.phase == Phase::Joined && self.awaited.is_empty() {
            self.enter(Phase::Up, now);
        }
    }

    /// Who decides from memory now is waited for; who was there before and is not yet, for a while.
    fn await_others(&mut self, registry: &Registry, me: Me, now: Duration) {
        let standing = |node: u64| {
            registry.nodes.iter().find(|(other, _)| *other == node).map(|(_, standing)| standing.as_str())
        };
        let patient = now.saturating_sub(self.found_at) < me.node_timeout;
        self.awaited.retain(|node| match standing(*node) {
            Some("up" | "joined") => false,
            Some(_) => true,
            None => patient,
        });
        if self.present.phase < Phase::Up {
            for (node, standing) in &registry.nodes {
                if *node != me.node && standing == "merging" && !self.awaited.contains(node) {
                    self.awaited.push(*node);
                }
            }
        }
    }

    /// Shares follow the living nodes, but not while Redis is out of reach.
    fn count(&mut self, registry: &Registry, me: Me) {
        self.nodes = registry.nodes.iter().map(|(node, _)| *node).collect();
        self.nodes.sort_unstable();
        let rank = self.nodes.iter().position(|node| *node == me.node).unwrap_or_default();
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).max(me.nodes_at_least);
        self.present.share = Share::new(number, u32::try_from(rank).unwrap_or_default());
    }

    /// All own entries are in Redis, of the loss of this round.
    pub(super) fn merged(&mut self, round: u64, now: Duration) {
        if self.present.phase == Phase::Merging && self.round == round {
            self.enter(Phase::Joined, now);
        }
    }
}

/// What follows from what the registry said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    /// Redis lost something of what it held.
    pub(super) has_lost: bool,
    /// Nobody is waited for any more: [`Partition::rise`], once the escrows of before the loss are void.
    pub(super) may_rise: bool,
}

/// This node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me {
    pub(super) node: u64,
    pub(super) node_timeout: Duration,
    pub(super) nodes_at_least: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Me = Me { node: 1, node_timeout: Duration::from_secs(5), nodes_at_least: 1 };

    fn registry(state: &str, nodes: &[(u64, &str)]) -> Registry {
        let nodes = nodes.iter().map(|(node, standing)| (*node, (*standing).to_owned())).collect();
        Registry { now: 0, state: state.to_owned(), before: 0, nodes }
    }

    /// Hears, and rises if it may.
    fn hear(partition: &mut Partition, state: &str, nodes: &[(u64, &str)], now: Duration) -> bool {
        let heard = partition.hear(&registry(state, nodes), ME, now, now);
        if heard.may_rise {
            partition.rise(now);
        }
        heard.has_lost
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn up() -> Partition {
        let mut partition = Partition::new(s(0), 1);
        hear(&mut partition, "a.0", &[(1, "merging")], s(0));
        assert_eq!(partition.present.phase, Phase::Merging);
        partition.merged(partition.round, s(0));
        hear(&mut partition, "a.0", &[(1, "joined"), (2, "up"), (3, "up")], s(0));
        assert_eq!(partition.present.phase, Phase::Up);
        assert_eq!(partition.present.share, Share::new(3, 0));
        partition
    }

    #[test]
    fn a_loss_ends_when_all_who_lived_before_have_merged_or_are_silent() {
        let mut partition = up();
        assert_eq!(partition.lose(1, s(10), s(10)), Some(Phase::Up));
        assert_eq!(partition.lose(1, s(11), s(11)), None, "it is lost once");
        hear(&mut partition, "a.0", &[(1, "merging")], s(12));
        assert_eq!(partition.present.phase, Phase::Merging);
        partition.merged(partition.round, s(12));
        assert_eq!(partition.present.phase, Phase::Joined);
        hear(&mut partition, "a.0", &[(1, "joined"), (2, "merging")], s(13));
        hear(&mut partition, "a.0", &[(1, "joined"), (2, "up")], s(16));
        assert_eq!(partition.present.phase, Phase::Joined, "the third may be deciding by itself");
        hear(&mut partition, "a.0", &[(1, "joined"), (2, "up")], s(17));
        assert_eq!(partition.present.phase, Phase::Up);
        assert_eq!(partition.present.share, Share::new(2, 0));
    }

    #[test]
    fn shares_do_not_change_while_redis_is_out_of_reach_and_merging() {
        let mut partition = up();
        partition.lose(1, s(10), s(10));
        hear(&mut partition, "b.0", &[(1, "merging")], s(12));
        assert_eq!(partition.present.share, Share::new(3, 0));
    }

    #[test]
    fn a_redis_that_comes_back_empty_is_told_everything_and_one_that_does_not_only_the_latest() {
        let mut partition = up();
        assert!(hear(&mut partition, "b.0", &[(1, "up")], s(20)));
        assert_eq!(partition.present.phase, Phase::Merging);
        assert_eq!((partition.merge_from, partition.present.lost_at), (s(0), s(20)));
        let mut partition = up();
        partition.lose(1, s(30), s(30));
        assert!(!hear(&mut partition, "a.0", &[], s(31)));
        assert_eq!(partition.merge_from, s(20));
    }

    #[test]
    fn an_empty_redis_that_is_lost_again_before_it_was_told_everything_is_still_told_everything() {
        let mut partition = up();
        partition.lose(1, s(30), s(30));
        hear(&mut partition, "b.0", &[], s(31));
        partition.lose(1, s(32), s(32));
        hear(&mut partition, "b.0", &[], s(33));
        assert_eq!(partition.merge_from, s(0));
        partition.merged(partition.round, s(33));
        partition.lose(1, s(40), s(40));
        assert_eq!(partition.merge_from, s(20), "10 s before the first loss");
    }

    #[test]
    fn an_older_copy_of_redis_is_told_what_it_lacks() {
        for (before, from) in [(25, 15), (4, 0), (0, 0)] {
            for is_noticed in [true, false] {
                let mut partition = up();
                partition.last_beat = 30_000_000;
                if is_noticed {
                    partition.lose(1, s(60), s(60));
                }
                let mut copy = registry("a.0", &[(1, "merging")]);
                (copy.before, copy.now) = (before * 1_000_000, 61_000_000);
                let heard = partition.hear(&copy, ME, s(61), s(61));
                assert!(heard.has_lost && !heard.may_rise);
                assert_eq!(partition.present.phase, Phase::Merging);
                assert_eq!((partition.merge_from, partition.last_beat), (s(from), 61_000_000));
            }
        }
    }

    #[test]
    fn a_loss_before_all_are_up_is_one_of_its_own() {
        let mut partition = up();
        partition.lose(1, s(10), s(10));
        hear(&mut partition, "a.0", &[(2, "merging"), (3, "up")], s(12));
        partition.merged(partition.round, s(12));
        hear(&mut partition, "a.0", &[(2, "merging"), (3, "up")], s(13));
        assert_eq!(partition.lose(1, s(14), s(14)), Some(Phase::Joined));
        assert_eq!(partition.present.lost_at, s(14));
    }

    #[test]
    fn a_merge_that_began_before_another_loss_does_not_end_it() {
        let mut partition = up();
        partition.lose(1, s(10), s(10));
        hear(&mut partition, "a.0", &[], s(12));
        let round = partition.round;
        partition.lose(1, s(13), s(13));
        assert_eq!(partition.present.lost_at, s(10), "the first loss counts");
        hear(&mut partition, "a.0", &[], s(14));
        partition.merged(round, s(14));
        assert_eq!(partition.present.phase, Phase::Merging);
    }
}
