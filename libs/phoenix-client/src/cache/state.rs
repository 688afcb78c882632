//! What is at hand, what is under way, and when the next fetch may begin. No I/O; the time is an argument.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, Shared};

use super::fetch::FetchError;
use crate::verifier::Verifier;

/// From this age on the keys are fetched again, beside the requests.
pub(super) const REFRESH_AFTER: Duration = Duration::from_mins(4);
/// From this age on requests wait for the fetch: a key that Phoenix took back must not count for long.
pub(super) const STALE_AFTER: Duration = Duration::from_mins(5);
/// Up to this age keys count while Phoenix does not answer.
pub(super) const KEPT_FOR: Duration = Duration::from_hours(24);
/// Shortest time between two fetches.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// Shortest time from any fetch to one that a token with an unknown key causes.
pub(super) const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);

type Landed = Arc<Result<Arc<Verifier>, FetchError>>;
/// A fetch that several wait for.
pub(super) type Load = Shared<BoxFuture<'static, Landed>>;

/// A fetch under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) load: Load,
    begun_at: SystemTime,
}

/// Whether a request needs a fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    Nothing,
    /// But it need not wait.
    Soon,
    Now,
}

/// Why a request wants a fetch.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    Age,
    UnknownKey,
}

/// How the keys of a [`super::JwksCache`] do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct JwksCacheStats {
    /// Fetches begun.
    pub fetches: u64,
    /// Of these, those that failed.
    pub failures: u64,
    /// When the fetch began that brought the keys at hand.
    pub fetched_at: Option<SystemTime>,
}

#[derive(Default)]
pub(super) struct State {
    kept: Option<(Arc<Verifier>, SystemTime)>,
    flight: Option<Flight>,
    last_begun_at: Option<SystemTime>,
    has_failed: bool,
    fetches: u64,
    failures: u64,
}

impl State {
    /// The keys, unless they are too old to be used even while Phoenix is away.
    pub(super) fn usable(&self, now: SystemTime) -> Option<Arc<Verifier>> {
        let (verifier, since) = self.kept.as_ref()?;
        (age(*since, now) < KEPT_FOR).then(|| Arc::clone(verifier))
    }

    pub(super) fn need(&self, now: SystemTime) -> Need {
        match self.kept.as_ref().map(|(_, since)| age(*since, now)) {
            Some(age) if age < REFRESH_AFTER => Need::Nothing,
            Some(age) if age < STALE_AFTER => Need::Soon,
            _ => Need::Now,
        }
    }

    /// The fetch under way, or a new one if it is time.
    pub(super) fn flight(
        &mut self,
        reason: Reason,
        now: SystemTime,
        begin: impl FnOnce() -> Load,
    ) -> Option<Flight> {
        if let Some(flight) = &self.flight {
            return Some(flight.clone());
        }
        let pause = match reason {
            Reason::Age => PAUSE,
            Reason::UnknownKey => UNKNOWN_KEY_PAUSE,
        };
        if self.last_begun_at.is_some_and(|last| age(last, now) < pause) {
            return None;
        }
        self.last_begun_at = Some(now);
        self.fetches += 1;
        let flight = Flight { load: begin(), begun_at: now };
        self.flight = Some(flight.clone());
        Some(flight)
    }

    /// Puts away what a fetch brought. The first of those who waited does it.
    pub(super) fn land(&mut self, flight: &Flight, landed: &Result<Arc<Verifier>, FetchError>) {
        if !self.flight.as_ref().is_some_and(|current| current.load.ptr_eq(&flight.load)) {
            return;
        }
        self.flight = None;
        self.has_failed = landed.is_err();
        match landed {
            Ok(verifier) => self.kept = Some((Arc::clone(verifier), flight.begun_at)),
            Err(_) => self.failures += 1,
        }
    }

    /// Whether the last fetch failed.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub(super) fn stats(&self) -> JwksCacheStats {
        JwksCacheStats {
            fetches: self.fetches,
            failures: self.failures,
            fetched_at: self.kept.as_ref().map(|(_, since)| *since),
        }
    }
}

/// Time since `then`. After the clock was set back, as much as it takes for a fetch, and not so much that the keys do
/// not count.
fn age(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or(STALE_AFTER)
}
