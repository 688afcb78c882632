//! Counters of the tiers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::ports::Tier;

use super::LagStats;

/// Counters since the start, and the state of the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TierStats {
    /// Answers with a session from memory.
    pub l1_hits: u64,
    /// Answers with a session from Redis.
    pub l2_hits: u64,
    /// Answers with a session from the database, including those that waited for another's read.
    pub l3_hits: u64,
    /// Answers "no such session", from memory.
    pub l1_absent: u64,
    /// Answers "no such session", from the database.
    pub l3_absent: u64,
    /// Reads of the database.
    pub database_reads: u64,
    /// Entries that were not written to Redis because its queue was full.
    pub l2_fills_dropped: u64,
    /// Last-seens that were not kept because their queue was full.
    pub activity_dropped: u64,
    /// Sessions whose last-seen waits to be written.
    pub activity_waiting: usize,
    /// Tokens remembered as unknown.
    pub negatives: usize,
    /// Sessions that memory was warmed with at the start; none before that is done.
    pub warmed: Option<usize>,
    /// Verified tokens of outside providers that are remembered.
    pub pooled_tokens: usize,
    /// How long an entry filled now stays in memory.
    pub l1_lifetime: Duration,
    /// How long cached sessions may still be used without another read of the log.
    pub lease_remaining: Duration,
    /// No session is used longer than this after its revocation was acknowledged.
    pub revocation_bound: Duration,
    /// How long revocations made elsewhere took to be obeyed here.
    pub apply_lag: LagStats,
    /// Answers from memory in an outage, when nobody could say whether the session still counts.
    pub served_in_grace: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    hits: [AtomicU64; 3],
    absent: [AtomicU64; 3],
    database_reads: AtomicU64,
    fills_dropped: AtomicU64,
    served_in_grace: AtomicU64,
    warmed: OnceLock<usize>,
}

impl Counters {
    pub(super) fn answered(&self, tier: Tier, found: bool) {
        let counters = if found { &self.hits } else { &self.absent };
        let [l1, l2, l3] = counters;
        let counter = match tier {
            Tier::L1 => l1,
            Tier::L2 => l2,
            Tier::L3 => l3,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn database_read(&self) {
        self.database_reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fill_dropped(&self) {
        self.fills_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn warmed(&self, count: usize) {
        // Only the first time counts, and there is one.
        let _first = self.warmed.set(count);
    }

    pub(super) fn served_in_grace(&self) {
        self.served_in_grace.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters; the state of the moment is left at zero.
    pub(super) fn read(&self) -> TierStats {
        let [l1, l2, l3] = self.hits.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        let [l1_absent, _, l3_absent] = self.absent.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        TierStats {
            l1_hits: l1,
            l2_hits: l2,
            l3_hits: l3,
            l1_absent,
            l3_absent,
            database_reads: self.database_reads.load(Ordering::Relaxed),
            l2_fills_dropped: self.fills_dropped.load(Ordering::Relaxed),
            served_in_grace: self.served_in_grace.load(Ordering::Relaxed),
            warmed: self.warmed.get().copied(),
            ..TierStats::default()
        }
    }
}
