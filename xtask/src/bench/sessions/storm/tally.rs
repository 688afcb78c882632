//! Adds up the verdicts of a storm, and shows them: a table by fault, a histogram of the lag, and the bars.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::Verdict;
use crate::bench::report::{Bar, median};
use crate::bench::sessions::cluster::real;
use crate::bench::sessions::fault::Fault;

/// Median of the lag when nothing is broken.
const MEDIAN_MS: f64 = 20.0;
/// Upper ends of the histogram's classes in milliseconds.
const CLASSES_MS: [u64; 12] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];

/// What was seen under one fault.
#[derive(Debug, Default)]
struct Line {
    rounds: u64,
    total: Verdict,
    unacknowledged: u64,
    recovery: Duration,
}

/// What a storm has seen so far.
#[derive(Debug, Default)]
pub struct Tally {
    lines: BTreeMap<usize, Line>,
}

impl Tally {
    /// Adds a round whose revoke was acknowledged.
    pub(super) fn judged(&mut self, fault: Fault, verdict: Verdict) {
        let line = self.line(fault);
        line.rounds += 1;
        let total = &mut line.total;
        total.requests += verdict.requests;
        total.accepted += verdict.accepted;
        total.refused += verdict.refused;
        total.unavailable += verdict.unavailable;
        total.broken += verdict.broken;
        total.failed_without_reason += verdict.failed_without_reason;
        total.late += verdict.late;
        total.refused_too_early += verdict.refused_too_early;
        total.taken_back += verdict.taken_back;
        total.lags.extend(verdict.lags);
    }

    /// Adds a round whose revoke failed: it proves nothing.
    pub(super) fn unacknowledged(&mut self, fault: Fault) {
        let line = self.line(fault);
        line.rounds += 1;
        line.unacknowledged += 1;
    }

    /// Notes how long it took until all nodes were well after the fault.
    pub(super) fn recovered(&mut self, fault: Fault, took: Duration) {
        let line = self.line(fault);
        line.recovery = line.recovery.max(took);
    }

    /// Accepts later than the bound allows.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.total(|line| line.total.late)
    }

    /// Rounds so far.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.total(|line| line.rounds)
    }

    /// The bars of a storm called `name`.
    #[must_use]
    pub fn bars(&self, name: &str) -> Vec<Bar> {
        let none = |what, count| Bar::at_most(format!("{name}: {what}"), real(count), "", 0.0);
        let healthy = self.lines.get(&0).map_or(&[][..], |line| &line.total.lags);
        let longest = self.lines.values().flat_map(|line| &line.total.lags).max();
        vec![
            Bar::info(format!("{name}: rounds"), real(self.rounds()), ""),
            none("accepts after revoke and bound", self.late()),
            none("accepts after a refusal", self.total(|line| line.total.taken_back)),
            none("refused while signed in", self.total(|line| line.total.refused_too_early)),
            none("revokes not acknowledged", self.total(|line| line.unacknowledged)),
            none("failed where the database is reached", self.total(|line| line.total.failed_without_reason)),
            Bar::at_most(
                format!("{name}: median lag, nothing broken"),
                median(healthy.iter().map(|lag| millis(*lag))),
                "ms",
                MEDIAN_MS,
            ),
            Bar::info(format!("{name}: longest lag"), millis(longest.copied().unwrap_or_default()), "ms"),
        ]
    }

    /// Table and histogram, to standard error.
    pub(super) fn show(&self, name: &str) {
        eprintln!("\n{name}");
        eprintln!(
            "{:<24}{:>7}{:>10}{:>10}{:>10}{:>7}{:>7}{:>6}{:>9}{:>9}{:>9}{:>11}",
            "",
            "rounds",
            "requests",
            "200",
            "401",
            "503",
            "other",
            "late",
            "lag p50",
            "lag p90",
            "lag max",
            "recovery"
        );
        for (index, line) in &self.lines {
            let (total, lag) = (&line.total, |part| millis(quantile(&line.total.lags, part)));
            eprintln!(
                "{:<24}{:>7}{:>10}{:>10}{:>10}{:>7}{:>7}{:>6}{:>6.0} ms{:>6.0} ms{:>6.0} ms{:>8.0} ms",
                Fault::ALL[*index].name(),
                line.rounds,
                total.requests,
                total.accepted,
                total.refused,
                total.unavailable,
                total.broken,
                total.late,
                lag(0.5),
                lag(0.9),
                lag(1.0),
                millis(line.recovery),
            );
        }
        self.show_histogram();
    }

    /// How many nodes had which lag: one column for each class, named by its upper end.
    fn show_histogram(&self) {
        eprint!("{:<24}", "lag up to (ms)");
        for end in CLASSES_MS {
            eprint!("{end:>6}");
        }
        eprintln!("  more");
        for (index, line) in &self.lines {
            eprint!("{:<24}", Fault::ALL[*index].name());
            let mut shown = 0;
            for end in CLASSES_MS {
                let within = line.total.lags.iter().filter(|lag| **lag <= Duration::from_millis(end)).count();
                eprint!("{:>6}", within - shown);
                shown = within;
            }
            eprintln!("{:>6}", line.total.lags.len() - shown);
        }
    }

    fn line(&mut self, fault: Fault) -> &mut Line {
        let index = Fault::ALL.iter().position(|other| *other == fault).unwrap_or_default();
        self.lines.entry(index).or_default()
    }

    fn total(&self, part: impl Fn(&Line) -> u64) -> u64 {
        self.lines.values().map(part).sum()
    }
}

/// The lag that the part `quantile` of the nodes did not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a storm has far fewer than 2^52 rounds, and a part is between 0 and 1"
)]
fn quantile(lags: &[Duration], part: f64) -> Duration {
    let mut sorted = lags.to_vec();
    sorted.sort_unstable();
    let index = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
