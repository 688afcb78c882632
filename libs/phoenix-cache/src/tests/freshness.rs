//! The lease alone, and with a truth, a cache and messages in any order.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::{Freshness, Key, Memory, Seq, Tag};

const BOUND_MS: u64 = 100;
const GRACE_MS: u64 = 150;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn messages_that_come_again_do_not_use_the_log_up() {
    let freshness = Freshness::new(at(BOUND_MS), 2);
    freshness.renew(at(0), &[(Seq(1), Tag(1)), (Seq(2), Tag(2))], Seq(2));
    for _ in 0..100 {
        freshness.note(Seq(2), Tag(2));
        freshness.note(Seq(1), Tag(1));
    }
    assert!(!freshness.is_stale(Seq(1), [Tag(8), Tag(9)]), "nothing was dropped");
    assert!(freshness.is_stale(Seq(0), [Tag(1), Tag(9)]));
}

#[test]
fn nothing_counts_before_the_first_read_nor_after_the_bound() {
    let freshness = Freshness::new(at(BOUND_MS), 10);
    assert!(!freshness.is_fresh(at(0)));
    freshness.renew(at(50), &[], Seq(3));
    assert!(freshness.is_fresh(at(149)));
    assert!(!freshness.is_fresh(at(150)));
    assert_eq!(freshness.remaining(at(100)), at(50));
}

#[test]
fn grace_follows_a_lease_that_was_held() {
    let freshness = Freshness::new(at(BOUND_MS), 10);
    assert!(!freshness.in_grace(at(0), at(1000)));
    assert_eq!(freshness.fresh_until(), None);
    freshness.renew(at(50), &[], Seq(3));
    assert_eq!(freshness.fresh_until(), Some(at(150)));
    assert!(freshness.in_grace(at(60), at(0)), "held");
    assert!(!freshness.in_grace(at(150), at(0)), "no grace");
    assert!(freshness.in_grace(at(1149), at(1000)));
    assert!(!freshness.in_grace(at(1150), at(1000)));
    assert!(freshness.in_grace(at(u64::MAX / 4000), Duration::MAX));
    freshness.reset();
    assert!(!freshness.in_grace(at(60), at(1000)));
    assert_eq!(freshness.fresh_until(), None);
}

#[test]
fn a_late_answer_to_an_early_read_does_not_shorten_the_lease() {
    let freshness = Freshness::new(at(BOUND_MS), 10);
    freshness.renew(at(50), &[], Seq(3));
    freshness.renew(at(20), &[], Seq(2));
    assert!(freshness.is_fresh(at(149)));
    assert_eq!(freshness.applied(), Seq(3));
}

#[test]
fn a_message_past_a_gap_is_obeyed_but_does_not_close_the_gap() {
    let freshness = Freshness::new(at(BOUND_MS), 10);
    freshness.renew(at(0), &[], Seq(3));
    freshness.note(Seq(5), Tag(1));
    assert_eq!(freshness.applied(), Seq(3));
    assert!(freshness.is_stale(Seq(3), [Tag(1), Tag(2)]));
    freshness.renew(at(10), &[(Seq(4), Tag(9)), (Seq(5), Tag(1))], Seq(5));
    assert_eq!(freshness.applied(), Seq(5));
    assert!(!freshness.is_stale(Seq(5), [Tag(1), Tag(2)]));
}

#[test]
fn what_is_dropped_from_the_log_takes_older_values_with_it() {
    let freshness = Freshness::new(at(BOUND_MS), 2);
    freshness.renew(at(0), &[(Seq(1), Tag(1)), (Seq(2), Tag(2)), (Seq(3), Tag(3))], Seq(3));
    assert!(freshness.is_stale(Seq(0), [Tag(8), Tag(9)]), "below the floor, though not named");
    assert!(!freshness.is_stale(Seq(1), [Tag(1), Tag(9)]), "loaded after its invalidation");
    assert!(freshness.is_stale(Seq(1), [Tag(2), Tag(9)]));
}

#[test]
fn what_the_truth_has_trimmed_takes_older_values_with_it() {
    let freshness = Freshness::new(at(BOUND_MS), 10);
    freshness.starts_at(Seq(8));
    assert!(freshness.is_stale(Seq(6), [Tag(2), Tag(3)]), "though no entry is known");
    freshness.renew(at(0), &[(Seq(8), Tag(1))], Seq(8));
    assert!(freshness.is_stale(Seq(6), [Tag(2), Tag(3)]));
    assert!(!freshness.is_stale(Seq(7), [Tag(2), Tag(3)]));
}

