//! What a run of the load generator has counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

/// Latencies above this count as this.
const LONGEST_NS: u64 = 120_000_000_000;

/// Requests that did not get a good answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Another status than expected, or without the expected header.
    pub unexpected: u64,
    /// Connections that broke, or answers that are no HTTP.
    pub broken: u64,
    /// Open loop only: due, but without an answer when the run was over.
    pub unanswered: u64,
    /// What the first failure looked like.
    pub first: Option<String>,
}

/// The result of one run; the warm-up is not in it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests with a good answer.
    pub completed: u64,
    /// The others.
    pub failures: Failures,
    /// Time that was counted.
    pub elapsed: Duration,
    /// Processor time of the generator's thread in that time.
    pub generator_cpu: Duration,
    /// Latencies in nanoseconds of the completed requests; for the open loop also of those without an answer.
    pub latency_ns: Histogram<u64>,
}

impl Outcome {
    /// Completed requests per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "no run completes 2^52 requests")]
    pub fn per_second(&self) -> f64 {
        self.completed as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency that the part `quantile` (0.99) of the requests did not exceed.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency_ns.value_at_quantile(quantile))
    }

    /// Processor time of the generator for one request.
    #[must_use]
    pub fn cpu_per_request(&self) -> Duration {
        let nanoseconds = self.generator_cpu.as_nanos() / u128::from(self.completed.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// All requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.unexpected + self.failures.broken + self.failures.unanswered
    }

    /// # Errors
    /// When a request failed or none was completed.
    pub fn ensure_clean(&self) -> Result<()> {
        let first = self.failures.first.as_deref().unwrap_or("no answer in time");
        ensure!(self.failed() == 0, "{} requests failed, the first with: {first}", self.failed());
        ensure!(self.completed > 0, "no request was completed");
        Ok(())
    }
}

/// Counts while a run goes on.
pub(super) struct Recorder {
    outcome: Outcome,
    since: Instant,
    cpu_since: Duration,
}

impl Recorder {
    /// Starts to count at `now`, on the calling thread.
    pub(super) fn new(now: Instant) -> Result<Self> {
        let outcome = Outcome {
            completed: 0,
            failures: Failures::default(),
            elapsed: Duration::ZERO,
            generator_cpu: Duration::ZERO,
            latency_ns: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
        };
        Ok(Self { outcome, since: now, cpu_since: thread_cpu() })
    }

    /// Forgets what was counted: the warm-up is over.
    pub(super) fn restart(&mut self, now: Instant) {
        self.outcome.completed = 0;
        self.outcome.failures = Failures::default();
        self.outcome.latency_ns.reset();
        self.since = now;
        self.cpu_since = thread_cpu();
    }

    pub(super) fn completed(&mut self, latency: Duration) {
        self.outcome.completed += 1;
        self.waited(latency);
    }

    pub(super) fn unexpected(&mut self, what: impl FnOnce() -> String) {
        self.outcome.failures.unexpected += 1;
        self.outcome.failures.first.get_or_insert_with(what);
    }

    pub(super) fn broken(&mut self, what: &anyhow::Error) {
        self.outcome.failures.broken += 1;
        self.outcome.failures.first.get_or_insert_with(|| format!("{what:#}"));
    }

    /// A request that was due and has waited so long without an answer.
    pub(super) fn unanswered(&mut self, waited: Duration) {
        self.outcome.failures.unanswered += 1;
        self.waited(waited);
    }

    pub(super) fn finish(mut self, now: Instant) -> Outcome {
        self.outcome.elapsed = now - self.since;
        self.outcome.generator_cpu = thread_cpu().saturating_sub(self.cpu_since);
        self.outcome
    }

    fn waited(&mut self, latency: Duration) {
        self.outcome.latency_ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS));
    }
}

/// Processor time the calling thread has used.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}
