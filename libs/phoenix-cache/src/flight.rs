//! One load per key, however many ask.
//!
//! The load belongs to all who wait for it: it goes on as long as one of them does, so it dies neither with the
//! first caller's connection nor at the first caller's deadline. Results are not kept: an error is not cached.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{FutureExt, Shared, WeakShared};

use crate::key::{BuildIdentity, Key};

type Boxed<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// Loads under way, by key.
pub struct SingleFlight<V: Clone> {
    flights: Mutex<HashMap<Key, WeakShared<Boxed<V>>, BuildIdentity>>,
}

impl<V: Clone + Send + Sync + 'static> SingleFlight<V> {
    /// None under way.
    #[must_use]
    pub fn new() -> Self {
        Self { flights: Mutex::default() }
    }

    /// The result of the load under way for `key`, or of the one that `load` starts.
    ///
    /// Loads under way are bounded by the callers that wait for them.
    pub async fn run<F>(&self, key: Key, load: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = self.join(key, load);
        let value = flight.clone().await;
        self.land(&key, &flight);
        value
    }

    /// Loads under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().values().filter(|flight| flight.upgrade().is_some()).count()
    }

    /// Whether no load is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn join<F>(&self, key: Key, load: impl FnOnce() -> F) -> Shared<Boxed<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let boxed: Boxed<V> = Box::pin(load());
        let flight = boxed.shared();
        if let Some(weak) = flight.downgrade() {
            flights.insert(key, weak);
        }
        // Flights that everybody left before they landed would stay behind: sweep them as the map grows.
        if flights.len().is_power_of_two() && flights.len() >= 1024 {
            flights.retain(|_, flight| flight.upgrade().is_some());
        }
        flight
    }

    /// Removes a flight that has landed, unless another has taken its place.
    fn land(&self, key: &Key, landed: &Shared<Boxed<V>>) {
        if let Entry::Occupied(entry) = self.lock().entry(*key) {
            let gone = match entry.get().upgrade() {
                Some(current) => current.ptr_eq(landed),
                None => true,
            };
            if gone {
                entry.remove();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, WeakShared<Boxed<V>>, BuildIdentity>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone + Send + Sync + 'static> Default for SingleFlight<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn key(byte: u8) -> Key {
        Key::new([byte; 32])
    }

    #[tokio::test]
    async fn ten_thousand_callers_share_one_load() {
        let flights = Arc::new(SingleFlight::new());
        let loads = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let asked = Arc::new(AtomicUsize::new(0));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let (flights, loads, gate) = (Arc::clone(&flights), Arc::clone(&loads), Arc::clone(&gate));
            let asked = Arc::clone(&asked);
            callers.spawn(async move {
                asked.fetch_add(1, Ordering::SeqCst);
                flights
                    .run(key(1), || async move {
                        gate.notified().await;
                        loads.fetch_add(1, Ordering::SeqCst) + 41
                    })
                    .await
            });
        }
        // On this single-threaded runtime a caller that has asked has joined.
        while asked.load(Ordering::SeqCst) < 10_000 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        let mut answers = 0;
        while let Some(answer) = callers.join_next().await {
            assert_eq!(answer.expect("no caller panics"), 41);
            answers += 1;
        }
        assert_eq!((answers, loads.load(Ordering::SeqCst)), (10_000, 1));
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn the_load_survives_the_caller_who_started_it() {
        let flights = SingleFlight::new();
        let gate = Arc::new(Notify::new());
        let load = |n: usize| {
            let gate = Arc::clone(&gate);
            move || async move {
                gate.notified().await;
                n
            }
        };
        let mut first = Box::pin(flights.run(key(1), load(1)));
        let mut second = Box::pin(flights.run(key(1), load(2)));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        gate.notify_one();
        assert_eq!(second.await, 1);
    }

    #[tokio::test]
    async fn a_load_that_everybody_left_is_started_anew() {
        let flights = SingleFlight::new();
        {
            let pending = flights.run(key(1), std::future::pending::<u8>);
            tokio::pin!(pending);
            assert!(futures_util::poll!(pending.as_mut()).is_pending());
            assert_eq!(flights.len(), 1);
        }
        assert_eq!(flights.run(key(1), || async { 7 }).await, 7);
        assert_eq!(flights.run(key(1), || async { 8 }).await, 8, "results are not kept");
    }
}
