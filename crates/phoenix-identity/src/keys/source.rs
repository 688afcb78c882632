//! The keys of one issuer, kept: one shared fetch for all who wait, refreshed ahead of expiry, the last good set while
//! the issuer is away, and at most one fetch per pause for tokens with unknown keys.
//!
//! Nothing is spawned. A fetch belongs to all who wait for it; when all of them leave, it stays here, and the next who
//! asks (at the latest the background task) drives it on. So nobody can spend the pause by leaving early.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::config::{Algorithm, IdentityLimits};
use crate::keys::jwk::{KeySet, VerificationKey};
use crate::keys::origin::{LoadError, LoadedKeys, Origin};
use crate::refusal::Refusal;

/// Shortest time between two refreshes that succeed, whatever the issuer says.
const SHORTEST_LIFETIME: Duration = Duration::from_mins(1);
/// Longest time between two refreshes, whatever the issuer says.
const LONGEST_LIFETIME: Duration = Duration::from_hours(1);
/// Pause after the first refresh that fails; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest pause after refreshes that fail.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

type Landed = Arc<Result<LoadedKeys, LoadError>>;

/// A fetch under way.
#[derive(Clone)]
struct Flight {
    /// When it was started, on the monotonic clock.
    started: Duration,
    load: Shared<BoxFuture<'static, Landed>>,
}

struct Kept {
    set: Arc<KeySet>,
    /// Start of the fetch that brought it.
    since: Duration,
    refresh_at: Duration,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    flight: Option<Flight>,
    /// No token may cause a fetch before.
    pause_until: Duration,
    /// The refresh makes no fetch before.
    retry_at: Duration,
    /// Fetches that failed since the last that succeeded.
    failures_in_a_row: u32,
}

#[derive(Default)]
struct Counters {
    fetches: AtomicU64,
    failures: AtomicU64,
    unknown_keys: AtomicU64,
}

/// What is known about the keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetStats {
    /// `stack`, or the issuer.
    pub provider: Arc<str>,
    /// Fetches begun. One with discovery counts once.
    pub fetches: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// Keys at hand.
    pub keys: usize,
    /// Time since the keys were fetched; `None` if there are none.
    pub age: Option<Duration>,
    /// Tokens refused because the issuer does not have their key.
    pub unknown_keys: u64,
}

/// The keys of one issuer.
pub(crate) struct KeySource {
    provider: Arc<str>,
    origin: Arc<Origin>,
    limits: IdentityLimits,
    state: Mutex<State>,
    counters: Counters,
}

impl KeySource {
    pub(crate) fn new(provider: Arc<str>, origin: Origin, limits: IdentityLimits) -> Self {
        let origin = Arc::new(origin);
        Self { provider, origin, limits, state: Mutex::default(), counters: Counters::default() }
    }

