//! Limits in the memory of one process, within a fixed number of bytes. Does no I/O and knows no clock.
//!
//! Keys are spread over shards, each with a lock of its own (`shard.rs`), in slots of one size (`slot.rs`); logs that
//! outgrow a slot take bytes from a common budget (`budget.rs`). When there is no memory for a key, it is decided in a log
//! that it shares with its neighbourhood (`spill.rs`). `mirror.rs` and `alone.rs` are for limits shared through Redis.
//!
//! Locks are taken in this order: shard, shared log, budget.

mod alone;
mod ask;
mod budget;
mod index;
mod mirror;
mod shard;
mod slot;
mod spill;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use alone::Share;
use ask::{Ask, Known};
use budget::Budget;
pub use mirror::{Cursor, Own, Page, Stamp};
use shard::{CHUNK, Shard};
use slot::Slot;
use spill::Spill;

use crate::key::Key;
use crate::log::Log;
use crate::room::{Judgement, View, micros};
use crate::{Decision, MAX_SPAN, Mode, Refusal, Rule, Ticket};

/// Smallest capacity in bytes; a smaller one is taken as this.
pub const MIN_CAPACITY: u64 = 64 * 1024;
/// About so many slots share a lock. An index can tell 65,535 apart.
const SLOTS_A_SHARD: u64 = 8 * 1024;
/// Part of the capacity for the logs of neighbourhoods: one in so many bytes.
const SPILL_PART: u64 = 64;
/// Part of the capacity that only logs may use: one in so many bytes.
const LOGS_PART: u64 = 8;
/// Part of what grows that only slots may use: one in so many bytes.
const SLOTS_PART: u64 = 4;
/// Admissions may be this much later than now, in microseconds, before the clock counts as stepped back: requests that
/// read the clock in one order arrive in another, leases of Redis are stamped with their end, and its clock is estimated.
const SKEW: u64 = 2_000_000;

/// Exact sliding-window limits for many keys in a fixed number of bytes.
#[derive(Debug)]
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    spill: Spill,
    budget: Budget,
    capacity: u64,
    /// Bytes in use from the start.
    fixed: u64,
    /// Decisions made in a log that neighbours share.
    spilled: AtomicU64,
}

