//! Phoenix's keys, fetched and kept: one fetch for all who wait, again ahead of the end, and the last good ones while
//! Phoenix is away.
//!
//! Nothing is spawned. A fetch belongs to all who wait for it, and requests that need not wait drive it on as they
//! come; `http.rs` bounds its time.

mod fetch;
mod http;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::FutureExt;

pub use self::fetch::{Fetch, FetchError, Fetching};
pub use self::http::HttpFetch;
pub use self::state::JwksCacheStats;
use self::state::{Need, Reason, State};
use crate::identity::Identity;
use crate::jwks::Jwks;
use crate::token::Token;
use crate::verifier::{Expected, Verifier, VerifyError};

/// Verifies assertions with keys that it fetches from Phoenix. Cheap to clone; all clones share the keys.
#[derive(Clone)]
pub struct JwksCache(Arc<Inner>);

struct Inner {
    fetch: Box<dyn Fetch>,
    expected: Arc<Expected>,
    state: Mutex<State>,
}

impl JwksCache {
    /// For assertions that the Phoenix at `origin`, called `issuer`, made for the application called `audience`.
    /// `origin` is where the application reaches it, such as `http://127.0.0.1:8080`; `issuer` is its public address,
    /// or `phoenix` if it was told none. Certificates are checked against Mozilla's list.
    ///
    /// # Errors
    /// When `origin` is no `http` or `https` origin.
    pub fn of_phoenix(origin: &str, audience: &str, issuer: &str) -> Result<Self, FetchError> {
        Ok(Self::new(HttpFetch::new(origin, None)?, audience, issuer))
    }

    /// The same, with keys that come another way.
    #[must_use]
    pub fn new(fetch: impl Fetch, audience: &str, issuer: &str) -> Self {
        let expected = Arc::new(Expected { audience: audience.to_owned(), issuer: issuer.to_owned() });
        Self(Arc::new(Inner { fetch: Box::new(fetch), expected, state: Mutex::default() }))
    }

    /// Who `token` is about, if it counts at `now`. Waits for Phoenix only if the keys at hand are missing, too old, or
    /// without the one that the token names.
    ///
    /// # Errors
    /// [`VerifyError::KeysUnavailable`] if Phoenix had to be asked, and did not answer.
    pub async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, VerifyError> {
        // First, so that junk causes no fetch.
        let token = Token::parse(token)?;
        let need = self.lock().need(now);
        match need {
            Need::Nothing => {}
            Need::Soon => self.drive(now),
            Need::Now => self.wait(Reason::Age, now).await,
        }
        let verifier = self.lock().usable(now).ok_or(VerifyError::KeysUnavailable)?;
        let verdict = verifier.verify_parsed(&token, now);
        if verdict != Err(VerifyError::UnknownKey) {
            return verdict;
        }
        self.wait(Reason::UnknownKey, now).await;
        let (verifier, failed) = {
            let state = self.lock();
            (state.usable(now).ok_or(VerifyError::KeysUnavailable)?, state.has_failed())
        };
        match verifier.verify_parsed(&token, now) {
            // Perhaps Phoenix has a new key, and nobody can know.
            Err(VerifyError::UnknownKey) if failed => Err(VerifyError::KeysUnavailable),
            verdict => verdict,
        }
    }

    /// How the keys do.
    #[must_use]
    pub fn stats(&self) -> JwksCacheStats {
        self.lock().stats()
    }

    /// Waits for a fetch, if one is under way or may be begun.
    async fn wait(&self, reason: Reason, now: SystemTime) {
        let flight = self.lock().flight(reason, now, || self.begin());
        if let Some(flight) = flight {
            let landed = flight.load.clone().await;
            self.lock().land(&flight, &landed);
        }
    }

    /// Takes a fetch one step further without waiting, and begins it if it may.
    fn drive(&self, now: SystemTime) {
        let flight = self.lock().flight(Reason::Age, now, || self.begin());
        if let Some(flight) = flight
            && let Some(landed) = flight.load.clone().now_or_never()
        {
            self.lock().land(&flight, &landed);
        }
    }

    fn begin(&self) -> state::Load {
        let (fetching, expected) = (self.0.fetch.fetch(), Arc::clone(&self.0.expected));
        let load = async move {
            let keys = Jwks::parse(&fetching.await?).map_err(FetchError::Keys)?;
            Ok(Arc::new(Verifier::expecting(keys, expected)))
        };
        load.map(Arc::new).boxed().shared()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for JwksCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expected { audience, issuer } = &*self.0.expected;
        f.debug_struct("JwksCache")
            .field("audience", audience)
            .field("issuer", issuer)
            .finish_non_exhaustive()
    }
}
