//! What became of the requests of a class, in numbers, and who is refused most.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use phoenix_limit::{Count, Top};

use super::subject::Subject;

/// Subjects of refusals that are told apart; of the rest the most frequent take the place of the least.
const REFUSED_SUBJECTS: usize = 128;

/// Counters of one class since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    admitted: AtomicU64,
    refused: AtomicU64,
    blocked: AtomicU64,
    observed: AtomicU64,
}

/// The same, read at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClassCounts {
    /// The class.
    pub class: String,
    /// Requests admitted.
    pub admitted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Blocks that began.
    pub blocked: u64,
    /// Requests that would have been refused, if the class did more than observe.
    pub observed: u64,
}

/// Who is refused most.
#[derive(Debug)]
pub(super) struct Refused(Mutex<(Top, String)>);

impl Refused {
    pub(super) fn new() -> Self {
        Self(Mutex::new((Top::new(REFUSED_SUBJECTS), String::new())))
    }

    /// Counts a refusal. Never waits, so in a flood some are not counted; allocates nothing.
    pub(super) fn note(&self, subject: &Subject) {
        let Ok(mut locked) = self.0.try_lock() else { return };
        let (top, label) = &mut *locked;
        label.clear();
        if write!(label, "{subject}").is_ok() {
            top.count(label);
        }
    }

    pub(super) fn list(&self, most: usize) -> Vec<Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.list(most)
    }
}

impl Counters {
    pub(crate) fn admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn blocked(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn observed(&self) {
        self.observed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, class: &str) -> ClassCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClassCounts {
            class: class.to_owned(),
            admitted: read(&self.admitted),
            refused: read(&self.refused),
            blocked: read(&self.blocked),
            observed: read(&self.observed),
        }
    }
}
