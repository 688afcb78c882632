//! The admissions of one key in order of time: four in place, more in a ring on the heap. Knows no rule, and does not
//! count its bytes; who makes it larger does.

use std::iter;

/// Units held without memory of their own.
pub(crate) const INLINE: usize = 4;
/// Most units of one log. Twice the largest limit: while Redis is lost, what was admitted in one window before that is
/// kept beside what is admitted after.
pub(crate) const MAX_UNITS: usize = 2 * crate::MAX_LIMIT as usize;
/// Counted for a ring on the heap in addition to its words, for what the allocator keeps beside it, in bytes.
const RING_OVERHEAD: u64 = 16;

/// One unit: twice its time in microseconds, plus one while it is pending.
type Word = u64;

/// Units in order of time, each with its time in microseconds and a mark while it is pending.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// Oldest first.
    Inline { len: u8, pending: u8, words: [Word; INLINE] },
    /// Oldest at `head`.
    Ring { head: u16, len: u16, pending: u16, words: Box<[Word]> },
}

const fn word(at: u64, pending: bool) -> Word {
    (at << 1) | pending as u64
}

const fn at(word: Word) -> u64 {
    word >> 1
}

const fn is_pending(word: Word) -> bool {
    word & 1 == 1
}

fn small(value: usize) -> u16 {
    u16::try_from(value).expect("a log holds at most MAX_UNITS, which is below 2^16")
}

/// Bytes of a ring for so many units.
pub(crate) const fn ring_bytes(units: usize) -> u64 {
    if units <= INLINE { 0 } else { units as u64 * size_of::<Word>() as u64 + RING_OVERHEAD }
}

impl Log {
    /// Empty, without memory of its own.
    pub(crate) const fn new() -> Self {
        Self::Inline { len: 0, pending: 0, words: [0; INLINE] }
    }

