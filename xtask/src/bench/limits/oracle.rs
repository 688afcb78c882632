//! What is right: a list of the times of all admissions of a client, looked through whole for every decision. Knows
//! nothing of the limiter but what its rules say (ARCHITECTURE.md and the library's README).

use std::collections::HashMap;
use std::time::Duration;

use phoenix_limit::{Refusal, Rule};

/// Longest time a client is told to wait because of reservations.
const PENDING_WAIT: u64 = 1_000_000;

/// A client's admissions, and its block.
#[derive(Clone, Debug, Default)]
struct Log {
    units: Vec<Unit>,
    blocked_until: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    at: u64,
    pending: bool,
}

/// What is right for one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Right {
    /// `None`: admitted.
    pub(super) refusal: Option<Refusal>,
    /// Microseconds until the same request, alone, is admitted; zero if it is.
    pub(super) wait: u64,
    /// The least room of a window, after this decision.
    pub(super) room: u32,
}

/// A reservation that was not settled for so long counts like any other admission.
const PENDING_LIFE: u64 = 60_000_000;
/// Requests come out of order by at most this.
const OUT_OF_ORDER_US: u64 = 2_000_000;

/// All clients under one rule.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    windows: Vec<(u32, u64)>,
    block: Option<u64>,
    logs: HashMap<u32, Log>,
}

impl Oracle {
    pub(super) fn new(rule: &Rule) -> Self {
        let windows = rule.windows().iter().map(|window| (window.limit, micros(window.span)));
        Self { windows: windows.collect(), block: rule.block().map(micros), logs: HashMap::new() }
    }

    /// Decides, and keeps what it admits.
    pub(super) fn decide(&mut self, client: u32, at: u64, cost: u32, reserve: bool) -> Right {
        let log = self.logs.entry(client).or_default();
        let at = log.moment(at);
        let right = log.decide(&self.windows, self.block, at, cost);
        if right.refusal.is_none() {
            log.admit(at, cost, reserve);
        }
        if right.refusal == Some(Refusal::BlockedNow) {
            log.blocked_until = self.block.map(|block| at + block);
        }
        right
    }

    /// Decides by what was in fact admitted before: `admitted` goes into the log whatever is right.
    pub(super) fn follow(&mut self, client: u32, at: u64, cost: u32, admitted: bool) -> Right {
        let log = self.logs.entry(client).or_default();
        let at = log.moment(at);
        let right = log.decide(&self.windows, self.block, at, cost);
        if admitted {
            log.admit(at, cost, false);
        }
        if right.refusal == Some(Refusal::BlockedNow) && !admitted {
            log.blocked_until = self.block.map(|block| at + block);
        }
        right
    }

    /// What was reserved at `at` is confirmed or taken back.
    pub(super) fn settle(&mut self, client: u32, at: u64, cost: u32, refund: bool) {
        let Some(log) = self.logs.get_mut(&client) else { return };
        let mut left = cost;
        let mut mine = |unit: &Unit| {
            let hit = left > 0 && unit.pending && unit.at == at;
            left -= u32::from(hit);
            hit
        };
        if refund {
            log.units.retain(|unit| !mine(unit));
        } else {
            for unit in &mut log.units {
                unit.pending = unit.pending && !mine(unit);
            }
        }
    }
}

impl Log {
    /// When a request is taken to come. One that comes just before the newest admission read the clock earlier than
    /// that one did, and comes with it. A clock that was set back must not make a client wait longer: what is in the log
    /// moves with it.
    fn moment(&mut self, now: u64) -> u64 {
        let newest = self.units.iter().map(|unit| unit.at).max().unwrap_or_default();
        if newest <= now + OUT_OF_ORDER_US {
            return now.max(newest);
        }
        let back = newest - now;
        for unit in &mut self.units {
            unit.at = unit.at.saturating_sub(back);
        }
        self.blocked_until = self.blocked_until.map(|until| until.saturating_sub(back));
        now
    }

    fn decide(&mut self, windows: &[(u32, u64)], block: Option<u64>, at: u64, cost: u32) -> Right {
        // More than the largest limit never count together. What is too old stays: a clock set back makes it young again.
        let most = windows.iter().map(|(limit, _)| *limit as usize).max().unwrap_or_default();
        self.units.sort_by_key(|unit| unit.at);
        self.units.drain(..self.units.len().saturating_sub(most));
        let (mut wait, mut is_hard, mut room) = (0, false, u32::MAX);
        for (limit, span) in windows {
            let inside: Vec<Unit> =
                self.units.iter().copied().filter(|unit| unit.at <= at && unit.at + span > at).collect();
            let used = u32::try_from(inside.len()).unwrap_or(u32::MAX);
            room = room.min(limit.saturating_sub(used));
            if used + cost > *limit {
                let pending = inside.iter().any(|unit| unit.pending && at < unit.at + PENDING_LIFE);
                let is_soft = cost <= *limit && pending;
                let exact = until_room(inside, *limit, *span, cost, at);
                is_hard |= !is_soft;
                wait = wait.max(if is_soft { exact.min(PENDING_WAIT) } else { exact });
            }
        }
        let blocked = self.blocked_until.filter(|until| *until > at);
        let (refusal, wait) = match (blocked, wait, block) {
            (Some(until), _, _) => (Some(Refusal::Blocked), wait.max(until - at)),
            (None, 0, _) => (None, 0),
            (None, _, _) if !is_hard => (Some(Refusal::Reserved), wait),
            (None, _, Some(block)) => (Some(Refusal::BlockedNow), wait.max(block)),
            (None, _, None) => (Some(Refusal::Exceeded), wait),
        };
        let room = if refusal.is_none() { room.saturating_sub(cost) } else { room };
        Right { refusal, wait, room }
    }

