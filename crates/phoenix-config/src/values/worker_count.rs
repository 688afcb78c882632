//! A number of threads, which may be left to the machine.

use std::num::NonZeroUsize;

/// How many threads do a job. Written as a number; 0 leaves it to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerCount {
    /// As many as suit the number of cores; the setting says which number that is.
    Automatic,
    /// Exactly so many.
    Exactly(NonZeroUsize),
}

impl WorkerCount {
    /// The number of threads, given what suits this machine.
    #[must_use]
    pub fn or_automatic(self, suits_machine: NonZeroUsize) -> NonZeroUsize {
        match self {
            Self::Automatic => suits_machine,
            Self::Exactly(count) => count,
        }
    }

    pub(crate) fn from_number(count: usize) -> Self {
        NonZeroUsize::new(count).map_or(Self::Automatic, Self::Exactly)
    }

    pub(crate) fn number(self) -> usize {
        match self {
            Self::Automatic => 0,
            Self::Exactly(count) => count.get(),
        }
    }
}
