//! A request for units and what decides about it: the exact log, or the share of a node that is alone. Changes nothing.

use crate::key::Key;
use crate::log::{Log, MAX_UNITS};
use crate::memory::alone::Alone;
use crate::memory::slot::Slot;
use crate::room::{Judgement, Room, View, micros, room};
use crate::{MAX_COST, Mode, Rule, Ticket};

/// A request for units of a key.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) key: Key,
    pub(super) rule: &'a Rule,
    pub(super) cost: u32,
    pub(super) mode: Mode,
    /// Microseconds.
    pub(super) now: u64,
    /// How it is decided, if not by the log alone.
    pub(super) alone: Option<Alone>,
}

/// What the slot of a key says beside its log.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) escrow: u32,
    pub(super) refused_until: u64,
}

impl From<&Slot> for Known {
    fn from(slot: &Slot) -> Self {
        Self { escrow: u32::from(slot.escrow), refused_until: slot.refused_until }
    }
}

impl Ask<'_> {
    /// A cost of nothing counts as one unit.
    pub(super) fn units(cost: u32) -> u32 {
        cost.max(1)
    }

    /// The same at the newest admission, if that is later: whoever comes here after it is admitted after it, even if it
    /// read the clock before. A node that is alone has stamps of leases in its log, which are later than they need be.
    pub(super) fn not_before(&self, log: &Log) -> Self {
        let newest = log.newest().filter(|_| self.alone.is_none());
        Self { now: newest.map_or(self.now, |newest| newest.max(self.now)), ..*self }
    }

    pub(super) const fn pending(&self) -> bool {
        matches!(self.mode, Mode::Reserve)
    }

    /// Microseconds of the longest window.
    pub(super) fn longest(&self) -> u64 {
        micros(self.rule.longest().span)
    }

    /// Units are kept that are later than this.
    pub(super) fn floor(&self) -> Option<u64> {
        let Some(alone) = self.alone else { return self.now.checked_sub(self.longest()) };
        // The only node counts what was its own at its last admission before the loss.
        let windows = if alone.share.nodes() == 1 { 2 } else { 1 };
        alone.lost_at.min(self.now).checked_sub(windows * self.longest())
    }

    /// Units kept for one key.
    pub(super) fn most(&self) -> usize {
        let limit = self.rule.longest().limit as usize;
        if self.alone.is_some() { (2 * limit).min(MAX_UNITS) } else { limit }
    }

    /// The window that decides. `extra` is one more that must have room.
    pub(super) fn judge(&self, view: View<'_>, known: Known, extra: Option<Room>) -> Judgement {
        let rooms = self.rule.windows().iter().map(|window| match &self.alone {
            // No limit can be so large that a request that is not allowed at all fits.
            _ if self.cost > MAX_COST => {
                let span = micros(window.span);
                Room { wait: span, hard: true, soft: false, ..room(view, *window, self.cost, self.now) }
            }
            None => room(view, *window, self.cost, self.now),
            Some(alone) => alone.room(view, *window, known, self),
        });
        let mut judgement = Judgement::of(rooms.chain(extra));
        judgement.window = judgement.window.min(self.rule.windows().len() - 1);
        judgement
    }

    pub(super) const fn ticket(&self) -> Ticket {
        Ticket { key: self.key, at: self.now, cost: self.cost }
    }

    /// Microseconds of the window with this position.
    pub(super) fn span(&self, window: usize) -> u64 {
        micros(self.rule.windows()[window].span)
    }
}
