//! What memory knows of one key. Decides nothing.

use std::time::Duration;

use crate::Refusal;
use crate::key::Key;
use crate::log::{INLINE, Log, ring_bytes};
use crate::memory::SKEW;
use crate::memory::budget::{Budget, Purpose};

/// One key. Times in microseconds of the store's clock.
#[derive(Debug)]
pub(super) struct Slot {
    /// In halves, so that it needs no alignment to 16 bytes.
    name: [u64; 2],
    neighbourhood: u64,
    pub(super) log: Log,
    /// Refused before this time, whatever the log says.
    pub(super) blocked_until: u64,
    /// Redis has said that requests of [`Slot::refused_cost`] or more do not fit before this time.
    pub(super) refused_until: u64,
    /// Longest window of the rule last used, in milliseconds, rounded up: 31 days fit.
    span: u32,
    /// What may be admitted without asking Redis, in units.
    pub(super) escrow: u16,
    /// See the constants below.
    bits: u16,
}

/// 600,000 keys in 64 MiB depend on it.
const _: () = assert!(size_of::<Slot>() == 88, "a slot is 88 bytes");

/// Cost of the refused request: `MAX_COST` is below 2^10.
const COST: u16 = (1 << 10) - 1;
/// Position of the window that refused it: `MAX_WINDOWS` is 4.
const WINDOW_SHIFT: u16 = 10;
const WINDOW: u16 = 3 << WINDOW_SHIFT;
/// Units of this key may be in the log of its neighbourhood.
const SPILLED: u16 = 1 << 12;
/// Not in use.
const VACANT: u16 = 1 << 13;
/// It was refused only because of what may yet be given back.
const RESERVED: u16 = 1 << 14;

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
const fn halves(name: u128) -> [u64; 2] {
    [(name >> 64) as u64, name as u64]
}

/// Milliseconds, rounded up.
fn span_of(longest: Duration) -> u32 {
    u32::try_from(longest.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
}

impl Slot {
    /// Nothing is known of the key yet.
    pub(super) const fn new(key: Key) -> Self {
        Self {
            name: halves(key.name()),
            neighbourhood: key.neighbourhood(),
            log: Log::new(),
            blocked_until: 0,
            refused_until: 0,
            span: 0,
            escrow: 0,
            bits: 0,
        }
    }

    pub(super) fn is(&self, key: Key) -> bool {
        self.name == halves(key.name())
    }

    pub(super) fn key(&self) -> Key {
        Key::from_parts(u128::from(self.name[0]) << 64 | u128::from(self.name[1]), self.neighbourhood)
    }

    /// Leaves the slot without a key; the next vacant one is remembered in it. What was in it.
    pub(super) fn vacate(&mut self, next: Option<u16>) -> Log {
        self.bits = VACANT;
        self.name = [next.map_or(u64::MAX, u64::from), 0];
        std::mem::replace(&mut self.log, Log::new())
    }

    /// The next vacant slot.
    pub(super) fn next_vacant(&self) -> Option<u16> {
        u16::try_from(self.name[0]).ok()
    }

    pub(super) const fn is_vacant(&self) -> bool {
        self.bits & VACANT != 0
    }

    pub(super) const fn is_spilled(&self) -> bool {
        self.bits & SPILLED != 0
    }

    pub(super) const fn set_spilled(&mut self, spilled: bool) {
        self.bits = if spilled { self.bits | SPILLED } else { self.bits & !SPILLED };
    }

    /// Microseconds of the longest window.
    pub(super) fn span(&self) -> u64 {
        u64::from(self.span) * 1_000
    }

    pub(super) fn set_span(&mut self, longest: Duration) {
        self.span = span_of(longest);
    }

    pub(super) const fn refused_cost(&self) -> u32 {
        (self.bits & COST) as u32
    }

    pub(super) const fn refused_window(&self) -> usize {
        ((self.bits & WINDOW) >> WINDOW_SHIFT) as usize
    }

    /// Why Redis refused it.
    pub(super) const fn refusal(&self) -> Refusal {
        if self.bits & RESERVED == 0 { Refusal::Exceeded } else { Refusal::Reserved }
    }

    /// Remembers that Redis refuses this cost until then because of that window, which may be full of reservations only.
    pub(super) fn set_refused(&mut self, until: u64, cost: u32, window: usize, is_reserved: bool) {
        self.refused_until = until;
        let cost = u16::try_from(cost).unwrap_or(COST).min(COST);
        let window = u16::try_from(window).unwrap_or(0) << WINDOW_SHIFT & WINDOW;
        let reserved = if is_reserved { RESERVED } else { 0 };
        self.bits = self.bits & !(COST | WINDOW | RESERVED) | cost | window | reserved;
    }

    /// When nothing in it will matter any more, if nothing is added.
    pub(super) fn idle_at(&self) -> u64 {
        let last = self.log.newest().map_or(0, |newest| newest + self.span());
        last.max(self.blocked_until).max(self.refused_until)
    }

    /// The clock stepped back by more than [`SKEW`]: everything is moved back, so that the newest
    /// admission is now.
    pub(super) fn follow_clock(&mut self, now: u64) {
        if let Some(newest) = self.log.newest()
            && newest > now + SKEW
        {
            let by = newest - now;
            self.shift(0_i64.saturating_sub_unsigned(by));
        }
    }

    /// Moves everything in time, by microseconds.
    pub(super) fn shift(&mut self, by: i64) {
        self.log.shift(by);
        self.blocked_until = self.blocked_until.saturating_add_signed(by);
        self.refused_until = self.refused_until.saturating_add_signed(by);
    }

    /// Makes room for `cost` units, and forgets the oldest if it would hold more than `most`, and what is not later than
    /// `floor`. Whether there is room now.
    pub(super) fn make_room(
        &mut self,
        cost: usize,
        most: usize,
        floor: Option<u64>,
        budget: &Budget,
    ) -> bool {
        if let Some(floor) = floor {
            self.log.drop_oldest(self.log.len() - self.log.after(Some(floor)));
        }
        self.log.drop_oldest((self.log.len() + cost).saturating_sub(most));
        let (needed, have, bytes) = (self.log.len() + cost, self.log.capacity(), self.log.bytes());
        let size = if needed > have {
            needed.next_power_of_two().min(most).max(needed)
        } else if have > INLINE && needed * 8 <= have {
            // Far below the half it would grow from, so that no size is entered and left in turns.
            needed * 2
        } else {
            return true;
        };
        if !budget.take(Purpose::Logs, ring_bytes(size)) {
            return needed <= have;
        }
        self.log.resize(size);
        budget.give(Purpose::Logs, bytes);
        true
    }
}