    /// Empty, with room for so many units.
    pub(crate) fn with_capacity(units: usize) -> Self {
        let mut log = Self::new();
        log.resize(units);
        log
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline { len, .. } => usize::from(*len),
            Self::Ring { len, .. } => usize::from(*len),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Inline { .. } => INLINE,
            Self::Ring { words, .. } => words.len(),
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Inline { .. } => 0,
            Self::Ring { words, .. } => ring_bytes(words.len()),
        }
    }

    fn pending(&self) -> usize {
        match self {
            Self::Inline { pending, .. } => usize::from(*pending),
            Self::Ring { pending, .. } => usize::from(*pending),
        }
    }

    /// Position in memory of the unit with this rank, the oldest being 0.
    fn place(&self, rank: usize) -> usize {
        match self {
            Self::Inline { .. } => rank,
            Self::Ring { head, words, .. } => {
                let place = usize::from(*head) + rank;
                if place < words.len() { place } else { place - words.len() }
            }
        }
    }

    fn get(&self, rank: usize) -> Word {
        let place = self.place(rank);
        match self {
            Self::Inline { words, .. } => words[place],
            Self::Ring { words, .. } => words[place],
        }
    }

    fn set(&mut self, rank: usize, value: Word) {
        let place = self.place(rank);
        match self {
            Self::Inline { words, .. } => words[place] = value,
            Self::Ring { words, .. } => words[place] = value,
        }
    }

    fn set_counts(&mut self, new_len: usize, new_pending: usize) {
        match self {
            Self::Inline { len, pending, .. } => {
                *len = u8::try_from(new_len).expect("at most INLINE");
                *pending = u8::try_from(new_pending).expect("at most INLINE");
            }
            Self::Ring { len, pending, .. } => {
                *len = small(new_len);
                *pending = small(new_pending);
            }
        }
    }

    /// Time of the `n`th newest unit, the newest being the first.
    pub(crate) fn nth_newest(&self, n: usize) -> Option<u64> {
        (n > 0 && n <= self.len()).then(|| at(self.get(self.len() - n)))
    }

    pub(crate) fn newest(&self) -> Option<u64> {
        self.nth_newest(1)
    }

    /// Units later than `floor`; all without one.
    pub(crate) fn after(&self, floor: Option<u64>) -> usize {
        self.len() - floor.map_or(0, |floor| self.rank(|time| time <= floor))
    }

    /// Whether one of the units later than `floor` is pending.
    pub(crate) fn pending_after(&self, floor: Option<u64>) -> bool {
        self.pending() > 0
            && (self.len() - self.after(floor)..self.len()).any(|rank| is_pending(self.get(rank)))
    }

    /// Units, the oldest, for which `before` holds; it must hold for none after one for which it does not.
    ///
    /// Mostly that ends near one of the ends: few units have left the longest window, and few are in a short one. So they
    /// are looked for there first, with steps that double: to halve a long log touches many more lines of memory.
    fn rank(&self, before: impl Fn(u64) -> bool) -> usize {
        let is_before = |rank: usize| before(at(self.get(rank)));
        let (mut low, mut high, mut step) = (0, self.len(), 1);
        while low < high {
            let old = (low + step).min(high) - 1;
            if !is_before(old) {
                high = old;
                break;
            }
            low = old + 1;
            let new = high.saturating_sub(step).max(low);
            if new < high && is_before(new) {
                low = new + 1;
                break;
            }
            high = new;
            step *= 2;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Times, and whether pending, from the oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, bool)> + '_ {
        (0..self.len()).map(|rank| self.get(rank)).map(|word| (at(word), is_pending(word)))
    }

    /// Times from the newest.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).rev().map(|rank| at(self.get(rank)))
    }

    /// Adds a unit where its time belongs. There must be room.
    pub(crate) fn insert(&mut self, time: u64, pending: bool) {
        let len = self.len();
        debug_assert!(len < self.capacity(), "room is made before");
        self.set_counts(len + 1, self.pending() + usize::from(pending));
        let mut rank = len;
        while rank > 0 && at(self.get(rank - 1)) > time {
            self.set(rank, self.get(rank - 1));
            rank -= 1;
        }
        self.set(rank, word(time, pending));
    }

    /// Forgets the oldest units.
    pub(crate) fn drop_oldest(&mut self, units: usize) {
        let units = units.min(self.len());
        let pending = if self.pending() == 0 {
            0
        } else {
            (0..units).filter(|rank| is_pending(self.get(*rank))).count()
        };
        let (len, pending) = (self.len() - units, self.pending() - pending);
        match self {
            Self::Inline { words, .. } => words.copy_within(units.., 0),
            Self::Ring { .. } => {
                let first = self.place(units);
                if let Self::Ring { head, words, .. } = self {
                    *head = small(if first == words.len() { 0 } else { first });
                }
            }
        }
        self.set_counts(len, pending);
    }

    /// Ranks of the units of this very time.
    fn ranks_at(&self, time: u64) -> std::ops::Range<usize> {
        self.rank(|other| other < time)..self.rank(|other| other <= time)
    }

    /// Removes up to `units` units of this time, pending ones first. How many there were.
    pub(crate) fn remove(&mut self, time: u64, units: usize) -> usize {
        let range = self.ranks_at(time);
        let units = units.min(range.len());
        if units == 0 {
            return 0;
        }
        let were_pending = range.clone().filter(|rank| is_pending(self.get(*rank))).count();
        let still_pending = were_pending.saturating_sub(units);
        for (nth, rank) in (range.start..range.end - units).enumerate() {
            self.set(rank, word(time, nth < still_pending));
        }
        for rank in range.end..self.len() {
            self.set(rank - units, self.get(rank));
        }
        self.set_counts(self.len() - units, self.pending() - (were_pending - still_pending));
        units
    }

    /// Up to `units` pending units of this time are pending no more. How many there were.
    pub(crate) fn settle(&mut self, time: u64, units: usize) -> usize {
        let mut settled = 0;
        for rank in self.ranks_at(time) {
            if settled < units && is_pending(self.get(rank)) {
                self.set(rank, word(time, false));
                settled += 1;
            }
        }
        self.set_counts(self.len(), self.pending() - settled);
        settled
    }

    /// Moves all units in time, by microseconds, none before the origin.
    pub(crate) fn shift(&mut self, by: i64) {
        for rank in 0..self.len() {
            let old = self.get(rank);
            self.set(rank, word(at(old).saturating_add_signed(by), is_pending(old)));
        }
    }

    /// The same units with room for `units`, which must not be fewer than there are.
    pub(crate) fn resize(&mut self, units: usize) {
        debug_assert!(units >= self.len() && units <= MAX_UNITS, "a size that fits");
        let (len, pending) = (self.len(), self.pending());
        let words = (0..len).map(|rank| self.get(rank));
        *self = if units <= INLINE {
            let mut inline = [0; INLINE];
            for (place, value) in inline.iter_mut().zip(words) {
                *place = value;
            }
            Self::Inline { len: 0, pending: 0, words: inline }
        } else {
            let words = words.chain(iter::repeat_n(0, units - len)).collect();
            Self::Ring { head: 0, len: 0, pending: 0, words }
        };
        self.set_counts(len, pending);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64, bool),
        Drop(usize),
        Remove(u64, usize),
        Settle(u64, usize),
        Resize(usize),
        Shift(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..40_u64, any::<bool>()).prop_map(|(at, pending)| Step::Insert(at, pending)),
            1 => (0..4_usize).prop_map(Step::Drop),
            1 => (0..40_u64, 0..4_usize).prop_map(|(at, units)| Step::Remove(at, units)),
            1 => (0..40_u64, 0..4_usize).prop_map(|(at, units)| Step::Settle(at, units)),
            1 => (0..30_usize).prop_map(Step::Resize),
            1 => (-9..9_i64).prop_map(Step::Shift),
        ]
    }

    /// What every query must say, from a plain list. Marks at one time may stand in any order.
    fn same(log: &Log, model: &[(u64, bool)]) {
        let mut units: Vec<_> = log.iter().collect();
        assert!(units.is_sorted_by_key(|unit| unit.0));
        units.sort_unstable();
        assert_eq!(units, model);
        for floor in (0..60).map(Some).chain([None]) {
            let later = || model.iter().filter(|unit| floor.is_none_or(|floor| unit.0 > floor));
            assert_eq!(log.after(floor), later().count());
            assert_eq!(log.pending_after(floor), later().any(|unit| unit.1));
        }
        for n in 0..=model.len() + 1 {
            let expected = (n > 0 && n <= model.len()).then(|| model[model.len() - n].0);
            assert_eq!(log.nth_newest(n), expected);
        }
        assert!(log.newest_first().eq(model.iter().rev().map(|unit| unit.0)));
    }

    proptest! {
        #[test]
        fn units_after_a_time_are_counted_in_logs_of_all_lengths(mut times in vec(0..500_u64, 0..700), floor in 0..520_u64) {
            times.sort_unstable();
            let mut log = Log::with_capacity(times.len());
            for time in &times {
                log.insert(*time, false);
            }
            prop_assert_eq!(log.after(Some(floor)), times.iter().filter(|time| **time > floor).count());
        }

        #[test]
        fn a_log_is_a_sorted_list(steps in vec(step(), 0..80)) {
            let (mut log, mut model) = (Log::new(), Vec::<(u64, bool)>::new());
            for step in steps {
                match step {
                    Step::Insert(at, pending) => {
                        if log.len() == log.capacity() {
                            log.resize(log.len() * 2);
                        }
                        log.insert(at, pending);
                        model.push((at, pending));
                    }
                    Step::Drop(units) => {
                        // Which of several marks at one time goes first is not defined; the log says.
                        let kept: Vec<_> = log.iter().skip(units).collect();
                        log.drop_oldest(units);
                        model = kept;
                    }
                    Step::Remove(time, units) => {
                        let mut left = units;
                        for pending in [true, false] {
                            model.retain(|unit| {
                                let gone = left > 0 && *unit == (time, pending);
                                left -= usize::from(gone);
                                !gone
                            });
                        }
                        assert_eq!(log.remove(time, units), units - left);
                    }
                    Step::Settle(time, units) => {
                        let pending = model.iter_mut().filter(|unit| **unit == (time, true));
                        let settled = pending.take(units).map(|unit| unit.1 = false).count();
                        assert_eq!(log.settle(time, units), settled);
                    }
                    Step::Resize(units) => log.resize(units.max(log.len())),
                    Step::Shift(by) => {
                        log.shift(by);
                        for unit in &mut model {
                            unit.0 = unit.0.saturating_add_signed(by);
                        }
                    }
                }
                model.sort_unstable();
                same(&log, &model);
            }
        }
    }
}
