//! The lease that bounds how long a cached value may outlive its truth.
//!
//! The truth gives every invalidation a sequence number, in commit order. A node that has read the log up to some
//! number knows everything that became stale before it started to read; for `bound` after that start its cached
//! values may be used, then it must read again. Three facts make the guarantee:
//!
//! 1. A value carries the number that was applied *before* its load began (its stamp). An invalidation with a
//!    later number that names the value makes it stale, whichever of the two reached the cache first. So a fill
//!    that raced with a revoke is refused on its first hit.
//! 2. A hit counts only while `now <= start of the last complete read + bound`, on a clock that never steps.
//! 3. The log held in memory is bounded. What is dropped from it raises the floor, and values stamped below the
//!    floor no longer count.

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::key::BuildIdentity;

/// Place in the log of invalidations. Order is commit order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

/// What an invalidation names and a value carries, for example the number of a session or of a user. Its lower half
/// must be random, as that of a UUID is: it is the tag's hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u128);

impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(0));
    }
}

/// A node's knowledge of the log of invalidations, and how long it counts.
pub struct Freshness {
    bound: Duration,
    capacity: usize,
    log: RwLock<Log>,
    /// Copies of what the log holds, for readers that need no more.
    applied: AtomicU64,
    newest: AtomicU64,
    fresh_until_micros: AtomicU64,
}

#[derive(Default)]
struct Log {
    /// Every invalidation up to here is known.
    applied: Seq,
    /// Values stamped below this do not count: the log that would name them was dropped.
    floor: Seq,
    /// The latest invalidation of all. A value stamped at it or later is named by none.
    newest: Seq,
    /// Latest invalidation of each tag.
    latest: HashMap<Tag, Seq, BuildIdentity>,
    /// The same in order of arrival, to drop the oldest.
    order: VecDeque<(Seq, Tag)>,
}

impl Freshness {
    /// Nothing counts until the first [`Freshness::renew`]. The log holds at most `capacity` invalidations.
    #[must_use]
    pub fn new(bound: Duration, capacity: usize) -> Self {
        Self {
            bound,
            capacity: capacity.max(1),
            log: RwLock::default(),
            applied: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            fresh_until_micros: AtomicU64::new(0),
        }
    }

    /// The number up to which every invalidation is known. To be read *before* a load: it is the value's stamp.
    #[must_use]
    pub fn applied(&self) -> Seq {
        Seq(self.applied.load(Ordering::Acquire))
    }

    /// Whether cached values count at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Duration) -> bool {
        micros(now) < self.fresh_until_micros.load(Ordering::Acquire)
    }

    /// How much longer cached values count without another read.
    #[must_use]
    pub fn remaining(&self, now: Duration) -> Duration {
        let until = self.fresh_until_micros.load(Ordering::Acquire);
        Duration::from_micros(until.saturating_sub(micros(now)))
    }

    /// How long a value may outlive its truth.
    #[must_use]
    pub const fn bound(&self) -> Duration {
        self.bound
    }

    /// Takes in part of a read of the log: entries in order, all that follow [`Freshness::applied`] up to the last
    /// one given. Does not renew the lease.
    pub fn extend(&self, entries: &[(Seq, Tag)]) {
        let Some((last, _)) = entries.last() else { return };
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        for (seq, tag) in entries {
            log.push(*seq, *tag, self.capacity);
        }
        log.applied = log.applied.max(*last);
        self.publish(&log);
    }

    /// A read of the log that began at `started` is complete: with `entries`, everything up to `last` is known.
    pub fn renew(&self, started: Duration, entries: &[(Seq, Tag)], last: Seq) {
        self.extend(entries);
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.applied = log.applied.max(last);
        self.publish(&log);
        let until = micros(started.saturating_add(self.bound));
        self.fresh_until_micros.fetch_max(until, Ordering::AcqRel);
    }

    /// One invalidation became known outside a read: this node's own write, or a message. What lies between it
    /// and the last one known stays unknown.
    pub fn note(&self, seq: Seq, tag: Tag) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.push(seq, tag, self.capacity);
        if seq.0 == log.applied.0 + 1 {
            log.applied = seq;
        }
        self.publish(&log);
    }

    /// The truth no longer holds the log before `first`: values stamped earlier can no longer be judged and do not
    /// count.
    pub fn starts_at(&self, first: Seq) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.floor = log.floor.max(Seq(first.0.saturating_sub(1)));
        self.publish(&log);
    }

    /// Forgets everything: the truth is another one than it was. Nothing counts until the next
    /// [`Freshness::renew`], and the caller must drop what it has cached.
    pub fn reset(&self) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        *log = Log::default();
        self.fresh_until_micros.store(0, Ordering::Release);
        self.publish(&log);
    }

    /// Whether a value with this stamp and these tags no longer counts.
    #[must_use]
    pub fn is_stale(&self, stamp: Seq, tags: [Tag; 2]) -> bool {
        if stamp.0 >= self.newest.load(Ordering::Acquire) {
            return false;
        }
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        stamp < log.floor || tags.iter().any(|tag| log.latest.get(tag).is_some_and(|seq| *seq > stamp))
    }

    fn publish(&self, log: &Log) {
        self.applied.store(log.applied.0, Ordering::Release);
        self.newest.store(log.newest.max(log.floor).0, Ordering::Release);
    }
}

impl Log {
    fn push(&mut self, seq: Seq, tag: Tag, capacity: usize) {
        self.newest = self.newest.max(seq);
        let latest = self.latest.entry(tag).or_insert(seq);
        *latest = (*latest).max(seq);
        self.order.push_back((seq, tag));
        while self.order.len() > capacity {
            if let Some((dropped, tag)) = self.order.pop_front() {
                self.floor = self.floor.max(dropped);
                if self.latest.get(&tag) == Some(&dropped) {
                    self.latest.remove(&tag);
                }
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{Key, Memory};

    const BOUND_MS: u64 = 100;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
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
                    let revoked_at = truth.revoked_at[usize::from(session)].unwrap_or(u64::MAX / 2);
                    prop_assert!(
                        !hit || now < revoked_at + BOUND_MS,
                        "accepted at {now}, revoked at {revoked_at}"
                    );
                }
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Invariants 3 and 4: whatever the order of loads, fills, revokes, lost or repeated messages and late
        /// reads, no hit later than the bound after the revoke. The log is small, so that it overflows too.
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
}