/// What a node, a truth and a cache may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    StartLoad(u8),
    FinishLoad(usize),
    Revoke(u8),
    Push(usize),
    StartRead,
    FinishRead(usize),
    Hit(u8),
    HitInOutage(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u64..60).prop_map(Step::Pass),
        (0_u8..4).prop_map(Step::StartLoad),
        (0_usize..4).prop_map(Step::FinishLoad),
        (0_u8..4).prop_map(Step::Revoke),
        (0_usize..4).prop_map(Step::Push),
        Just(Step::StartRead),
        (0_usize..4).prop_map(Step::FinishRead),
        (0_u8..4).prop_map(Step::Hit),
        (0_u8..4).prop_map(Step::HitInOutage),
    ]
}

/// The truth: which sessions are open, and the log with the time of each commit.
#[derive(Default)]
struct Truth {
    revoked_at: [Option<u64>; 4],
    log: Vec<(Seq, Tag)>,
}

/// A node whose loads and reads are answered late, in any order.
struct Node {
    freshness: Freshness,
    memory: Memory<u8>,
    loads: Vec<(u8, Seq, bool)>,
    reads: Vec<Read>,
}

/// A read of the log under way: when it began and what it will answer.
struct Read {
    started: u64,
    entries: Vec<(Seq, Tag)>,
    last: Seq,
}

fn key(session: u8) -> Key {
    Key::new([session; 32])
}

fn tags(session: u8) -> [Tag; 2] {
    [Tag(u128::from(session)), Tag(100)]
}

fn take<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.remove(index % from.len()))
}

impl Truth {
    fn judge(&self, session: u8, hit: bool, now: u64, bound: u64) -> Result<(), TestCaseError> {
        let revoked_at = self.revoked_at[usize::from(session)].unwrap_or(u64::MAX / 2);
        prop_assert!(!hit || now < revoked_at + bound, "accepted at {now}, revoked at {revoked_at}");
        Ok(())
    }
}

impl Node {
    fn apply(&mut self, step: &Step, now: u64, truth: &mut Truth) -> Result<(), TestCaseError> {
        match *step {
            Step::Pass(_) => {}
            Step::StartLoad(session) => {
                let open = truth.revoked_at[usize::from(session)].is_none();
                self.loads.push((session, self.freshness.applied(), open));
            }
            Step::FinishLoad(index) => {
                if let Some((session, stamp, true)) = take(&mut self.loads, index) {
                    self.memory.insert(
                        key(session),
                        Arc::new(session),
                        8,
                        tags(session),
                        stamp,
                        at(u64::MAX / 4),
                    );
                }
            }
            Step::Revoke(session) => {
                let seq = Seq(truth.log.len() as u64 + 1);
                truth.log.push((seq, Tag(u128::from(session))));
                truth.revoked_at[usize::from(session)].get_or_insert(now);
            }
            Step::Push(index) => {
                if !truth.log.is_empty() {
                    let (seq, tag) = truth.log[index % truth.log.len()];
                    self.freshness.note(seq, tag);
                }
            }
            Step::StartRead => {
                let applied = self.freshness.applied();
                let entries = truth.log.iter().filter(|(seq, _)| *seq > applied).copied().collect();
                self.reads.push(Read { started: now, entries, last: Seq(truth.log.len() as u64) });
            }
            Step::FinishRead(index) => {
                if let Some(read) = take(&mut self.reads, index) {
                    self.freshness.renew(at(read.started), &read.entries, read.last);
                }
            }
            Step::Hit(session) => {
                let hit = self.memory.get(&key(session), at(now), &self.freshness).is_some();
                truth.judge(session, hit, now, BOUND_MS)?;
            }
            Step::HitInOutage(session) => {
                let hit = self.memory.get_in_grace(&key(session), at(now), at(GRACE_MS), &self.freshness);
                truth.judge(session, hit.is_some(), now, BOUND_MS + GRACE_MS)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Invariants 3 and 4: whatever the order of loads, fills, revokes, lost or repeated messages and late
    /// reads, no hit later than the bound after the revoke, and in an outage none later than bound and grace. The log is small, so that it overflows too.
    #[test]
    fn a_revoked_session_is_never_accepted_after_the_bound(
        steps in prop::collection::vec(step(), 1..80),
        capacity in 1_usize..8,
    ) {
        let mut truth = Truth::default();
        let mut node = Node {
            freshness: Freshness::new(at(BOUND_MS), capacity),
            memory: Memory::new(1 << 20, 64),
            loads: Vec::new(),
            reads: Vec::new(),
        };
        let mut now = 1;
        for step in &steps {
            if let Step::Pass(millis) = step {
                now += millis;
            }
            node.apply(step, now, &mut truth)?;
        }
    }
}
