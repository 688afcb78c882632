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
use std::time::Duration;

use crate::key::BuildIdentity;
use crate::sync::{AtomicU64, Ordering, PoisonError, RwLock};

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

    /// Whether an outage at `now` may be bridged with what is cached: the lease is held, or ended less than `grace`
    /// ago. Never before the first read nor after a [`Freshness::reset`]: then it was not held. Without grace this is
    /// [`Freshness::is_fresh`].
    #[must_use]
    pub fn in_grace(&self, now: Duration, grace: Duration) -> bool {
        let until = self.fresh_until_micros.load(Ordering::Acquire);
        until != 0 && micros(now) < until.saturating_add(micros(grace))
    }

    /// When the lease ends or ended; `None` before the first read and after a [`Freshness::reset`].
    #[must_use]
    pub fn fresh_until(&self) -> Option<Duration> {
        let until = self.fresh_until_micros.load(Ordering::Acquire);
        (until != 0).then(|| Duration::from_micros(until))
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
        // Known already, by itself or by a later one: what comes again must not use the log up.
        if seq <= self.floor || self.latest.get(&tag).is_some_and(|known| *known >= seq) {
            return;
        }
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
