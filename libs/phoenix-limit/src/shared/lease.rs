//! Units that Redis has set aside for this node, so that busy keys with room are decided without asking. Sends nothing.
//!
//! Redis counts leased units at the end of the lease. What is spent gets its true time when the lease is settled, and the
//! rest goes back; a lease that is never settled stays counted, so what is lost with a node is room and never exactness.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::call::{Decided, Settlement, micros};
use crate::{Decision, Key, Rule, Ticket, Verdict};

/// Locks, so that keys do not wait for each other.
const SHARDS: usize = 16;
/// Most keys of a shard whose rate is known. Others get no lease.
const KEYS_A_SHARD: usize = 256;
/// Keys not asked for in this time make room, in microseconds.
const FORGET: u64 = 1_000_000;
/// A full shard is cleaned at most once in this time, in microseconds.
const CLEAN: u64 = 100_000;
/// A rate is measured over this time, in microseconds.
const MEASURE: u64 = 250_000;

/// When leases are taken, and how large they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseBounds {
    /// Requests for a key in a second, at this node, from which on it is leased. At `u32::MAX` nothing is.
    pub from_rate: u32,
    /// For how long, at most a second.
    pub term: Duration,
    /// Most units. Redis gives at most 256, and a 64th of the room, and nothing when a fourth of the room was used up in the
    /// last term.
    pub most: u32,
}

impl Default for LeaseBounds {
    fn default() -> Self {
        Self { from_rate: 20, term: Duration::from_millis(150), most: 256 }
    }
}

impl LeaseBounds {
    /// Redis lets a log live a second longer than its windows.
    pub(super) fn term(&self) -> Duration {
        self.term.min(Duration::from_secs(1))
    }

    fn wanted(&self, rate: u32) -> u32 {
        if rate < self.from_rate {
            return 0;
        }
        let units = u128::from(rate) * self.term().as_micros() / 1_000_000;
        u32::try_from(units).unwrap_or(u32::MAX).clamp(2, self.most.max(2))
    }
}

/// Rates and leases of this node.
#[derive(Debug)]
pub(super) struct Leases {
    shards: [Mutex<Shard>; SHARDS],
    bounds: LeaseBounds,
}

#[derive(Debug, Default)]
struct Shard {
    keys: HashMap<u128, Hot>,
    cleaned: u64,
}

#[derive(Debug)]
struct Hot {
    key: Key,
    /// Begin of the present measurement.
    since: u64,
    requests: u32,
    /// Per second, of the last one.
    rate: u32,
    /// No stamp of this node may be used in two leases.
    last: u64,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    given: u64,
    end: u64,
    units: u32,
    spent: Vec<u64>,
    escrow: u32,
    rule: Rule,
    /// What a client is told: the window, its room at the start, and when it has more.
    window: usize,
    room: u32,
    more_at: u64,
}

/// A lease that has to be settled.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) key: Key,
    pub(super) rule: Rule,
    pub(super) settlement: Settlement,
}

impl Lease {
    fn settlement(self) -> Settlement {
        Settlement { lease: self.given, reserved: self.units, spent: self.spent }
    }
}

impl Hot {
    const fn new(key: Key, now: u64) -> Self {
        Self { key, since: now, requests: 0, rate: 0, last: 0, lease: None }
    }

    fn count(&mut self, requests: u32, now: u64) {
        let passed = now.saturating_sub(self.since);
        if passed >= MEASURE {
            self.rate = per_second(self.requests, passed);
            (self.since, self.requests) = (now, 0);
        }
        self.requests = self.requests.saturating_add(requests);
    }

    fn rate(&self) -> u32 {
        self.rate.max(per_second(self.requests, MEASURE))
    }
}

fn per_second(requests: u32, micros: u64) -> u32 {
    u32::try_from(u64::from(requests) * 1_000_000 / micros.max(1)).unwrap_or(u32::MAX)
}

impl Shard {
    /// The entry of a key, a new one if there is room.
    fn enter(&mut self, key: Key, now: u64) -> Option<&mut Hot> {
        if !self.keys.contains_key(&key.name()) {
            if self.keys.len() >= KEYS_A_SHARD && now.saturating_sub(self.cleaned) >= CLEAN {
                self.cleaned = now;
                self.keys.retain(|_, hot| hot.lease.is_some() || now.saturating_sub(hot.since) < FORGET);
            }
            if self.keys.len() >= KEYS_A_SHARD {
                return None;
            }
        }
        Some(self.keys.entry(key.name()).or_insert_with(|| Hot::new(key, now)))
    }
}

