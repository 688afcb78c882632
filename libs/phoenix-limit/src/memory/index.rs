//! Finds the slot of a name: open addressing with linear probing in an array that never grows. Does not see the slots.
//!
//! A bucket holds 16 bits of the name's hash, which decide its first position and tell most other names apart, and the
//! number of a slot. So a look-up reads one slot, and a removal none.

/// Most slots that one index can tell apart.
pub(super) const MAX_SLOTS: usize = u16::MAX as usize;

const EMPTY: u32 = u32::MAX;

/// Buckets, a third more than slots.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Box<[u32]>,
}

const fn pack(tag: u16, slot: u16) -> u32 {
    (tag as u32) << 16 | slot as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves")]
const fn unpack(bucket: u32) -> (u16, u16) {
    ((bucket >> 16) as u16, bucket as u16)
}

/// Buckets for so many slots.
pub(super) const fn buckets(slots: usize) -> usize {
    slots + slots / 3 + 1
}

impl Index {
    /// For at most `slots` slots, at most [`MAX_SLOTS`].
    pub(super) fn new(slots: usize) -> Self {
        debug_assert!(slots <= MAX_SLOTS, "slot numbers have 16 bits and one number means empty");
        Self { buckets: vec![EMPTY; buckets(slots)].into_boxed_slice() }
    }

    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.buckets.len()) >> 16
    }

    const fn next(&self, place: usize) -> usize {
        if place + 1 == self.buckets.len() { 0 } else { place + 1 }
    }

    /// The slot with this tag for which `is` holds.
    pub(super) fn find(&self, tag: u16, is: impl Fn(u16) -> bool) -> Option<u16> {
        let mut place = self.home(tag);
        while self.buckets[place] != EMPTY {
            let (other, slot) = unpack(self.buckets[place]);
            if other == tag && is(slot) {
                return Some(slot);
            }
            place = self.next(place);
        }
        None
    }

    /// Adds a slot that is not in it. There are more buckets than slots, so there is room.
    pub(super) fn insert(&mut self, tag: u16, slot: u16) {
        let mut place = self.home(tag);
        while self.buckets[place] != EMPTY {
            place = self.next(place);
        }
        self.buckets[place] = pack(tag, slot);
    }

    /// Removes a slot, and closes the gap, so that there are no tombstones to clean up.
    pub(super) fn remove(&mut self, tag: u16, slot: u16) {
        let mut gap = self.home(tag);
        while self.buckets[gap] != pack(tag, slot) {
            if self.buckets[gap] == EMPTY {
                return;
            }
            gap = self.next(gap);
        }
        let mut place = self.next(gap);
        while self.buckets[place] != EMPTY {
            let home = self.home(unpack(self.buckets[place]).0);
            // It may move into the gap if that lies between its home and where it is, around the end.
            let (from_home, from_gap) = (self.distance(home, place), self.distance(gap, place));
            if from_home >= from_gap {
                self.buckets[gap] = self.buckets[place];
                gap = place;
            }
            place = self.next(place);
        }
        self.buckets[gap] = EMPTY;
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }

    /// Forgets all slots.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags, so that they run into each other and around the end.
        #[test]
        fn an_index_is_a_map(steps in vec((0..24_u16, any::<u16>(), any::<bool>()), 0..200)) {
            let mut index = Index::new(24);
            let mut model = HashMap::new();
            for (slot, tag, add) in steps {
                let tag = tag | 0xf000;
                if add && !model.contains_key(&slot) {
                    index.insert(tag, slot);
                    model.insert(slot, tag);
                } else if !add && let Some(tag) = model.remove(&slot) {
                    index.remove(tag, slot);
                    index.remove(tag, slot);
                }
                for slot in 0..24 {
                    let found = model.get(&slot).and_then(|tag| index.find(*tag, |other| other == slot));
                    assert_eq!(found, model.contains_key(&slot).then_some(slot));
                }
                assert_eq!(index.buckets.iter().filter(|bucket| **bucket != EMPTY).count(), model.len());
            }
        }
    }
}
