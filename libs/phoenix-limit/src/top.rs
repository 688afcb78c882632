//! Which labels occur most, in a fixed number of counters: Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient
//! computation of frequent and top-k elements in data streams", 2005). Knows nothing of limits.

/// Most bytes of a label that are kept; a longer one is cut at a character.
pub const MAX_LABEL_BYTES: usize = 64;
/// Most counters.
pub const MAX_COUNTERS: usize = 1_024;

/// A label, and how often it occurred.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// At most [`MAX_LABEL_BYTES`].
    pub label: String,
    /// At most so often.
    pub most: u64,
    /// At least so often.
    pub least: u64,
}

/// The labels that occur most. With `k` counters, of `n` occurrences, every label that occurred more often than `n / k`
/// times is among them, and each is over-counted by at most `n / k`.
#[derive(Clone, Debug)]
pub struct Top {
    counters: Vec<Counter>,
    most: usize,
}

#[derive(Clone, Debug)]
struct Counter {
    label: String,
    count: u64,
    /// What others had counted before in this counter.
    inherited: u64,
}

impl Top {
    /// With so many counters, from 1 to [`MAX_COUNTERS`].
    #[must_use]
    pub fn new(counters: usize) -> Self {
        let most = counters.clamp(1, MAX_COUNTERS);
        Self { counters: Vec::with_capacity(most), most }
    }

    /// It occurred once more. Looks at every counter.
    pub fn count(&mut self, label: &str) {
        let label = &label[..label.floor_char_boundary(MAX_LABEL_BYTES)];
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.label == label) {
            counter.count += 1;
        } else if self.counters.len() < self.most {
            self.counters.push(Counter { label: label.to_owned(), count: 1, inherited: 0 });
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            label.clone_into(&mut least.label);
            least.inherited = least.count;
            least.count += 1;
        }
    }

    /// The first `most` of them, the most frequent first.
    #[must_use]
    pub fn list(&self, most: usize) -> Vec<Count> {
        let mut counts: Vec<_> = self
            .counters
            .iter()
            .map(|counter| Count {
                label: counter.label.clone(),
                most: counter.count,
                least: counter.count - counter.inherited,
            })
            .collect();
        counts.sort_by(|one, other| other.most.cmp(&one.most).then_with(|| one.label.cmp(&other.label)));
        counts.truncate(most);
        counts
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counters.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The guarantees of the paper, against exact counts.
        #[test]
        fn what_is_frequent_is_found_and_counted_closely(
            occurrences in vec((0..40_u32, 0..40_u32).prop_map(|(one, other)| one.min(other)), 0..800),
            counters in 1..20_usize,
        ) {
            let (mut top, mut exact) = (Top::new(counters), HashMap::<String, u64>::new());
            for occurrence in &occurrences {
                let label = format!("client {occurrence}");
                top.count(&label);
                *exact.entry(label).or_default() += 1;
            }
            let slack = occurrences.len() as u64 / counters as u64;
            let list = top.list(MAX_COUNTERS);
            prop_assert!(list.len() <= counters);
            prop_assert!(list.is_sorted_by(|one, other| one.most >= other.most));
            prop_assert_eq!(list.iter().map(|count| count.most).sum::<u64>(), occurrences.len() as u64);
            for count in &list {
                let true_count = exact[&count.label];
                prop_assert!(count.least <= true_count && true_count <= count.most);
                prop_assert!(count.most - count.least <= slack);
            }
            for (label, true_count) in exact {
                prop_assert!(true_count <= slack || list.iter().any(|count| count.label == label));
            }
        }
    }

    #[test]
    fn labels_are_bounded_and_cut_at_a_character() {
        let mut top = Top::new(0);
        top.count(&"ä".repeat(1_000));
        top.count(&format!("{}x", "ä".repeat(32)));
        assert_eq!(top.list(9), [Count { label: "ä".repeat(32), most: 2, least: 2 }]);
        assert!(top.list(0).is_empty());
        top.clear();
        assert!(top.list(9).is_empty());
    }
}
