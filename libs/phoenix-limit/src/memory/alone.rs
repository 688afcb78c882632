//! What a node may admit by itself while it cannot ask Redis: its share, and in windows that began before that, no more
//! than it knew to be left for it. Talks to nobody.

use std::time::Duration;

use crate::key::Key;
use crate::memory::Memory;
use crate::memory::ask::{Ask, Known};
use crate::room::{RESERVATION_WAIT, Room, View, micros, room, unsettled_after};
use crate::{Decision, Mode, Rule, Window};

/// The part of every limit that is this node's, when `nodes` nodes that cannot ask each other divide it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    nodes: u32,
    rank: u32,
}

impl Share {
    /// The node at position `rank` of `nodes`. All nodes must agree on the order of all. Counts of zero are taken as one,
    /// ranks beyond the last as the last.
    #[must_use]
    pub fn new(nodes: u32, rank: u32) -> Self {
        let nodes = nodes.max(1);
        Self { nodes, rank: rank.min(nodes - 1) }
    }

    /// How many divide the limit.
    #[must_use]
    pub const fn nodes(self) -> u32 {
        self.nodes
    }

    /// Units of this limit. The shares of all nodes add up to it. What cannot be divided goes to nodes that differ from
    /// key to key.
    #[must_use]
    pub fn of(self, key: Key, limit: u32) -> u32 {
        let turn = u32::try_from(key.name() % u128::from(self.nodes)).unwrap_or(0);
        let place = (u64::from(self.rank) + u64::from(turn)) % u64::from(self.nodes);
        limit / self.nodes + u32::from(place < u64::from(limit % self.nodes))
    }
}

/// Alone since when, with which share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) share: Share,
    /// Microseconds.
    pub(super) lost_at: u64,
}

impl Alone {
    /// Units after the loss, of this window: at most the share.
    fn room_after(&self, view: View<'_>, window: Window, ask: &Ask<'_>) -> (u32, u64) {
        let span = micros(window.span);
        let share = self.share.of(ask.key, window.limit);
        let used = view.after(Some(ask.now.saturating_sub(span).max(self.lost_at)));
        let left = share.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
        (left, if left >= ask.cost { 0 } else { view.wait(share, span, ask.cost, ask.now) })
    }

    /// Units in a window that began before the loss: at most what this node had admitted then, and what Redis had said
    /// it may admit without asking. If it knew nothing of the key, its share.
    fn room_across(&self, view: View<'_>, window: Window, known: Known, ask: &Ask<'_>) -> Option<(u32, u64)> {
        let span = micros(window.span);
        let over = (self.lost_at + span).saturating_sub(ask.now);
        if over == 0 {
            return None;
        }
        let before = self.lost_at.checked_sub(span);
        let later = view.after(Some(self.lost_at));
        let mut own = view.after(before) - later;
        let told = known.refused_until > before.unwrap_or(0);
        if own == 0 && !told {
            return None;
        }
        if self.share.nodes() == 1 {
            // Nobody else can have used what was free then. But nodes that are gone may have used what was not.
            let last = view.nth_newest(later + 1).unwrap_or_default();
            own = view.after(last.checked_sub(span)) - later;
        }
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        let quota = own.saturating_add(known.escrow).min(window.limit);
        let used = u32::try_from(view.after(ask.now.checked_sub(span))).unwrap_or(u32::MAX);
        let left = quota.saturating_sub(used);
        let wait = if left >= ask.cost { 0 } else { view.wait(quota, span, ask.cost, ask.now).min(over) };
        Some((left, wait.min(if ask.cost > quota { over } else { u64::MAX })))
    }

    /// Whether it may fit once reservations are taken back. Of those of before the loss nobody gains anything: what this
    /// node had admitted then is what it may admit now.
    fn may_fit(&self, view: View<'_>, window: Window, ask: &Ask<'_>) -> bool {
        let floor = ask.now.checked_sub(micros(window.span)).max(Some(self.lost_at));
        let share = self.share.of(ask.key, window.limit);
        ask.cost <= share && view.pending_after(unsettled_after(floor, ask.now))
    }

    /// The room that this node may give away. Only who exceeds the limit itself is to be blocked.
    pub(super) fn room(&self, view: View<'_>, window: Window, known: Known, ask: &Ask<'_>) -> Room {
        let mut room = room(view, window, ask.cost, ask.now);
        let after = self.room_after(view, window, ask);
        let across = self.room_across(view, window, known, ask);
        for (left, wait) in across.into_iter().chain([after]) {
            room.left = room.left.min(left);
            room.wait = room.wait.max(wait);
        }
        room.soft = room.wait > 0 && !room.hard && self.may_fit(view, window, ask);
        if room.soft {
            room.wait = room.wait.min(RESERVATION_WAIT);
        }
        room
    }
}

impl Memory {
    /// Decides without Redis, which has not answered since `lost_at`, by this node's own admissions: of what is admitted
    /// after the loss each window gets this node's share; a window that began before it gets at most what this node had
    /// admitted in it at the loss and the escrow Redis had granted, or the share if this node had not seen the key in it.
    /// What Redis is known to refuse is refused. Only who exceeds the whole limit here is blocked.
    ///
    /// `now` and `lost_at` are times of Redis' clock, as estimated; admissions up to 2 s in the future are taken as they
    /// are.
    #[expect(clippy::too_many_arguments, reason = "the request, and the situation it is decided in")]
    pub fn decide_alone(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        mode: Mode,
        share: Share,
        lost_at: Duration,
        now: Duration,
    ) -> Decision {
        let alone = Some(Alone { share, lost_at: micros(lost_at) });
        let cost = Ask::units(cost);
        self.ask(&Ask { key, rule, cost, mode, now: micros(now), alone })
    }

    /// Whether [`Self::decide_alone`] would admit, the limit itself and blocks left aside: to be asked in addition to Redis
    /// until all nodes have told Redis what they admitted meanwhile. Records nothing.
    pub fn may_join(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        share: Share,
        lost_at: Duration,
        now: Duration,
    ) -> bool {
        let alone = Alone { share, lost_at: micros(lost_at) };
        let (cost, now) = (Ask::units(cost), micros(now));
        let ask = Ask { key, rule, cost, mode: Mode::Count, now, alone: Some(alone) };
        self.with_view(&ask, |view, known| {
            rule.windows().iter().all(|window| {
                let across = alone.room_across(view, *window, known, &ask);
                alone.room_after(view, *window, &ask).0 >= cost && across.is_none_or(|(left, _)| left >= cost)
            })
        })
    }
}
