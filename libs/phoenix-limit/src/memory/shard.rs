//! A part of the keys: their slots, how they are found, and which are given up. Decides nothing about requests.

use crate::key::Key;
use crate::memory::budget::{Budget, Purpose};
use crate::memory::index::Index;
use crate::memory::slot::Slot;

/// Slots that get their memory together.
pub(super) const CHUNK: usize = 128;
/// Bytes of them.
pub(super) const CHUNK_BYTES: u64 = (CHUNK * size_of::<Slot>()) as u64;
/// Slots looked at for each new key, whether they are idle: more than one, so that all have been seen before as many
/// keys came as there are slots.
const STEPS: usize = 2;
/// Slots looked at for a new key, or a log that grows, when there is no memory left.
const STEPS_WHEN_FULL: usize = 64;

/// Slots in chunks, which come as they are needed and stay, and an index of fixed size.
#[derive(Debug)]
pub(super) struct Shard {
    index: Index,
    chunks: Vec<Vec<Slot>>,
    most_slots: usize,
    /// Slots with a key.
    used: usize,
    /// First of the vacant slots.
    vacant: Option<u16>,
    /// Where the search for idle slots goes on.
    hand: usize,
    /// Slots given up so far.
    reclaimed: u64,
    /// The search for idle slots once around.
    round: Round,
}

/// What a search has found out, so that a flood of new keys does not repeat it in vain.
#[derive(Clone, Copy, Default, Debug)]
struct Round {
    /// Slots looked at in it.
    seen: usize,
    /// The earliest time at which one of them is idle.
    earliest: u64,
    /// The last whole round found none that is idle before this time...
    quiet_until: u64,
    /// ...and ended at this one.
    quiet_from: u64,
}

impl Round {
    fn is_quiet(&self, now: u64) -> bool {
        // Before it ended: the clock stepped back, and the slots with it.
        self.quiet_from <= now && now < self.quiet_until
    }

    fn see(&mut self, idle_at: u64, slots: usize, now: u64) {
        self.earliest = if self.seen == 0 { idle_at } else { self.earliest.min(idle_at) };
        self.seen += 1;
        if self.seen >= slots {
            *self = Self { quiet_until: self.earliest, quiet_from: now, ..Self::default() };
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "16 of the bits that do not choose the shard")]
const fn tag(key: Key) -> u16 {
    key.name() as u16
}

impl Shard {
    /// At most this many slots, rounded up to chunks.
    pub(super) fn new(most_slots: usize) -> Self {
        let chunks = most_slots.div_ceil(CHUNK);
        let most_slots = chunks * CHUNK;
        let index = Index::new(most_slots);
        Self {
            index,
            chunks: Vec::with_capacity(chunks),
            most_slots,
            used: 0,
            vacant: None,
            hand: 0,
            reclaimed: 0,
            round: Round::default(),
        }
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }

    pub(super) const fn reclaimed(&self) -> u64 {
        self.reclaimed
    }

    pub(super) fn slot(&self, number: u16) -> &Slot {
        &self.chunks[usize::from(number) / CHUNK][usize::from(number) % CHUNK]
    }

    pub(super) fn slot_mut(&mut self, number: u16) -> &mut Slot {
        &mut self.chunks[usize::from(number) / CHUNK][usize::from(number) % CHUNK]
    }

    /// Slots that exist, vacant or not.
    pub(super) fn slots(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Slots with a key from the one with this number on.
    pub(super) fn from(&self, number: usize) -> impl Iterator<Item = (usize, &Slot)> {
        let chunks = self.chunks.iter().skip(number / CHUNK);
        let slots = chunks.flatten().skip(number % CHUNK);
        slots.enumerate().map(move |(nth, slot)| (number + nth, slot)).filter(|(_, slot)| !slot.is_vacant())
    }

    /// Slots with a key.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.chunks.iter_mut().flatten().filter(|slot| !slot.is_vacant())
    }

    /// The slot of a key.
    pub(super) fn find(&self, key: Key) -> Option<u16> {
        self.index.find(tag(key), |number| self.slot(number).is(key))
    }

    /// A new slot for a key that has none. None if all are in use and no idle one was found in a bounded search.
    pub(super) fn insert(&mut self, key: Key, now: u64, budget: &Budget) -> Option<u16> {
        self.reclaim(STEPS, now, budget);
        let number = self.take_vacant().or_else(|| self.append(key, budget)).or_else(|| {
            self.reclaim(STEPS_WHEN_FULL, now, budget);
            self.take_vacant()
        })?;
        *self.slot_mut(number) = Slot::new(key);
        self.stir();
        self.index.insert(tag(key), number);
        self.used += 1;
        Some(number)
    }

    fn take_vacant(&mut self) -> Option<u16> {
        let number = self.vacant?;
        self.vacant = self.slot(number).next_vacant();
        Some(number)
    }

