//! The two algorithms that most limiters use, to show what they get wrong. In memory, by the clock they are given.

use std::collections::HashMap;

use phoenix_limit::Window;

use super::oracle::micros;

/// How requests are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One counter, set to zero at multiples of the window.
    Fixed,
    /// Two counters: the present window, and the one before it weighted by the part that still overlaps (Cloudflare,
    /// "How we built rate limiting capable of scaling to millions of domains", 2017).
    TwoCounters,
}

/// Counters of all clients under one window.
#[derive(Debug)]
pub(super) struct Approximate {
    kind: Kind,
    limit: f64,
    span: u64,
    /// Number of the present window, its counter, and that of the one before.
    counters: HashMap<u32, (u64, u32, u32)>,
}

impl Approximate {
    pub(super) fn new(kind: Kind, window: Window) -> Self {
        let (limit, span) = (f64::from(window.limit), micros(window.span));
        Self { kind, limit, span, counters: HashMap::new() }
    }

    /// Whether a request at `at` is admitted; if so it counts.
    #[expect(clippy::cast_precision_loss, reason = "less than a window of microseconds")]
    pub(super) fn admits(&mut self, client: u32, at: u64) -> bool {
        let number = at / self.span;
        let (last, present, before) = self.counters.entry(client).or_default();
        if number != *last {
            *before = if number == *last + 1 { *present } else { 0 };
            (*last, *present) = (number, 0);
        }
        let overlap = 1.0 - (at % self.span) as f64 / self.span as f64;
        let counted = match self.kind {
            Kind::Fixed => f64::from(*present),
            Kind::TwoCounters => f64::from(*present) + f64::from(*before) * overlap,
        };
        let admitted = counted + 1.0 <= self.limit;
        *present += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_count_as_their_descriptions_say() {
        let window = Window { limit: 4, span: Duration::from_secs(1) };
        let admitted = |kind, times: &[u64]| {
            let mut counters = Approximate::new(kind, window);
            times.iter().filter(|at| counters.admits(7, **at)).count()
        };
        let late = [1_900_000; 5];
        let edge: Vec<u64> = late.iter().copied().chain([2_000_000; 5]).collect();
        assert_eq!(admitted(Kind::Fixed, &edge), 8);
        assert_eq!(admitted(Kind::TwoCounters, &edge), 4);
        let half: Vec<u64> = late.iter().copied().chain([2_500_000; 5]).collect();
        assert_eq!(admitted(Kind::TwoCounters, &half), 6);
        let idle: Vec<u64> = late.iter().copied().chain([4_000_000; 5]).collect();
        assert_eq!(admitted(Kind::TwoCounters, &idle), 8);
    }
}
