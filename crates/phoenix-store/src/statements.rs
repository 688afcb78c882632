//! The table of statements: each has a name, and is counted and timed under it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What became of one statement since the store was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatementStats {
    /// Name of the statement, the same in both databases.
    pub name: &'static str,
    /// How often it ran, failures included.
    pub count: u64,
    /// How often it failed.
    pub errors: u64,
    /// Time spent in it.
    pub total: Duration,
    /// Longest time spent in one run.
    pub longest: Duration,
}

/// Declares the statements of one database as an enum `Sql` with their names and texts.
macro_rules! statements {
    ($($variant:ident $name:literal = $text:expr;)+) => {
        /// A statement.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Sql { $(
            $variant,
        )+ }

        impl Sql {
            /// Every statement, in the order of their numbers.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),+];

            /// Name, for logs and metrics.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Text.
            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}
pub(crate) use statements;

/// Counters of every statement of one store.
#[derive(Debug)]
pub(crate) struct StatementCounters {
    lines: Box<[Line]>,
    log: bool,
}

#[derive(Debug)]
struct Line {
    name: &'static str,
    count: AtomicU64,
    errors: AtomicU64,
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl StatementCounters {
    /// One line for each name. `log`: write every run to the log at level debug.
    pub(crate) fn new(names: impl Iterator<Item = &'static str>, log: bool) -> Self {
        let line = |name| Line {
            name,
            count: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            total_ns: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        };
        Self { lines: names.map(line).collect(), log }
    }

    /// Counts one run of statement number `index`.
    pub(crate) fn record(&self, index: usize, elapsed: Duration, failed: bool) {
        let Some(line) = self.lines.get(index) else { return };
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        line.count.fetch_add(1, Ordering::Relaxed);
        line.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        line.total_ns.fetch_add(nanos, Ordering::Relaxed);
        line.longest_ns.fetch_max(nanos, Ordering::Relaxed);
        if self.log {
            tracing::debug!(statement = line.name, elapsed_us = nanos / 1000, failed, "statement");
        }
    }

    /// All lines.
    pub(crate) fn stats(&self) -> Vec<StatementStats> {
        let read = |line: &Line| StatementStats {
            name: line.name,
            count: line.count.load(Ordering::Relaxed),
            errors: line.errors.load(Ordering::Relaxed),
            total: Duration::from_nanos(line.total_ns.load(Ordering::Relaxed)),
            longest: Duration::from_nanos(line.longest_ns.load(Ordering::Relaxed)),
        };
        self.lines.iter().map(read).collect()
    }
}
