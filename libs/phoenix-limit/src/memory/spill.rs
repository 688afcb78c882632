//! Logs that keys of one neighbourhood share while memory is full. As many as there are, of one fixed size, made at the
//! start: a flood cannot use them up, only fill them, and a full one refuses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::Key;
use crate::log::{Log, ring_bytes};
use crate::memory::SKEW;
use crate::room::{Room, View};

/// Units that one of these logs holds. A neighbourhood is admitted at most this many units in the longest window of the
/// rules that use the log, whatever its own limit.
pub(super) const UNITS: u32 = 256;

/// Bytes of one.
pub(super) const BYTES: u64 = ring_bytes(UNITS as usize) + size_of::<Mutex<Pool>>() as u64;

/// Shared log of a neighbourhood.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) log: Log,
    /// Longest window of the rules that have units in it, in microseconds.
    span: u64,
    /// Block of a key that found no slot, and so of all its neighbours without one.
    pub(super) blocked_until: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Spill {
    logs: Box<[Mutex<Pool>]>,
    /// Before this time one of them may not be empty.
    until: AtomicU64,
}

impl Spill {
    /// So many logs, at least one.
    pub(super) fn new(logs: usize) -> Self {
        let pool = || Mutex::new(Pool { log: Log::with_capacity(UNITS as usize), span: 0, blocked_until: 0 });
        Self { logs: (0..logs.max(1)).map(|_| pool()).collect(), until: AtomicU64::new(0) }
    }

    /// The log of a neighbourhood.
    pub(super) fn of(&self, key: Key) -> MutexGuard<'_, Pool> {
        let place = (u128::from(key.neighbourhood()) * self.logs.len() as u128) >> 64;
        let place = usize::try_from(place).expect("below the number of logs");
        self.logs[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the neighbours of a key may have units in their log: a new slot must then count them as its own.
    pub(super) fn may_concern(&self, key: Key, now: u64, span: u64) -> bool {
        now < self.until.load(Ordering::Acquire) && self.of(key).concerns(now, span)
    }

    /// Remembers that a log is not empty until then.
    pub(super) fn note(&self, until: u64) {
        self.until.fetch_max(until, Ordering::AcqRel);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for pool in &self.logs {
            let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
            let units = pool.log.len();
            pool.log.drop_oldest(units);
            (pool.span, pool.blocked_until) = (0, 0);
        }
        self.until.store(0, Ordering::Release);
    }

    /// Moves everything in time, by microseconds.
    pub(super) fn shift(&self, by: i64) {
        for pool in &self.logs {
            let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.log.shift(by);
            pool.blocked_until = pool.blocked_until.saturating_add_signed(by);
        }
        if by > 0 {
            self.until.fetch_add(by.unsigned_abs(), Ordering::AcqRel);
        }
    }
}

impl Pool {
    /// Whether it has units in a window of this length, or is blocked.
    pub(super) fn concerns(&self, now: u64, span: u64) -> bool {
        self.blocked_until > now || self.log.after(now.checked_sub(span)) > 0
    }

    /// As [`super::slot::Slot::follow_clock`].
    pub(super) fn follow_clock(&mut self, now: u64) {
        if let Some(newest) = self.log.newest()
            && newest > now + SKEW
        {
            let by = 0_i64.saturating_sub_unsigned(newest - now);
            self.log.shift(by);
            self.blocked_until = self.blocked_until.saturating_add_signed(by);
        }
    }

    /// The log itself as one more window, so that no unit that still counts is pushed out of it.
    pub(super) fn room(&self, cost: u32, now: u64) -> Room {
        let view = View { own: &self.log, pool: None };
        let wait = view.wait(UNITS, self.span, cost, now);
        let used = u32::try_from(self.log.after(now.checked_sub(self.span))).unwrap_or(UNITS);
        Room { left: UNITS.saturating_sub(used), reset: 0, wait, hard: false, soft: false }
    }

    /// Adds units of a rule with this longest window. There is room, as [`Pool::room`] has said.
    pub(super) fn add(&mut self, at: u64, cost: u32, pending: bool, span: u64) {
        let floor = at.checked_sub(self.span.max(span));
        let expired = self.log.len() - self.log.after(floor);
        self.log.drop_oldest(expired);
        self.span = if self.log.len() == 0 { span } else { self.span.max(span) };
        let surplus = (self.log.len() + cost as usize).saturating_sub(UNITS as usize);
        self.log.drop_oldest(surplus);
        for _ in 0..cost.min(UNITS) {
            self.log.insert(at, pending);
        }
    }
}
