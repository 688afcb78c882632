//! Memory for "there is no such thing".
//!
//! It has its own small capacity: an attacker who asks for a million things that do not exist evicts other
//! negatives, never a good entry.

use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::key::{BuildIdentity, Key};

/// Keys known to be absent, each for a short time.
pub struct Negatives {
    cache: Cache<Key, Duration, UnitWeighter, BuildIdentity>,
    lifetime: Duration,
}

impl Negatives {
    /// At most about `capacity` keys, each for `lifetime`.
    #[must_use]
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        let cache = Cache::with(
            capacity,
            u64::try_from(capacity).unwrap_or(u64::MAX),
            UnitWeighter,
            BuildIdentity::default(),
            DefaultLifecycle::default(),
        );
        Self { cache, lifetime }
    }

    /// Notes that `key` was absent at `now`.
    pub fn insert(&self, key: Key, now: Duration) {
        self.cache.insert(key, now.saturating_add(self.lifetime));
    }

    /// Whether `key` was absent a moment ago.
    #[must_use]
    pub fn contains(&self, key: &Key, now: Duration) -> bool {
        self.cache.get(key).is_some_and(|until| now < until)
    }

    /// Forgets that `key` was absent: it exists now.
    pub fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        bytes[8..16].copy_from_slice(&n.to_le_bytes());
        Key::new(bytes)
    }

    #[test]
    fn a_negative_expires_and_can_be_forgotten() {
        let negatives = Negatives::new(100, Duration::from_secs(5));
        negatives.insert(key(1), Duration::from_secs(10));
        assert!(negatives.contains(&key(1), Duration::from_millis(14_999)));
        assert!(!negatives.contains(&key(1), Duration::from_secs(15)));
        negatives.insert(key(1), Duration::from_secs(20));
        negatives.remove(&key(1));
        assert!(!negatives.contains(&key(1), Duration::from_secs(20)));
    }

    #[test]
    fn a_flood_stays_within_the_capacity() {
        let negatives = Negatives::new(1000, Duration::from_secs(5));
        for n in 0..100_000 {
            negatives.insert(key(n), Duration::ZERO);
        }
        assert!(negatives.len() <= 1000, "{}", negatives.len());
    }
}
