//! How long revocations made by other nodes took to be obeyed here: `revocation_apply_lag_seconds`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::model::Seq;

/// Upper ends of the buckets in milliseconds; the last has none.
const BUCKETS_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, u64::MAX];

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Lag {
    counts: [AtomicU64; BUCKETS_MS.len()],
    longest_micros: AtomicU64,
    total_micros: AtomicU64,
    /// The highest number noted: what is both pushed and read is noted once.
    last: AtomicU64,
}

/// How long revocations took from their making elsewhere to their being obeyed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LagStats {
    /// How many were applied.
    pub count: u64,
    /// Sum of their times.
    pub total: Duration,
    /// Half of them took at most this long, to the next of 1, 2 and 5.
    pub p50: Duration,
    /// 99 % of them took at most this long.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Lag {
    /// An entry is known now. By the clocks of two nodes, so no finer than they agree.
    pub(super) fn applied(&self, seq: Seq, lag: Duration) {
        if self.last.fetch_max(seq.0, Ordering::Relaxed) >= seq.0 {
            return;
        }
        let millis = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        let micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(BUCKETS_MS.partition_point(|end| *end <= millis)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// An entry of this node's own: known before anybody was told.
    pub(super) fn own(&self, seq: Seq) {
        self.last.fetch_max(seq.0, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> LagStats {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let count: u64 = counts.iter().sum();
        let longest = Duration::from_micros(self.longest_micros.load(Ordering::Relaxed));
        let at = |part: u64| {
            let (rank, mut seen) = ((count * part).div_ceil(100), 0);
            let index = counts.iter().position(|bucket| {
                seen += bucket;
                seen >= rank.max(1)
            });
            let end = index.and_then(|index| BUCKETS_MS.get(index)).copied().unwrap_or(0);
            Duration::from_millis(end).min(longest)
        };
        let total = Duration::from_micros(self.total_micros.load(Ordering::Relaxed));
        LagStats { count, total, p50: at(50), p99: at(99), longest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_and_read_counts_once_and_own_entries_do_not() {
        let lag = Lag::default();
        lag.applied(Seq(1), Duration::from_millis(3));
        lag.applied(Seq(1), Duration::from_millis(400));
        lag.own(Seq(2));
        lag.applied(Seq(2), Duration::from_millis(400));
        let read = lag.read();
        assert_eq!((read.count, read.longest), (1, Duration::from_millis(3)));
    }

    #[test]
    fn quantiles_are_the_ends_of_their_buckets() {
        let lag = Lag::default();
        for seq in 1..=99 {
            lag.applied(Seq(seq), Duration::from_millis(4));
        }
        lag.applied(Seq(100), Duration::from_millis(900));
        let read = lag.read();
        assert_eq!((read.p50, read.p99), (Duration::from_millis(5), Duration::from_millis(5)));
        assert_eq!((read.count, read.longest), (100, Duration::from_millis(900)));
        assert_eq!(Lag::default().read(), LagStats::default());
    }
}