    fn append(&mut self, key: Key, budget: &Budget) -> Option<u16> {
        let number = self.slots();
        if number >= self.most_slots {
            return None;
        }
        if number.is_multiple_of(CHUNK) {
            if !budget.take(Purpose::Slots, CHUNK_BYTES) {
                return None;
            }
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks.last_mut()?.push(Slot::new(key));
        u16::try_from(number).ok()
    }

    /// Looks at the next slots and gives up the idle ones. How many.
    pub(super) fn reclaim(&mut self, steps: usize, now: u64, budget: &Budget) -> usize {
        self.reclaim_but(None, steps, now, budget)
    }

    /// A slot may become idle sooner than the last search has found.
    pub(super) fn stir(&mut self) {
        self.round = Round::default();
    }

    fn reclaim_but(&mut self, kept: Option<u16>, steps: usize, now: u64, budget: &Budget) -> usize {
        if self.round.is_quiet(now) {
            return 0;
        }
        let mut given_up = 0;
        for _ in 0..steps.min(self.slots()) {
            self.hand = if self.hand + 1 < self.slots() { self.hand + 1 } else { 0 };
            let number = u16::try_from(self.hand).expect("a shard has fewer slots than 2^16");
            let slot = self.slot(number);
            let idle_at = if slot.is_vacant() { u64::MAX } else { slot.idle_at() };
            if idle_at <= now && Some(number) != kept {
                self.remove(number, budget);
                given_up += 1;
            } else {
                self.round.see(idle_at, self.slots(), now);
            }
        }
        self.reclaimed += given_up as u64;
        given_up
    }

    /// There is no memory for the log of this slot: looks for others that are idle and hold some. Whether it found any.
    pub(super) fn reclaim_for(&mut self, number: u16, now: u64, budget: &Budget) -> bool {
        self.reclaim_but(Some(number), STEPS_WHEN_FULL, now, budget) > 0
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, number: u16, budget: &Budget) {
        let key = self.slot(number).key();
        self.index.remove(tag(key), number);
        let next = self.vacant.replace(number);
        let log = self.slot_mut(number).vacate(next);
        self.stir();
        budget.give(Purpose::Logs, log.bytes());
        self.used -= 1;
    }

    /// Forgets all keys and gives back all memory.
    pub(super) fn clear(&mut self, budget: &Budget) {
        budget.give(Purpose::Logs, self.all_mut().map(|slot| slot.log.bytes()).sum());
        budget.give(Purpose::Slots, self.chunks.len() as u64 * CHUNK_BYTES);
        self.chunks.clear();
        self.index.clear();
        (self.used, self.vacant, self.hand, self.round) = (0, None, 0, Round::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keyer;

    #[test]
    fn idle_slots_are_given_up_but_not_the_one_that_needs_memory() {
        let (mut shard, budget) = (Shard::new(CHUNK), Budget::new(1 << 20, 1 << 20, 1 << 20));
        let keys = [1, 2, 3].map(|client: u8| Keyer::new([1; 16]).key("rule", &[&[client]], b""));
        let numbers = keys.map(|key| {
            let number = shard.insert(key, 0, &budget).expect("there is room");
            shard.slot_mut(number).blocked_until = 10;
            number
        });
        assert!(!shard.reclaim_for(numbers[1], 9, &budget), "all are blocked");
        assert_eq!(shard.used(), 3);
        assert!(shard.reclaim_for(numbers[1], 10, &budget));
        assert_eq!(keys.map(|key| shard.find(key)), [None, Some(numbers[1]), None]);
        assert_eq!((shard.used(), shard.reclaimed()), (1, 2));
    }

    #[test]
    fn a_search_in_vain_is_not_repeated_before_something_can_be_idle() {
        let budget = Budget::new(u64::MAX / 2, u64::MAX / 2, 0);
        let mut shard = Shard::new(CHUNK);
        let key = |name: usize| Key::from_parts(name as u128, 0);
        for name in 0..CHUNK {
            let number = shard.insert(key(name), 0, &budget).expect("there is room");
            shard.slot_mut(number).blocked_until = 100 + name as u64;
        }
        let searches = CHUNK.div_ceil(STEPS + STEPS_WHEN_FULL) + 1;
        assert!((0..searches).all(|_| shard.insert(key(CHUNK), 50, &budget).is_none()));
        assert!(shard.round.is_quiet(99) && !shard.round.is_quiet(100), "{:?}", shard.round);
        assert!(!shard.round.is_quiet(49), "the clock stepped back");
        let hand = shard.hand;
        assert!(shard.insert(key(CHUNK), 99, &budget).is_none());
        assert_eq!(shard.hand, hand, "nothing was looked at");
        assert!((0..searches).any(|_| shard.insert(key(CHUNK), 100, &budget).is_some()));
        assert!(!shard.round.is_quiet(100));
    }
}
