//! How much room the windows of a rule have, given a log: the algorithm. Keeps nothing.
//!
//! The log is exact: a request is admitted if in every window the units admitted in `(now - span, now]` and its own cost
//! do not exceed the limit. That holds exactly if the unit that is `limit - cost` units older than the newest one has
//! left the window, so one look-up decides.

use std::time::Duration;

use crate::log::Log;
use crate::{Decision, Refusal, Ticket, Verdict, Window};

/// Who is refused only because of a reservation is told to come back after at most this time, in microseconds: by then
/// it will have been settled.
pub(crate) const RESERVATION_WAIT: u64 = 1_000_000;

/// A reservation that is neither confirmed nor taken back counts as confirmed after this time, in microseconds. The same
/// stands in `decide.lua`.
const RESERVATION_LIFE: u64 = 60_000_000;

/// Latest time, in microseconds: a log marks with the highest bit, and the sum of a time and a span must not run over.
const LATEST: u64 = 1 << 62;

/// Microseconds of a time; all later than 146,000 years are the same.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(LATEST)
}

/// Units that count for a key: its own, and those it shares with its neighbourhood.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) own: &'a Log,
    pub(crate) pool: Option<&'a Log>,
}

impl View<'_> {
    /// Units later than `floor`; all without one.
    pub(crate) fn after(&self, floor: Option<u64>) -> usize {
        self.own.after(floor) + self.pool.map_or(0, |pool| pool.after(floor))
    }

    pub(crate) fn pending_after(&self, floor: Option<u64>) -> bool {
        self.own.pending_after(floor) || self.pool.is_some_and(|pool| pool.pending_after(floor))
    }

    /// Time of the `n`th newest unit, the newest being the first.
    pub(crate) fn nth_newest(&self, n: usize) -> Option<u64> {
        let Some(pool) = self.pool else { return self.own.nth_newest(n) };
        let (mut left, mut right) = (self.own.newest_first().peekable(), pool.newest_first().peekable());
        let mut found = None;
        for _ in 0..n {
            found = if left.peek() >= right.peek() { left.next() } else { right.next() };
        }
        found
    }

    /// Time from `now` until a window of this length holds at most `limit - cost` of the units.
    pub(crate) fn wait(&self, limit: u32, span: u64, cost: u32, now: u64) -> u64 {
        let Some(others) = limit.checked_sub(cost) else { return span };
        self.nth_newest(others as usize + 1).map_or(0, |at| (at + span).saturating_sub(now))
    }
}

/// The room in one window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Units left.
    pub(crate) left: u32,
    /// Until the oldest unit leaves, in microseconds; zero if there is none.
    pub(crate) reset: u64,
    /// Until the request fits, in microseconds; zero if it does.
    pub(crate) wait: u64,
    /// It does not fit, and not because of a reservation that may yet be refunded.
    pub(crate) hard: bool,
    /// It does not fit, but would if reservations that may yet be refunded were.
    pub(crate) soft: bool,
}

/// Reservations later than this may yet be refunded. `floor` is the begin of the window.
pub(crate) fn unsettled_after(floor: Option<u64>, now: u64) -> Option<u64> {
    floor.max(now.checked_sub(RESERVATION_LIFE))
}

/// The room for a request of this cost.
pub(crate) fn room(view: View<'_>, window: Window, cost: u32, now: u64) -> Room {
    let span = micros(window.span);
    let floor = now.checked_sub(span);
    let used = view.after(floor);
    let wait = view.wait(window.limit, span, cost, now);
    let soft = wait > 0 && cost <= window.limit && view.pending_after(unsettled_after(floor, now));
    Room {
        left: window.limit.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)),
        reset: view.nth_newest(used).map_or(0, |oldest| (oldest + span).saturating_sub(now)),
        wait: if soft { wait.min(RESERVATION_WAIT) } else { wait },
        hard: wait > 0 && !soft,
        soft,
    }
}

/// The window that decides, and whether any refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Judgement {
    /// Its position.
    pub(crate) window: usize,
    /// Its room.
    pub(crate) room: Room,
    /// One of the windows is full, and not because of reservations.
    pub(crate) hard: bool,
    /// None of the windows is full but for reservations.
    soft: bool,
}

impl Judgement {
    /// Of the windows that refuse the one with the longest wait, else the one with the least room; the first of equals.
    pub(crate) fn of(rooms: impl Iterator<Item = Room>) -> Self {
        let mut rooms = rooms.enumerate();
        let (window, room) = rooms.next().expect("a rule has a window");
        let full_otherwise = |room: &Room| room.wait > 0 && !room.soft;
        let mut judgement = Self { window, room, hard: room.hard, soft: !full_otherwise(&room) };
        for (window, room) in rooms {
            let first = judgement.room;
            if room.wait > first.wait || (first.wait == 0 && room.left < first.left) {
                (judgement.window, judgement.room) = (window, room);
            }
            judgement.hard |= room.hard;
            judgement.soft &= !full_otherwise(&room);
        }
        judgement
    }

    pub(crate) const fn fits(&self) -> bool {
        self.room.wait == 0
    }

    /// Why it does not fit.
    pub(crate) const fn refusal(&self) -> Refusal {
        if self.soft { Refusal::Reserved } else { Refusal::Exceeded }
    }

    /// The decision to admit. `span` is the length of the deciding window in microseconds.
    pub(crate) fn admit(&self, ticket: Ticket, span: u64) -> Decision {
        Decision {
            verdict: Verdict::Admitted(ticket),
            window: self.window,
            remaining: self.room.left.saturating_sub(ticket.cost),
            reset_after: Duration::from_micros(match (self.room.reset, ticket.cost) {
                (0, 1..) => span,
                (reset, _) => reset,
            }),
            retry_after: Duration::ZERO,
            at: ticket.at,
        }
    }

    /// The decision to refuse, at least for this many microseconds.
    pub(crate) fn refuse(&self, refusal: Refusal, now: u64, at_least: u64) -> Decision {
        Decision {
            verdict: Verdict::Refused(refusal),
            window: self.window,
            remaining: self.room.left,
            reset_after: Duration::from_micros(self.room.reset),
            retry_after: Duration::from_micros(self.room.wait.max(at_least)),
            at: now,
        }
    }
}
