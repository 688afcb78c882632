//! Circuit breaker (Nygard, Release It!, 2nd edition, "Circuit Breaker"): consecutive failures open it, a single
//! probe closes it.
//!
//! Failures are those of the dependency or the way to it. A well-formed refusal by the dependency is a success.
//! Who probes is the caller's choice: [`Breaker::admit`] makes the next caller after the pause the probe,
//! [`Breaker::admit_if_closed`] never does, so that callers who cannot afford a failure leave it to a background task.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a breaker opens and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct BreakerLimits {
    /// Consecutive failures that open it.
    pub failures: u32,
    /// Pause before the first probe.
    pub min_pause: Duration,
    /// Longest pause between probes.
    pub max_pause: Duration,
}

/// Stands between callers and a dependency.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// How often it has closed. Verdicts of calls from before the last time are old news.
    epoch: u64,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Duration, pause: Duration },
    Probing { pause: Duration },
}

/// Leave to call the dependency once. Dropped without a verdict, it says nothing about the dependency, and if it
/// was the probe the next caller probes.
#[derive(Debug)]
#[must_use = "tell the breaker how the call went"]
pub struct Call<'a> {
    breaker: &'a Breaker,
    epoch: u64,
    probe: bool,
    told: bool,
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub const fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: Mutex::new(State { phase: Phase::Closed { failures: 0 }, epoch: 0 }) }
    }

    /// Leave for one call at `now`, or `None` when the dependency is to be spared. After the pause, one call is the
    /// probe.
    pub fn admit(&self, now: Duration) -> Option<Call<'_>> {
        let mut state = self.lock();
        let probe = match state.phase {
            Phase::Closed { .. } => false,
            Phase::Open { until, pause } if now >= until => {
                state.phase = Phase::Probing { pause };
                true
            }
            Phase::Open { .. } | Phase::Probing { .. } => return None,
        };
        Some(Call { breaker: self, epoch: state.epoch, probe, told: false })
    }

    /// Leave for one call while the breaker is closed; never for a probe.
    pub fn admit_if_closed(&self) -> Option<Call<'_>> {
        let state = self.lock();
        let closed = matches!(state.phase, Phase::Closed { .. });
        closed.then(|| Call { breaker: self, epoch: state.epoch, probe: false, told: false })
    }

    /// Whether calls pass freely.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed { .. })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// Whether this call decides alone if the breaker closes.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The dependency answered.
    pub fn succeeded(mut self) {
        self.told = true;
        let mut state = self.breaker.lock();
        if self.probe {
            state.epoch += 1;
            state.phase = Phase::Closed { failures: 0 };
        } else if state.epoch == self.epoch && matches!(state.phase, Phase::Closed { .. }) {
            state.phase = Phase::Closed { failures: 0 };
        }
    }

    /// The dependency did not answer, or the way to it broke, by `now`.
    pub fn failed(mut self, now: Duration) {
        self.told = true;
        let limits = self.breaker.limits;
        let mut state = self.breaker.lock();
        match state.phase {
            Phase::Closed { failures } if state.epoch == self.epoch => {
                state.phase = if failures + 1 < limits.failures {
                    Phase::Closed { failures: failures + 1 }
                } else {
                    Phase::Open { until: now.saturating_add(limits.min_pause), pause: limits.min_pause }
                };
            }
            Phase::Probing { pause } if self.probe => {
                let pause = pause.saturating_mul(2).min(limits.max_pause);
                state.phase = Phase::Open { until: now.saturating_add(pause), pause };
            }
            // A call from before it opened, or even from before it closed again: known already.
            Phase::Closed { .. } | Phase::Open { .. } | Phase::Probing { .. } => {}
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.probe && !self.told {
            let mut state = self.breaker.lock();
            if let Phase::Probing { pause } = state.phase {
                state.phase = Phase::Open { until: Duration::ZERO, pause };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 3,
        min_pause: Duration::from_millis(100),
        max_pause: Duration::from_millis(400),
    };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn fail(breaker: &Breaker, now: Duration) {
        breaker.admit(now).expect("admitted").failed(now);
    }

    #[test]
    fn opens_after_consecutive_failures_only() {
        let breaker = Breaker::new(LIMITS);
        fail(&breaker, at(0));
        fail(&breaker, at(0));
        breaker.admit(at(0)).expect("closed").succeeded();
        fail(&breaker, at(0));
        fail(&breaker, at(0));
        assert!(breaker.is_closed());
        fail(&breaker, at(0));
        assert!(breaker.admit(at(99)).is_none());
    }

    #[test]
    fn one_probe_at_a_time_with_doubling_pauses() {
        let breaker = Breaker::new(LIMITS);
        (0..3).for_each(|_| fail(&breaker, at(0)));
        let mut now = 0;
        for pause in [100, 200, 400, 400] {
            assert!(breaker.admit(at(now + pause - 1)).is_none());
            now += pause;
            let probe = breaker.admit(at(now)).expect("the probe");
            assert!(breaker.admit(at(now)).is_none(), "only one probe");
            probe.failed(at(now));
        }
        breaker.admit(at(now + 400)).expect("the probe").succeeded();
        assert!(breaker.is_closed());
    }

    #[test]
    fn an_abandoned_probe_does_not_keep_it_open_for_ever() {
        let breaker = Breaker::new(LIMITS);
        (0..3).for_each(|_| fail(&breaker, at(0)));
        drop(breaker.admit(at(100)).expect("the probe"));
        assert!(breaker.admit(at(100)).is_some());
    }

    #[test]
    fn who_only_passes_while_it_is_closed_never_probes() {
        let breaker = Breaker::new(BreakerLimits { failures: 1, ..LIMITS });
        let call = breaker.admit_if_closed().expect("closed");
        assert!(!call.is_probe());
        call.failed(at(0));
        assert!(breaker.admit_if_closed().is_none());
        let probe = breaker.admit(at(100)).expect("the pause is over");
        assert!(probe.is_probe() && breaker.admit_if_closed().is_none());
        probe.succeeded();
        assert!(breaker.admit_if_closed().is_some());
    }

    #[test]
    fn verdicts_from_before_it_closed_again_count_for_nothing() {
        let breaker = Breaker::new(BreakerLimits { failures: 2, ..LIMITS });
        let calls: Vec<_> = (0..4).map(|_| breaker.admit_if_closed().expect("closed")).collect();
        let mut calls = calls.into_iter();
        let mut next = || calls.next().expect("four of them");
        next().failed(at(0));
        next().failed(at(0));
        assert!(!breaker.is_closed());
        breaker.admit(at(100)).expect("the probe").succeeded();
        fail(&breaker, at(101));
        next().failed(at(102));
        assert!(breaker.is_closed(), "a late failure of the old outage");
        next().succeeded();
        fail(&breaker, at(103));
        assert!(!breaker.is_closed(), "nor did a late success count");
    }

    proptest! {
        /// Whatever happens, a dependency that works again is used again within the longest pause.
        #[test]
        fn it_always_recovers(verdicts in prop::collection::vec((0_u64..300, 0_u8..3), 0..60)) {
            let breaker = Breaker::new(LIMITS);
            let mut now = 0;
            for (pass, verdict) in verdicts {
                now += pass;
                if let Some(call) = breaker.admit(at(now)) {
                    match verdict {
                        0 => call.succeeded(),
                        1 => call.failed(at(now)),
                        _ => drop(call),
                    }
                }
            }
            breaker.admit(at(now + 400)).expect("a probe is due").succeeded();
            prop_assert!(breaker.is_closed());
        }
    }
}
