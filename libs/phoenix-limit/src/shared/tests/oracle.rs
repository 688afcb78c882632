//! A list of units that says what an exact limiter says. Slow and plain.

use std::time::Duration;

use super::super::call::{Request, micros};
use crate::{Mode, Rule};

/// Status, window, remaining, reset and wait in microseconds: what the script answers.
pub(super) type Expected = (u64, usize, u32, u64, u64);

#[derive(Clone, Copy)]
struct Unit {
    at: u64,
    node: usize,
    pending: bool,
}

/// One key.
#[derive(Default)]
pub(super) struct Oracle {
    units: Vec<Unit>,
    pub(super) blocked: u64,
}

impl Oracle {
    pub(super) fn units_in(&self, span: Duration, now: u64) -> usize {
        self.inside(span, now).count()
    }

    fn inside(&self, span: Duration, now: u64) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(move |unit| now < unit.at + micros(span))
    }

    pub(super) fn decide(&mut self, rule: &Rule, request: Request, node: usize, now: u64) -> Expected {
        let windows = rule.windows();
        let counts = || -> Vec<usize> { windows.iter().map(|w| self.units_in(w.span, now)).collect() };
        let cost = request.cost as usize;
        let full: Vec<usize> =
            (0..windows.len()).filter(|&i| counts()[i] + cost > windows[i].limit as usize).collect();
        let soft_at = |i: usize| {
            request.cost <= windows[i].limit
                && self.inside(windows[i].span, now).any(|unit| unit.pending && now < unit.at + 60_000_000)
        };
        let wait = |i: usize| {
            let window = windows[i];
            if request.cost > window.limit {
                return micros(window.span);
            }
            let mut stamps: Vec<u64> = self.units.iter().map(|unit| unit.at).collect();
            stamps.sort_unstable_by(|a, b| b.cmp(a));
            let exact = stamps[(window.limit - request.cost) as usize] + micros(window.span) - now;
            if soft_at(i) { exact.min(1_000_000) } else { exact }
        };
        let room = |i: usize| (windows[i].limit as usize).saturating_sub(counts()[i]);
        let least = (0..windows.len()).min_by_key(|&i| room(i)).expect("a rule has windows");
        let longest = full.iter().copied().max_by(|&a, &b| wait(a).cmp(&wait(b)).then(b.cmp(&a)));
        let soft = full.iter().all(|&i| soft_at(i));
        let exact = longest.map_or(0, wait);
        let window = longest.unwrap_or(least);
        let (status, retry) = if self.blocked > now {
            (3, exact.max(self.blocked - now))
        } else if let (Some(_), false, Some(block), Some(_)) = (longest, soft, rule.block(), request.mode) {
            self.blocked = now + micros(block);
            (2, exact.max(micros(block)))
        } else if longest.is_some() {
            (if soft { 4 } else { 1 }, exact)
        } else {
            if let Some(mode) = request.mode {
                let unit = Unit { at: now, node, pending: mode == Mode::Reserve };
                self.units.extend(std::iter::repeat_n(unit, cost));
            }
            (0, 0)
        };
        (status, window, self.left(rule, window, now), 0, retry)
    }

    fn left(&self, rule: &Rule, window: usize, now: u64) -> u32 {
        let window = rule.windows()[window];
        let used = u32::try_from(self.units_in(window.span, now)).expect("few units");
        window.limit.saturating_sub(used)
    }

    /// Until the oldest unit leaves a window.
    pub(super) fn reset(&self, rule: &Rule, window: usize, now: u64) -> u64 {
        let span = rule.windows()[window].span;
        self.inside(span, now).map(|unit| unit.at + micros(span) - now).min().unwrap_or_default()
    }

    /// Which units of an admission are meant is not said, only how many; those that are pending go first.
    pub(super) fn refund(&mut self, at: u64, node: usize, cost: u32) {
        for _ in 0..cost {
            let of = |unit: &Unit| unit.at == at && unit.node == node;
            if let Some(place) = self.units.iter().position(of) {
                self.units.remove(place);
            }
        }
    }

    pub(super) fn confirm(&mut self, at: u64, node: usize) {
        for unit in self.units.iter_mut().filter(|unit| unit.at == at && unit.node == node) {
            unit.pending = false;
        }
    }
}
