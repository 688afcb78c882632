//! One node, the truth, and a clock, in the hands of several threads.
//!
//! What is not of the library is made of uninstrumented parts, so that schedules are not spent on it: the clock and
//! the flag need no point of change of their own beside those within the library, the truth has one.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::freshness::{Freshness, Seq, Tag};
use crate::key::Key;
use crate::memory::Memory;

/// Ticks of the clock.
pub(crate) const BOUND: u64 = 3;
/// Entries read at once: fewer than the scenarios write, so that a read takes several pages.
const PAGE: usize = 1;

const JUDGED: Tag = Tag(1);
const OTHER: Tag = Tag(2);

/// The truth: the log and when the judged session was revoked.
#[derive(Default)]
struct Truth {
    log: Vec<(Seq, Tag)>,
    revoked: Option<(u64, Seq)>,
}

impl Truth {
    fn append(&mut self, tag: Tag) -> Seq {
        let seq = Seq(self.log.len() as u64 + 1);
        self.log.push((seq, tag));
        seq
    }
}

pub(crate) struct World {
    clock: AtomicU64,
    truth: Mutex<Truth>,
    /// The node has been told that the judged session is revoked.
    noted: AtomicBool,
    freshness: Freshness,
    memory: Memory<u8>,
    accepted: Arc<AtomicUsize>,
    point: shuttle::sync::atomic::AtomicBool,
}

fn at(tick: u64) -> Duration {
    Duration::from_micros(tick)
}

fn key() -> Key {
    Key::new([1; 32])
}

impl World {
    /// The node has read the log at time 0 and holds the session. Hits that count are counted in `accepted`.
    pub(crate) fn new(log_capacity: usize, accepted: &Arc<AtomicUsize>) -> Arc<Self> {
        let world = Self {
            clock: AtomicU64::new(0),
            truth: Mutex::default(),
            noted: AtomicBool::new(false),
            freshness: Freshness::new(at(BOUND), log_capacity),
            memory: Memory::new(1 << 16, 1 << 12),
            accepted: Arc::clone(accepted),
            point: shuttle::sync::atomic::AtomicBool::new(false),
        };
        world.freshness.renew(at(0), &[], Seq(0));
        world.fill(Seq(0));
        Arc::new(world)
    }

    /// The truth, after whatever else may happen first. No other thread runs while it is held.
    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.point.load(Ordering::SeqCst);
        self.truth.lock().expect("no thread panics with it")
    }

    fn fill(&self, stamp: Seq) {
        self.memory.insert(key(), Arc::new(1), 8, [JUDGED, Tag(100)], stamp, at(1000));
    }

    pub(crate) fn tick(&self, ticks: u64) {
        self.clock.fetch_add(ticks, Ordering::SeqCst);
    }

    /// A load as the tiers do it: the stamp, then the truth, then the fill.
    pub(crate) fn load(&self) {
        let stamp = self.freshness.applied();
        let is_open = self.truth().revoked.is_none();
        if is_open {
            self.fill(stamp);
        }
    }

    /// The truth commits the revoke of the judged session.
    pub(crate) fn revoke(&self) {
        let mut truth = self.truth();
        let seq = truth.append(JUDGED);
        truth.revoked = Some((self.clock.load(Ordering::SeqCst), seq));
    }

    /// The judged session goes on, but what is cached of it is no longer true, and the node is told.
    pub(crate) fn change_session(&self) {
        let seq = self.truth().append(JUDGED);
        self.freshness.note(seq, JUDGED);
    }

    /// Whether a hit counts at this moment.
    pub(crate) fn is_held(&self) -> bool {
        self.memory.get(&key(), at(self.clock.load(Ordering::SeqCst)), &self.freshness).is_some()
    }

    /// The truth commits the revoke of another session.
    pub(crate) fn revoke_other(&self) {
        self.truth().append(OTHER);
    }

    /// The node is told of the latest revoke, if there is one.
    pub(crate) fn push_latest(&self) {
        let latest = {
            let truth = self.truth();
            truth.log.last().map(|(seq, tag)| (*seq, *tag, truth.revoked))
        };
        let Some((seq, tag, revoked)) = latest else { return };
        self.freshness.note(seq, tag);
        if revoked.is_some_and(|(_, revoke)| revoke == seq) {
            self.noted.store(true, Ordering::SeqCst);
        }
    }

    /// Reads the next page of the log.
    pub(crate) fn read_page(&self) {
        let applied = self.freshness.applied();
        let page: Vec<_> =
            self.truth().log.iter().filter(|(seq, _)| *seq > applied).take(PAGE).copied().collect();
        self.freshness.extend(&page);
    }

    /// Renews the lease, as the tiers do.
    pub(crate) fn poll(&self) {
        let started = at(self.clock.load(Ordering::SeqCst));
        let (last, revoked) = {
            let truth = self.truth();
            (Seq(truth.log.len() as u64), truth.revoked)
        };
        while self.freshness.applied() < last {
            self.read_page();
        }
        self.freshness.renew(started, &[], last);
        self.has_read(last, revoked);
    }

    /// Renews the lease with a read that is answered at once.
    pub(crate) fn poll_at_once(&self) {
        let started = at(self.clock.load(Ordering::SeqCst));
        let applied = self.freshness.applied();
        let (entries, last, revoked) = {
            let truth = self.truth();
            let entries: Vec<_> = truth.log.iter().filter(|(seq, _)| *seq > applied).copied().collect();
            (entries, Seq(truth.log.len() as u64), truth.revoked)
        };
        self.freshness.renew(started, &entries, last);
        self.has_read(last, revoked);
    }

    fn has_read(&self, last: Seq, revoked: Option<(u64, Seq)>) {
        if revoked.is_some_and(|(_, revoke)| revoke <= last) {
            self.noted.store(true, Ordering::SeqCst);
        }
    }

    /// A request comes in: the clock is read, then the cache is asked. A hit writes the value's last use back.
    pub(crate) fn hit(&self) {
        let was_noted = self.noted.load(Ordering::SeqCst);
        let now = self.clock.load(Ordering::SeqCst);
        let Some(value) = self.memory.get(&key(), at(now), &self.freshness) else { return };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        assert!(!was_noted, "accepted though known to be revoked");
        let revoked = self.truth.lock().expect("no thread panics with it").revoked;
        if let Some((revoked_at, _)) = revoked {
            assert!(now < revoked_at + BOUND, "accepted at {now}, revoked at {revoked_at}");
        }
        self.memory.update(&key(), &value, Arc::new(*value + 1));
    }
}