/// What a memory holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MemoryStats {
    /// Keys in memory, idle ones included until their place is needed.
    pub keys: u64,
    /// Bytes asked of the allocator.
    pub bytes: u64,
    /// Most bytes ever.
    pub capacity: u64,
    /// Keys that are blocked now.
    pub blocked: u64,
    /// Decisions made in a log shared by neighbours, because there was no memory for the key, so far.
    pub overflow_decisions: u64,
    /// Idle keys whose place was given to others, so far.
    pub reclaimed: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change leaves a log in order; a panic elsewhere must not end all limits.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Of at most this many bytes, and at least [`MIN_CAPACITY`]. The index and the shared logs, about a tenth, are there
    /// from the start, the rest comes as it is needed.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let capacity = capacity_bytes.max(MIN_CAPACITY);
        let spill_logs = (capacity / SPILL_PART / spill::BYTES).max(1);
        let spill_bytes = spill_logs * spill::BYTES + size_of::<Self>() as u64;
        // A slot, four thirds of a bucket, and its part of the list of chunks.
        let slot = size_of::<Slot>() as u64;
        let chunk = CHUNK as u64 * slot + CHUNK as u64 * 4 * 4 / 3 + size_of::<Vec<Slot>>() as u64;
        let shard = size_of::<Mutex<Shard>>() as u64 + 8;
        let room = capacity - capacity / LOGS_PART - spill_bytes;
        let shards = (room / (SLOTS_A_SHARD * slot)).max(1);
        let chunks = (room / shards - shard) / chunk;
        let slots = usize::try_from(chunks).unwrap_or(0).clamp(1, index::MAX_SLOTS / CHUNK) * CHUNK;
        let index_bytes = index::buckets(slots) as u64 * 4 + (slots / CHUNK * size_of::<Vec<Slot>>()) as u64;
        let fixed = spill_bytes + shards * (shard + index_bytes);
        let total = capacity.saturating_sub(fixed);
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new(slots))).collect(),
            spill: Spill::new(usize::try_from(spill_logs).unwrap_or(1)),
            budget: Budget::new(total, total - capacity / LOGS_PART, total - total / SLOTS_PART),
            capacity,
            fixed,
            spilled: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // The upper half of the name; the index uses the lower one.
        let place = ((key.name() >> 64) * self.shards.len() as u128) >> 64;
        lock(&self.shards[usize::try_from(place).expect("below the number of shards")])
    }

    /// Decides, and counts the request if it is admitted. A cost of zero counts as one; a cost above
    /// [`crate::MAX_COST`], or above the limit of a window, is refused however empty the window is, and told to wait for
    /// its whole length.
    pub fn decide(&self, key: Key, rule: &Rule, cost: u32, mode: Mode, now: Duration) -> Decision {
        let cost = Ask::units(cost);
        self.ask(&Ask { key, rule, cost, mode, now: micros(now), alone: None })
    }

    /// What [`Self::decide`] would say, without a trace: nothing is counted and no block begins. The ticket of an
    /// admission is of no use.
    pub fn peek(&self, key: Key, rule: &Rule, cost: u32, now: Duration) -> Decision {
        let (cost, now) = (Ask::units(cost), micros(now));
        let ask = Ask { key, rule, cost, mode: Mode::Count, now, alone: None };
        let (ask, judgement) = self.with_view(&ask, |view, known| {
            let ask = ask.not_before(view.own);
            (ask, ask.judge(view, known, None))
        });
        let blocked_until = self.blocked_until(key);
        if blocked_until > ask.now {
            judgement.refuse(Refusal::Blocked, ask.now, blocked_until - ask.now)
        } else if judgement.fits() {
            judgement.admit(Ticket { cost: 0, ..ask.ticket() }, 0)
        } else {
            judgement.refuse(judgement.refusal(), ask.now, 0)
        }
    }

    /// The admission is final. Whether it was found: it is not after it left all windows, or was taken back.
    pub fn confirm(&self, ticket: Ticket) -> bool {
        self.change(ticket, |log, units| log.settle(ticket.at, units))
    }

    /// Takes the admission back. Whether it was found. To be called at most once for a ticket.
    pub fn refund(&self, ticket: Ticket) -> bool {
        self.change(ticket, |log, units| log.remove(ticket.at, units))
    }

    fn change(&self, ticket: Ticket, change: impl Fn(&mut Log, usize) -> usize) -> bool {
        let cost = ticket.cost as usize;
        let mut shard = self.shard(ticket.key);
        let mut done = 0;
        let mut elsewhere = true;
        if let Some(number) = shard.find(ticket.key) {
            let slot = shard.slot_mut(number);
            slot.refused_until = 0;
            elsewhere = slot.is_spilled();
            done = change(&mut slot.log, cost);
        }
        if done < cost && elsewhere {
            done += change(&mut self.spill.of(ticket.key).log, cost - done);
        }
        done > 0
    }

    /// Refuses the key for this long, at most [`MAX_SPAN`]; a longer block stays. If there is no memory for the key, its
    /// neighbours without a place are refused too.
    pub fn block(&self, key: Key, length: Duration, now: Duration) {
        let now = micros(now);
        let until = now + micros(length.min(MAX_SPAN));
        let mut shard = self.shard(key);
        if let Some(number) = self.enter(&mut shard, key, now, MAX_SPAN) {
            let slot = shard.slot_mut(number);
            slot.blocked_until = slot.blocked_until.max(until);
        } else {
            let mut pool = self.spill.of(key);
            pool.blocked_until = pool.blocked_until.max(until);
            self.spill.note(until);
        }
    }

    /// Ends a block; what was admitted still counts.
    pub fn lift(&self, key: Key) {
        let mut shard = self.shard(key);
        let mut elsewhere = true;
        if let Some(number) = shard.find(key) {
            let slot = shard.slot_mut(number);
            (slot.blocked_until, slot.refused_until) = (0, 0);
            elsewhere = slot.is_spilled();
            shard.stir();
        }
        if elsewhere {
            self.spill.of(key).blocked_until = 0;
        }
    }

    /// Forgets a key: its block and its admissions, except what is in a log that neighbours share.
    pub fn reset(&self, key: Key) {
        self.lift(key);
        let mut shard = self.shard(key);
        if let Some(number) = shard.find(key) {
            shard.remove(number, &self.budget);
        }
    }

    /// Forgets everything.
    pub fn reset_all(&self) {
        for shard in &self.shards {
            lock(shard).clear(&self.budget);
        }
        self.spill.clear();
    }

    /// Looks at up to `slots` slots of each shard and gives up the idle ones, so that busy keys find memory for their
    /// logs. To be called now and then; without it, new keys do the same. How many were given up.
    pub fn sweep(&self, slots: usize, now: Duration) -> usize {
        self.shards.iter().map(|shard| lock(shard).reclaim(slots, micros(now), &self.budget)).sum()
    }

    /// Decisions made in a log shared by neighbours so far. Reads one number, unlike [`Self::stats`].
    pub fn overflow_decisions(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    /// What it holds. Reads every slot: some milliseconds with 600,000 keys, but no lock is held for more than a few
    /// thousand of them.
    pub fn stats(&self, now: Duration) -> MemoryStats {
        let now = micros(now);
        let mut stats = MemoryStats {
            bytes: self.fixed + self.budget.in_use(),
            capacity: self.capacity,
            overflow_decisions: self.overflow_decisions(),
            ..MemoryStats::default()
        };
        for shard in &self.shards {
            let shard = lock(shard);
            stats.keys += shard.used() as u64;
            stats.reclaimed += shard.reclaimed();
            stats.blocked += shard.from(0).filter(|(_, slot)| slot.blocked_until > now).count() as u64;
        }
        stats
    }

    /// The slot of a key, a new one if it has none; if there is none to be had, none.
    fn enter(&self, shard: &mut Shard, key: Key, now: u64, longest: Duration) -> Option<u16> {
        if let Some(number) = shard.find(key) {
            return Some(number);
        }
        let number = shard.insert(key, now, &self.budget)?;
        // It may have been decided in the shared log before.
        shard.slot_mut(number).set_spilled(self.spill.may_concern(key, now, micros(longest)));
        Some(number)
    }

    /// When the block of a key ends, in microseconds.
    fn blocked_until(&self, key: Key) -> u64 {
        let shard = self.shard(key);
        let slot = shard.find(key).map(|number| shard.slot(number));
        let pool = match slot {
            Some(slot) if !slot.is_spilled() => 0,
            _ => self.spill.of(key).blocked_until,
        };
        slot.map_or(0, |slot| slot.blocked_until).max(pool)
    }

    /// Shows the units that count for a key.
    fn with_view<T>(&self, ask: &Ask<'_>, show: impl FnOnce(View<'_>, Known) -> T) -> T {
        let mut shard = self.shard(ask.key);
        let empty = Log::new();
        let (own, known, spilled) = match shard.find(ask.key) {
            Some(number) => {
                shard.slot_mut(number).follow_clock(ask.now);
                let slot = shard.slot(number);
                (&slot.log, Known::from(slot), slot.is_spilled())
            }
            None => (&empty, Known::default(), self.spill.may_concern(ask.key, ask.now, ask.longest())),
        };
        let pool = spilled.then(|| self.spill.of(ask.key));
        show(View { own, pool: pool.as_ref().map(|pool| &pool.log) }, known)
    }

    /// Decides, and records.
    fn ask(&self, ask: &Ask<'_>) -> Decision {
        let mut shard = self.shard(ask.key);
        let Some(number) = self.enter(&mut shard, ask.key, ask.now, ask.rule.longest().span) else {
            drop(shard);
            return self.ask_neighbourhood(ask);
        };
        let slot = shard.slot_mut(number);
        slot.follow_clock(ask.now);
        let ask = &ask.not_before(&slot.log);
        slot.set_span(ask.rule.longest().span);
        if slot.is_spilled() {
            let concerns = self.spill.of(ask.key).concerns(ask.now, ask.longest());
            slot.set_spilled(concerns);
        }
        if slot.is_spilled() {
            return self.ask_both(&mut shard, number, ask);
        }
        let judgement = ask.judge(View { own: &slot.log, pool: None }, Known::from(&*slot), None);
        if let Some(refused) = refuse(slot, &judgement, judgement.hard, ask) {
            return refused;
        }
        if !self.make_room(&mut shard, number, ask) {
            return self.ask_both(&mut shard, number, ask);
        }
        record(shard.slot_mut(number), ask);
        judgement.admit(ask.ticket(), ask.span(judgement.window))
    }

    /// Decides by the key's own log and the one of its neighbourhood together: some of the key's units may be there, or
    /// will be, because its own log cannot grow.
    fn ask_both(&self, shard: &mut Shard, number: u16, ask: &Ask<'_>) -> Decision {
        self.spilled.fetch_add(1, Ordering::Relaxed);
        let mut pool = self.spill.of(ask.key);
        pool.follow_clock(ask.now);
        let ask = &ask.not_before(&pool.log);
        let slot = shard.slot_mut(number);
        let known = Known::from(&*slot);
        let own = ask.judge(View { own: &slot.log, pool: None }, known, None);
        let both = ask.judge(View { own: &slot.log, pool: Some(&pool.log) }, known, None);
        if pool.blocked_until > ask.now {
            return both.refuse(Refusal::Blocked, ask.now, pool.blocked_until - ask.now);
        }
        // Neighbours may fill the windows of a client, but not have it blocked.
        if let Some(refused) = refuse(slot, &both, own.hard, ask) {
            return refused;
        }
        if self.make_room(shard, number, ask) {
            record(shard.slot_mut(number), ask);
            return both.admit(ask.ticket(), ask.span(both.window));
        }
        let slot = shard.slot_mut(number);
        let view = View { own: &slot.log, pool: Some(&pool.log) };
        let both = ask.judge(view, known, Some(pool.room(ask.cost, ask.now)));
        if !both.fits() {
            return both.refuse(both.refusal(), ask.now, 0);
        }
        slot.set_spilled(true);
        self.record_in_pool(&mut pool, ask);
        both.admit(ask.ticket(), ask.span(both.window))
    }

    /// Decides for a key that finds no slot, as if its neighbourhood were one client.
    fn ask_neighbourhood(&self, ask: &Ask<'_>) -> Decision {
        self.spilled.fetch_add(1, Ordering::Relaxed);
        let mut pool = self.spill.of(ask.key);
        pool.follow_clock(ask.now);
        let ask = &ask.not_before(&pool.log);
        let empty = Log::new();
        let view = View { own: &empty, pool: Some(&pool.log) };
        let judgement = ask.judge(view, Known::default(), Some(pool.room(ask.cost, ask.now)));
        if pool.blocked_until > ask.now {
            return judgement.refuse(Refusal::Blocked, ask.now, pool.blocked_until - ask.now);
        }
        if !judgement.fits() {
            // It is not known who of them exceeds it, so none is blocked.
            return judgement.refuse(judgement.refusal(), ask.now, 0);
        }
        self.record_in_pool(&mut pool, ask);
        judgement.admit(ask.ticket(), ask.span(judgement.window))
    }

    fn record_in_pool(&self, pool: &mut spill::Pool, ask: &Ask<'_>) {
        pool.add(ask.now, ask.cost, ask.pending(), ask.longest());
        self.spill.note(ask.now + ask.longest());
    }

    /// Makes room in the key's own log, if there are bytes for it.
    fn make_room(&self, shard: &mut Shard, number: u16, ask: &Ask<'_>) -> bool {
        let (cost, most, floor) = (ask.cost as usize, ask.most(), ask.floor());
        shard.slot_mut(number).make_room(cost, most, floor, &self.budget)
            || (shard.reclaim_for(number, ask.now, &self.budget)
                && shard.slot_mut(number).make_room(cost, most, floor, &self.budget))
    }
}

/// Adds the units. There is room.
fn record(slot: &mut Slot, ask: &Ask<'_>) {
    for _ in 0..ask.cost {
        slot.log.insert(ask.now, ask.pending());
    }
}

/// The refusal, if it is one; a block begins if `guilty`.
fn refuse(slot: &mut Slot, judgement: &Judgement, guilty: bool, ask: &Ask<'_>) -> Option<Decision> {
    if slot.blocked_until > ask.now {
        return Some(judgement.refuse(Refusal::Blocked, ask.now, slot.blocked_until - ask.now));
    }
    if ask.alone.is_some() && slot.refused_until > ask.now && ask.cost >= slot.refused_cost() {
        // Whatever the cause was: nobody can say any more that it is gone.
        return Some(judgement.refuse(Refusal::Exceeded, ask.now, slot.refused_until - ask.now));
    }
    if judgement.fits() {
        return None;
    }
    Some(match ask.rule.block() {
        Some(block) if guilty => {
            let length = micros(block);
            slot.blocked_until = ask.now + length;
            judgement.refuse(Refusal::BlockedNow, ask.now, length)
        }
        _ => judgement.refuse(judgement.refusal(), ask.now, 0),
    })
}