impl Leases {
    pub(super) fn new(bounds: LeaseBounds) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), bounds }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "below SHARDS")]
        let place = (key.name() >> 64) as usize % SHARDS;
        lock(&self.shards[place])
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    /// Spends units of a lease: the decision, and what the node may admit without asking if Redis is lost. `now` is
    /// Redis' time.
    pub(super) fn spend(&self, key: Key, rule: &Rule, cost: u32, now: Duration) -> Option<(Decision, u32)> {
        let now = micros(now);
        let mut shard = self.shard(key);
        let hot = shard.keys.get_mut(&key.name())?;
        let lease = hot.lease.as_mut()?;
        // Redis' stamps are even, those of leases odd, so that no two units have one name.
        let at = (now | 1).max(hot.last);
        let spent = u32::try_from(lease.spent.len()).unwrap_or(u32::MAX);
        if at >= lease.end || cost > lease.units - spent || lease.rule != *rule {
            return None;
        }
        lease.spent.extend(std::iter::repeat_n(at, cost as usize));
        hot.last = at;
        let decision = Decision {
            verdict: Verdict::Admitted(Ticket { key, at, cost }),
            window: lease.window,
            remaining: lease.room.saturating_sub(spent + cost),
            reset_after: Duration::from_micros(lease.more_at.saturating_sub(at)),
            retry_after: Duration::ZERO,
            at,
        };
        let escrow = lease.escrow;
        hot.count(1, now);
        Some((decision, escrow))
    }

    /// Before Redis is asked for a key: what is to be settled, and how many units to take on lease.
    pub(super) fn before_call(&self, key: Key, requests: usize, now: Duration) -> (Option<Ended>, u32) {
        let now = micros(now);
        let mut shard = self.shard(key);
        let Some(hot) = shard.enter(key, now) else { return (None, 0) };
        hot.count(u32::try_from(requests).unwrap_or(u32::MAX), now);
        let wanted = self.bounds.wanted(hot.rate());
        let ended = hot.lease.take().map(|lease| Ended {
            key,
            rule: lease.rule.clone(),
            settlement: lease.settlement(),
        });
        (ended, wanted)
    }

    /// Redis gave a lease.
    pub(super) fn take(&self, key: Key, rule: &Rule, decided: &Decided) {
        let Some(told) = decided.decisions.last() else { return };
        let mut shard = self.shard(key);
        let hot = shard.keys.entry(key.name()).or_insert_with(|| Hot::new(key, decided.now));
        hot.last = (decided.now | 1).max(hot.last + 2);
        hot.lease = Some(Lease {
            given: decided.now,
            end: decided.lease_end,
            units: decided.leased,
            spent: Vec::new(),
            escrow: decided.escrow,
            rule: rule.clone(),
            window: told.window,
            room: told.remaining,
            more_at: decided.now + micros(told.reset_after),
        });
    }

    /// Takes units back that are not settled yet. Whether there were any.
    pub(super) fn refund(&self, ticket: Ticket) -> bool {
        let mut shard = self.shard(ticket.key);
        let lease = shard.keys.get_mut(&ticket.key.name()).and_then(|hot| hot.lease.as_mut());
        let Some(lease) = lease else { return false };
        let mut left = ticket.cost;
        lease.spent.retain(|at| {
            let goes = left > 0 && *at == ticket.at;
            left -= u32::from(goes);
            !goes
        });
        left < ticket.cost
    }

    /// The node may admit at most this much without asking.
    pub(super) fn lower_escrow(&self, key: Key, escrow: u32) {
        let mut shard = self.shard(key);
        if let Some(lease) = shard.keys.get_mut(&key.name()).and_then(|hot| hot.lease.as_mut()) {
            lease.escrow = lease.escrow.min(escrow);
        }
    }

    /// Leases that are over at `now`, at most so many.
    pub(super) fn ended(&self, now: Duration, most: usize) -> Vec<Ended> {
        let now = micros(now);
        let mut ended = Vec::new();
        for mut shard in self.all() {
            let over = shard
                .keys
                .values_mut()
                .filter(|hot| hot.lease.as_ref().is_some_and(|lease| lease.end <= now));
            for hot in over.take(most - ended.len()) {
                let Some(lease) = hot.lease.take() else { continue };
                ended.push(Ended { key: hot.key, rule: lease.rule.clone(), settlement: lease.settlement() });
            }
        }
        ended
    }

    /// Forgets leases of these keys. Redis counts what they had reserved; what was spent is in this node's memory.
    pub(super) fn forget(&self, is_meant: impl Fn(Key) -> bool) {
        for mut shard in self.all() {
            for hot in shard.keys.values_mut().filter(|hot| is_meant(hot.key)) {
                hot.lease = None;
            }
        }
    }

    /// Leases held.
    pub(super) fn len(&self) -> usize {
        self.all().map(|shard| shard.keys.values().filter(|hot| hot.lease.is_some()).count()).sum()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