    fn admit(&mut self, at: u64, cost: u32, pending: bool) {
        self.units.extend((0..cost).map(|_| Unit { at, pending }));
    }
}

/// Time until so many of `inside` have left that `cost` more fit.
fn until_room(mut inside: Vec<Unit>, limit: u32, span: u64, cost: u32, at: u64) -> u64 {
    if cost > limit {
        return span;
    }
    inside.sort_by_key(|unit| unit.at);
    let must_leave = inside.len() + cost as usize - limit as usize;
    inside.get(must_leave.saturating_sub(1)).map_or(0, |unit| unit.at + span - at)
}

/// Most units that any window of any client held above its limit; `admitted` are the times of the units of one client.
pub(super) fn excess(rule: &Rule, admitted: &mut [u64]) -> u32 {
    admitted.sort_unstable();
    let mut worst = 0;
    for window in rule.windows() {
        let span = micros(window.span);
        let mut oldest = 0;
        for (index, at) in admitted.iter().enumerate() {
            while admitted[oldest] + span <= *at {
                oldest += 1;
            }
            let inside = u32::try_from(index + 1 - oldest).unwrap_or(u32::MAX);
            worst = worst.max(inside.saturating_sub(window.limit));
        }
    }
    worst
}

/// In microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use phoenix_limit::Window;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn rule(limit: u32, block: Option<u64>) -> Rule {
        let window = Window { limit, span: Duration::from_secs(10) };
        Rule::new(&[window], block.map(Duration::from_secs)).expect("it can work")
    }

    #[test]
    fn a_window_is_half_open_and_waits_are_exact() {
        let mut oracle = Oracle::new(&rule(2, None));
        let mut ask = |at: u64, cost| {
            let right = oracle.decide(1, at, cost, false);
            (right.refusal, right.wait, right.room)
        };
        assert_eq!(ask(SECOND, 1), (None, 0, 1));
        assert_eq!(ask(2 * SECOND, 1), (None, 0, 0));
        assert_eq!(ask(3 * SECOND, 1), (Some(Refusal::Exceeded), 8 * SECOND, 0));
        assert_eq!(ask(3 * SECOND, 2), (Some(Refusal::Exceeded), 9 * SECOND, 0));
        assert_eq!(ask(3 * SECOND, 3), (Some(Refusal::Exceeded), 10 * SECOND, 0));
        assert_eq!(ask(11 * SECOND - 1, 1), (Some(Refusal::Exceeded), 1, 0));
        assert_eq!(ask(11 * SECOND, 1), (None, 0, 0));
    }

    #[test]
    fn blocks_begin_once_and_reservations_block_nobody() {
        let mut oracle = Oracle::new(&rule(1, Some(60)));
        assert_eq!(oracle.decide(1, 0, 1, true).refusal, None);
        let pending = oracle.decide(1, SECOND, 1, true);
        assert_eq!((pending.refusal, pending.wait), (Some(Refusal::Reserved), SECOND));
        oracle.settle(1, 0, 1, false);
        let now = oracle.decide(1, 2 * SECOND, 1, true);
        assert_eq!((now.refusal, now.wait), (Some(Refusal::BlockedNow), 60 * SECOND));
        let later = oracle.decide(1, 60 * SECOND, 1, true);
        assert_eq!((later.refusal, later.wait), (Some(Refusal::Blocked), 2 * SECOND));
        assert_eq!(oracle.decide(1, 62 * SECOND, 1, true).refusal, None);
        oracle.settle(1, 62 * SECOND, 1, true);
        assert_eq!(oracle.decide(1, 62 * SECOND, 1, true).refusal, None);
    }

    #[test]
    fn a_clock_set_back_moves_the_log() {
        let mut oracle = Oracle::new(&rule(1, None));
        assert_eq!(oracle.decide(1, 100 * SECOND, 1, false).refusal, None);
        assert_eq!(oracle.decide(1, 50 * SECOND, 1, false).wait, 10 * SECOND);
        assert_eq!(oracle.decide(1, 60 * SECOND, 1, false).refusal, None);
    }

    #[test]
    fn excess_is_found_in_any_window() {
        let rule = rule(2, None);
        assert_eq!(excess(&rule, &mut [0, 10 * SECOND, 5 * SECOND]), 0);
        assert_eq!(excess(&rule, &mut [0, 10 * SECOND - 1, 5 * SECOND]), 1);
        assert_eq!(excess(&rule, &mut []), 0);
    }
}
