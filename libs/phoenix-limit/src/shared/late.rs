//! What this node admitted by itself while its memory was being copied into Redis, and that the copy may have missed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::call::Entries;
use crate::{Decision, Key, Mode, Refusal, Rule, Verdict};

/// Most admissions. When there are more, the copy starts anew.
const MOST: usize = 64 * 1024;

/// Admissions and blocks, oldest first.
#[derive(Debug, Default)]
pub(super) struct Late {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    is_over: bool,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    at: u64,
    cost: u32,
    pending: bool,
    span: Duration,
    block: Option<Duration>,
}

impl Late {
    /// A decision that this node made by itself.
    pub(super) fn add(&self, key: Key, rule: &Rule, mode: Mode, decision: &Decision) {
        let (cost, block) = match decision.verdict {
            Verdict::Admitted(ticket) => (ticket.cost, None),
            Verdict::Refused(Refusal::BlockedNow) => (0, Some(decision.retry_after)),
            Verdict::Refused(Refusal::Blocked | Refusal::Exceeded | Refusal::Reserved) => return,
        };
        let span = rule.longest().span;
        self.push(Entry { key, at: decision.at, cost, pending: mode == Mode::Reserve, span, block });
    }

    /// A block from outside at `at` on Redis' clock.
    pub(super) fn add_block(&self, key: Key, length: Duration, at: u64) {
        self.push(Entry { key, at, cost: 0, pending: false, span: Duration::ZERO, block: Some(length) });
    }

    fn push(&self, entry: Entry) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.entries.len() < MOST {
            list.entries.push(entry);
        } else {
            list.is_over = true;
        }
    }

    /// All of it, by key, and whether there was more. Units of one stamp come together.
    pub(super) fn take(&self) -> (Vec<(Key, Entries)>, bool) {
        let (mut entries, is_over) = {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut list.entries), std::mem::take(&mut list.is_over))
        };
        entries.sort_by_key(|entry| (entry.key.name(), entry.at));
        let by_key = entries.chunk_by(|a, b| a.key == b.key);
        (by_key.map(gather).collect(), is_over)
    }
}

fn gather(entries: &[Entry]) -> (Key, Entries) {
    let mut gathered = Entries::default();
    for entry in entries {
        gathered.units.extend(std::iter::repeat_n((entry.at, entry.pending), entry.cost as usize));
        gathered.span = gathered.span.max(entry.span);
        if let Some(length) = entry.block {
            let until = entry.at + super::call::micros(length);
            gathered.block = gathered.block.max(Some((until, length)));
        }
    }
    (entries[0].key, gathered)
}