    /// The key that a token names. It waits for the issuer only if the key is not at hand.
    ///
    /// # Errors
    /// [`Refusal::UnknownKey`] after the issuer was asked, [`Refusal::KeysUnavailable`] if it does not answer, and
    /// [`Refusal::Algorithm`] if the key is for another one.
    pub(crate) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        mono: Duration,
    ) -> Result<Arc<VerificationKey>, Refusal> {
        if let Some(key) = self.at_hand(id, algorithm, mono)? {
            return Ok(key);
        }
        if let Some(flight) = self.flight_for_token(mono) {
            self.wait(&flight).await;
            if let Some(key) = self.at_hand(id, algorithm, mono)? {
                return Ok(key);
            }
        }
        let state = self.lock();
        if state.failures_in_a_row > 0 || state.usable(&self.limits, mono).is_none() {
            // Perhaps the issuer has a new key, and we cannot know.
            return Err(Refusal::KeysUnavailable);
        }
        self.counters.unknown_keys.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::UnknownKey)
    }

    /// Fetches the keys if they are due. Returns when to call next, on the same clock as `mono`.
    pub(crate) async fn refresh(&self, mono: Duration) -> Duration {
        let flight = {
            let mut state = self.lock();
            if state.flight.is_some() || state.due() <= mono {
                Some(self.join(&mut state, mono))
            } else {
                None
            }
        };
        if let Some(flight) = flight {
            self.wait(&flight).await;
        }
        self.lock().due()
    }

    pub(crate) fn stats(&self, mono: Duration) -> KeySetStats {
        let state = self.lock();
        let kept = state.usable(&self.limits, mono);
        KeySetStats {
            provider: Arc::clone(&self.provider),
            fetches: self.counters.fetches.load(Ordering::Relaxed),
            failures: self.counters.failures.load(Ordering::Relaxed),
            keys: kept.map_or(0, |kept| kept.set.len()),
            age: kept.map(|kept| mono.saturating_sub(kept.since)),
            unknown_keys: self.counters.unknown_keys.load(Ordering::Relaxed),
        }
    }

    fn at_hand(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        mono: Duration,
    ) -> Result<Option<Arc<VerificationKey>>, Refusal> {
        let state = self.lock();
        let Some(kept) = state.usable(&self.limits, mono) else { return Ok(None) };
        kept.set.find(id, algorithm).map(Option::<&_>::cloned)
    }

    /// The fetch under way; or a new one, if tokens may cause one now.
    fn flight_for_token(&self, mono: Duration) -> Option<Flight> {
        let mut state = self.lock();
        if state.flight.is_none() {
            if mono < state.pause_until {
                return None;
            }
            state.pause_until = mono.saturating_add(self.limits.unknown_key_pause);
        }
        Some(self.join(&mut state, mono))
    }

    fn join(&self, state: &mut State, mono: Duration) -> Flight {
        let start = || {
            self.counters.fetches.fetch_add(1, Ordering::Relaxed);
            let load = Arc::clone(&self.origin).load().map(Arc::new).boxed().shared();
            Flight { started: mono, load }
        };
        state.flight.get_or_insert_with(start).clone()
    }

    async fn wait(&self, flight: &Flight) {
        let landed = flight.load.clone().await;
        let mut state = self.lock();
        // The first of those who waited puts the result away.
        if state.flight.as_ref().is_some_and(|current| current.load.ptr_eq(&flight.load)) {
            state.flight = None;
            self.put_away(&mut state, flight.started, &landed);
        }
    }

    fn put_away(&self, state: &mut State, started: Duration, landed: &Result<LoadedKeys, LoadError>) {
        match landed {
            Ok(loaded) => {
                let life = loaded.max_age.unwrap_or(self.limits.key_lifetime);
                let life = life.clamp(SHORTEST_LIFETIME, LONGEST_LIFETIME);
                state.kept = Some(Kept {
                    set: Arc::clone(&loaded.set),
                    since: started,
                    refresh_at: started.saturating_add(self.ahead_of(life)),
                });
                state.failures_in_a_row = 0;
                state.retry_at = Duration::ZERO;
            }
            Err(error) => {
                self.counters.failures.fetch_add(1, Ordering::Relaxed);
                let doublings = state.failures_in_a_row.min(5);
                state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                state.retry_at =
                    started.saturating_add((FIRST_RETRY * 2_u32.pow(doublings)).min(LONGEST_RETRY));
                let (provider, failures, causes) = (&*self.provider, state.failures_in_a_row, causes(error));
                tracing::warn!(provider, failures, %error, causes, "the signing keys could not be fetched");
            }
        }
    }

    /// Seven to eight tenths of a lifetime: another part for each node and each fetch.
    fn ahead_of(&self, lifetime: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        let fetches = self.counters.fetches.load(Ordering::Relaxed);
        (self.limits.jitter_seed, &self.provider, fetches).hash(&mut hasher);
        let thousandth = u32::try_from(hasher.finish() % 100).unwrap_or(0);
        lifetime * (700 + thousandth) / 1000
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is behind an error, outermost first.
fn causes(error: &LoadError) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<String>>().join(": ")
}

impl State {
    /// The set, unless it is too old to be used even in an outage.
    fn usable(&self, limits: &IdentityLimits, mono: Duration) -> Option<&Kept> {
        self.kept.as_ref().filter(|kept| mono.saturating_sub(kept.since) < limits.keep_keys)
    }

    /// When the next refresh is due.
    fn due(&self) -> Duration {
        let refresh_at = self.kept.as_ref().map_or(Duration::ZERO, |kept| kept.refresh_at);
        refresh_at.max(self.retry_at)
    }
}
