//! What a node remembers of limits that are kept in Redis: its own admissions, what Redis refuses, what may be admitted
//! without asking. Talks to nobody. Times are of Redis' clock, as estimated.

use std::time::Duration;

use crate::key::Key;
use crate::memory::ask::Ask;
use crate::memory::slot::Slot;
use crate::memory::{Memory, lock};
use crate::room::micros;
use crate::{Decision, Mode, Refusal, Rule, Verdict};

/// Most slots looked at for one page.
const PAGE_SLOTS: usize = 1_024;
/// A page ends after the key with which it holds this many stamps.
const PAGE_STAMPS: usize = 4_096;

/// An admission of this node: one unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Microseconds.
    pub at: u64,
    /// Neither confirmed nor taken back.
    pub pending: bool,
}

/// What a node itself knows of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// Whose.
    pub key: Key,
    /// Admissions that still count in its longest window, oldest first.
    pub stamps: Vec<Stamp>,
    /// When its block ends, if it is blocked.
    pub blocked_until: Option<Duration>,
    /// The longest window of its rule.
    pub span: Duration,
}

/// Where the next page begins. The first one is the default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cursor {
    shard: usize,
    slot: usize,
}

/// Some keys, and where to go on; without that it was the last page.
pub type Page = (Option<Cursor>, Vec<Own>);

impl Memory {
    /// Records an admission that Redis made through this node at `at`, and what Redis lets the node admit without asking.
    /// `None` leaves that as it was: until all nodes have told Redis what they admitted while they could not ask it, Redis
    /// does not know what is left.
    #[expect(clippy::too_many_arguments, reason = "the request, and what Redis said about it")]
    pub fn note_admitted(
        &self,
        key: Key,
        rule: &Rule,
        at: Duration,
        cost: u32,
        mode: Mode,
        escrow: Option<u32>,
        now: Duration,
    ) {
        let (now, cost) = (micros(now), Ask::units(cost));
        let ask = Ask { key, rule, cost, mode, now: micros(at), alone: None };
        let mut shard = self.shard(key);
        if let Some(number) = self.enter(&mut shard, key, now, rule.longest().span) {
            let slot = shard.slot_mut(number);
            slot.follow_clock(now);
            slot.set_span(rule.longest().span);
            if let Some(escrow) = escrow {
                slot.escrow = u16::try_from(escrow).unwrap_or(u16::MAX);
            }
            slot.refused_until = 0;
            if self.make_room(&mut shard, number, &ask) {
                super::record(shard.slot_mut(number), &ask);
                return;
            }
            shard.slot_mut(number).set_spilled(true);
        }
        let mut pool = self.spill.of(key);
        pool.follow_clock(now);
        self.record_in_pool(&mut pool, &ask);
    }

    /// Records that Redis refuses requests of this cost until then, because of the window with this position. To be asked
    /// with [`Self::refused`]. Without memory for the key it is forgotten.
    #[expect(clippy::too_many_arguments, reason = "the request, and what Redis said about it")]
    pub fn note_refused(
        &self,
        key: Key,
        rule: &Rule,
        cost: u32,
        until: Duration,
        refusal: Refusal,
        window: usize,
        now: Duration,
    ) {
        let mut shard = self.shard(key);
        let Some(number) = self.enter(&mut shard, key, micros(now), rule.longest().span) else { return };
        let slot = shard.slot_mut(number);
        slot.set_span(rule.longest().span);
        slot.escrow = 0;
        match refusal {
            Refusal::Exceeded | Refusal::Reserved => {
                slot.set_refused(micros(until), Ask::units(cost), window, refusal == Refusal::Reserved);
            }
            Refusal::Blocked | Refusal::BlockedNow => slot.blocked_until = micros(until),
        }
    }

    /// The refusal, if this node knows that the request is refused. Reads one slot.
    pub fn refused(&self, key: Key, rule: &Rule, cost: u32, now: Duration) -> Option<Decision> {
        let (now, cost) = (micros(now), Ask::units(cost));
        let shard = self.shard(key);
        let slot = shard.slot(shard.find(key)?);
        let full = slot.refused_until > now && cost >= slot.refused_cost();
        let until = if full { slot.refused_until.max(slot.blocked_until) } else { slot.blocked_until };
        let wait = Duration::from_micros(until.checked_sub(now).filter(|wait| *wait > 0)?);
        let refusal = if slot.blocked_until > now { Refusal::Blocked } else { slot.refusal() };
        Some(Decision {
            verdict: Verdict::Refused(refusal),
            window: slot.refused_window().min(rule.windows().len() - 1),
            remaining: 0,
            reset_after: wait,
            retry_after: wait,
            at: now,
        })
    }

    /// The node may admit at most this much without asking, from now on.
    pub fn lower_escrow(&self, key: Key, escrow: u32) {
        let mut shard = self.shard(key);
        if let Some(number) = shard.find(key) {
            let slot = shard.slot_mut(number);
            slot.escrow = slot.escrow.min(u16::try_from(escrow).unwrap_or(u16::MAX));
        }
    }

    /// For keys that are `of` the part of Redis that decides again: the node may admit nothing without asking, because what
    /// was granted before the loss has been used, here or elsewhere, and a Redis that came back empty does not know of it.
    /// To be called when Redis alone decides again. Reads every slot.
    pub fn revoke_escrows(&self, of: impl Fn(Key) -> bool) {
        for shard in &self.shards {
            lock(shard).all_mut().filter(|slot| of(slot.key())).for_each(|slot| slot.escrow = 0);
        }
    }

    /// What this node itself admitted and still counts, and its blocks, a page at a time: at most 1,024 slots are looked
    /// at, and a page ends after the key with which it holds 4,096 stamps. What is in logs that neighbours share is not
    /// told: it belongs to no key. Keys that come meanwhile may be missed.
    pub fn own_entries(&self, cursor: Cursor, now: Duration) -> Page {
        let now = micros(now);
        let Some(shard) = self.shards.get(cursor.shard) else { return (None, Vec::new()) };
        let shard = lock(shard);
        let (mut page, mut stamps) = (Vec::new(), 0);
        let end = (cursor.slot + PAGE_SLOTS).min(shard.slots());
        let mut next = end;
        for (number, slot) in shard.from(cursor.slot).take_while(|(number, _)| *number < end) {
            if let Some(own) = own(slot, now) {
                stamps += own.stamps.len();
                page.push(own);
            }
            if stamps >= PAGE_STAMPS {
                next = number + 1;
                break;
            }
        }
        let cursor = if next < shard.slots() {
            Some(Cursor { slot: next, ..cursor })
        } else {
            (cursor.shard + 1 < self.shards.len()).then_some(Cursor { shard: cursor.shard + 1, slot: 0 })
        };
        (cursor, page)
    }

    /// The estimate of Redis' clock was wrong by this many microseconds: moves everything in time. Tickets given before
    /// name nothing after it. Reads and writes every slot.
    pub fn shift(&self, by: i64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.all_mut().for_each(|slot| slot.shift(by));
            shard.stir();
        }
        self.spill.shift(by);
    }
}

fn own(slot: &Slot, now: u64) -> Option<Own> {
    let floor = now.checked_sub(slot.span());
    let old = slot.log.len() - slot.log.after(floor);
    let own = Own {
        key: slot.key(),
        stamps: slot.log.iter().skip(old).map(|(at, pending)| Stamp { at, pending }).collect(),
        blocked_until: (slot.blocked_until > now).then(|| Duration::from_micros(slot.blocked_until)),
        span: Duration::from_micros(slot.span()),
    };
    (!own.stamps.is_empty() || own.blocked_until.is_some()).then_some(own)
}
