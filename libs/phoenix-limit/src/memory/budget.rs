//! Bytes that grow with use: who may have how many. Holds none of them.

use std::sync::{Mutex, PoisonError};

/// What bytes are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Slots, a fixed size for each key.
    Slots,
    /// Logs of keys that were admitted more often than a slot holds.
    Logs,
}

/// Never gives out more than `total`, and to neither purpose what the other is promised.
#[derive(Debug)]
pub(super) struct Budget {
    total: u64,
    most_slots: u64,
    most_logs: u64,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Used {
    slots: u64,
    logs: u64,
}

impl Used {
    const fn of(&mut self, purpose: Purpose) -> &mut u64 {
        match purpose {
            Purpose::Slots => &mut self.slots,
            Purpose::Logs => &mut self.logs,
        }
    }
}

impl Budget {
    /// Slots get at most `most_slots` of `total` bytes, logs at most `most_logs`.
    pub(super) fn new(total: u64, most_slots: u64, most_logs: u64) -> Self {
        Self { total, most_slots, most_logs, used: Mutex::default() }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes, if they may be had.
    pub(super) fn take(&self, purpose: Purpose, bytes: u64) -> bool {
        let mut used = self.used();
        let most = match purpose {
            Purpose::Slots => self.most_slots,
            Purpose::Logs => self.most_logs,
        };
        let fits = *used.of(purpose) + bytes <= most && used.slots + used.logs + bytes <= self.total;
        if fits {
            *used.of(purpose) += bytes;
        }
        fits
    }

    /// Gives back bytes that were taken.
    pub(super) fn give(&self, purpose: Purpose, bytes: u64) {
        if bytes > 0 {
            let mut used = self.used();
            let of = used.of(purpose);
            debug_assert!(*of >= bytes, "only what was taken is given back");
            *of = of.saturating_sub(bytes);
        }
    }

    /// Bytes given out.
    pub(super) fn in_use(&self) -> u64 {
        let used = self.used();
        used.slots + used.logs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_purpose_takes_what_the_other_is_promised() {
        let budget = Budget::new(100, 80, 50);
        assert!(!budget.take(Purpose::Logs, 51));
        assert!(budget.take(Purpose::Logs, 50));
        assert!(!budget.take(Purpose::Logs, 1));
        assert!(!budget.take(Purpose::Slots, 51), "above the total");
        assert!(budget.take(Purpose::Slots, 50));
        budget.give(Purpose::Logs, 50);
        assert!(!budget.take(Purpose::Slots, 31), "above the share of slots");
        assert!(budget.take(Purpose::Slots, 30));
        assert_eq!(budget.in_use(), 80);
    }
}
