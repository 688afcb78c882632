//! The first tier: this process's memory, bounded by bytes.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::freshness::{Freshness, Seq, Tag};
use crate::key::{BuildIdentity, Key};

/// What an entry costs besides its value: key, slot, ring and reference counts.
const ENTRY_OVERHEAD_BYTES: usize = 192;

/// Values by key, at most a number of bytes in all, each until its own expiry.
///
/// At the bound the entries least worth keeping go first (S3-FIFO, Yang et al., SOSP 2023).
pub struct Memory<V> {
    cache: Cache<Key, Entry<V>, ByBytes, BuildIdentity>,
}

/// Kept in the cache's own slots: a hit in a large cache costs what it misses in the processor's, so there is no
/// pointer to follow but the value's.
struct Entry<V> {
    value: Arc<V>,
    bytes: u64,
    tags: [Tag; 2],
    stamp: Seq,
    expires_at: Duration,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ..*self }
    }
}

#[derive(Clone)]
struct ByBytes;

impl<V> Weighter<Key, Entry<V>> for ByBytes {
    fn weight(&self, _key: &Key, entry: &Entry<V>) -> u64 {
        entry.bytes
    }
}

/// How full the memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// Entries held.
    pub entries: usize,
    /// Bytes held, as estimated by those who inserted.
    pub bytes: u64,
    /// Most bytes held.
    pub capacity_bytes: u64,
}

impl<V> Memory<V> {
    /// At most `capacity_bytes`, for values of about `typical_bytes` each.
    #[must_use]
    pub fn new(capacity_bytes: u64, typical_bytes: usize) -> Self {
        let typical = u64::try_from(typical_bytes + ENTRY_OVERHEAD_BYTES).unwrap_or(u64::MAX);
        let estimated_entries = usize::try_from(capacity_bytes / typical).unwrap_or(usize::MAX).max(16);
        Self {
            cache: Cache::with(
                estimated_entries,
                capacity_bytes,
                ByBytes,
                BuildIdentity::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    /// The value, if it is held, not expired, and not named by an invalidation later than its load, while the
    /// lease is fresh.
    pub fn get(&self, key: &Key, now: Duration, freshness: &Freshness) -> Option<Arc<V>> {
        if !freshness.is_fresh(now) {
            return None;
        }
        let entry = self.cache.get(key)?;
        if now >= entry.expires_at || freshness.is_stale(entry.stamp, entry.tags) {
            self.remove(key);
            return None;
        }
        Some(entry.value)
    }

    /// Holds `value`, of `bytes` bytes, loaded when every invalidation up to `stamp` was known.
    pub fn insert(
        &self,
        key: Key,
        value: Arc<V>,
        bytes: usize,
        tags: [Tag; 2],
        stamp: Seq,
        expires_at: Duration,
    ) {
        let bytes = u64::try_from(bytes.saturating_add(ENTRY_OVERHEAD_BYTES)).unwrap_or(u64::MAX);
        self.cache.insert(key, Entry { value, bytes, tags, stamp, expires_at });
    }

    /// Puts `value` in the place of `old`, with the same stamp and expiry. Does nothing when another value, or none,
    /// is held: then `value` was made from an older truth than the one held.
    pub fn update(&self, key: &Key, old: &Arc<V>, value: Arc<V>) {
        let Some(held) = self.cache.peek(key).filter(|held| Arc::ptr_eq(&held.value, old)) else { return };
        // Fails when the entry was evicted meanwhile: then there is nothing to update.
        let _evicted = self.cache.replace(*key, Entry { value, ..held }, true);
    }

    /// Drops one value.
    pub fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Drops every value.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// How full the memory is.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        MemoryStats {
            entries: self.cache.len(),
            bytes: self.cache.weight(),
            capacity_bytes: self.cache.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(1_000_000);

    fn fresh() -> Freshness {
        let freshness = Freshness::new(FOREVER, 1000);
        freshness.renew(Duration::ZERO, &[], Seq(1));
        freshness
    }

    fn key(n: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        bytes[8..16].copy_from_slice(&n.to_le_bytes());
        Key::new(bytes)
    }

    #[test]
    fn an_entry_expires_exactly() {
        let (memory, freshness) = (Memory::new(1 << 20, 100), fresh());
        memory.insert(key(1), Arc::new(1), 8, [Tag(1); 2], Seq(1), Duration::from_secs(5));
        assert!(memory.get(&key(1), Duration::from_millis(4_999), &freshness).is_some());
        assert!(memory.get(&key(1), Duration::from_secs(5), &freshness).is_none());
        assert_eq!(memory.stats().entries, 0);
    }

    #[test]
    fn ten_million_bytes_of_entries_stay_within_one_million() {
        let (memory, freshness) = (Memory::new(1_000_000, 800), fresh());
        for n in 0..10_000 {
            memory.insert(key(n), Arc::new(n), 800, [Tag(1); 2], Seq(1), FOREVER);
        }
        let stats = memory.stats();
        assert!(stats.bytes <= 1_000_000 && stats.entries > 500, "{stats:?}");
        let held = (0..10_000).filter(|n| memory.get(&key(*n), Duration::ZERO, &freshness).is_some()).count();
        assert_eq!(held, stats.entries);
    }

    #[test]
    fn an_update_keeps_the_stamp_so_that_it_cannot_outrun_an_invalidation() {
        let (memory, freshness) = (Memory::new(1 << 20, 100), fresh());
        let old = Arc::new(1);
        memory.insert(key(1), Arc::clone(&old), 8, [Tag(7); 2], Seq(1), FOREVER);
        freshness.note(Seq(2), Tag(7));
        memory.update(&key(1), &old, Arc::new(2));
        assert!(memory.get(&key(1), Duration::ZERO, &freshness).is_none());
    }

    #[test]
    fn an_update_of_an_older_value_than_the_one_held_does_nothing() {
        let (memory, freshness) = (Memory::new(1 << 20, 100), fresh());
        let old = Arc::new(1);
        memory.insert(key(1), Arc::new(7), 8, [Tag(1); 2], Seq(1), FOREVER);
        memory.update(&key(1), &old, Arc::new(2));
        assert_eq!(memory.get(&key(1), Duration::ZERO, &freshness).as_deref(), Some(&7));
    }

    proptest! {
        /// Against a map that forgets nothing: a hit always gives the last value inserted.
        #[test]
        fn a_hit_is_the_last_value(steps in prop::collection::vec((0_u64..20, any::<u32>(), any::<bool>()), 1..200)) {
            let (memory, freshness) = (Memory::new(8 * 1024, 100), fresh());
            let mut model = HashMap::new();
            for (n, value, insert) in steps {
                if insert {
                    memory.insert(key(n), Arc::new(value), 100, [Tag(1); 2], Seq(1), FOREVER);
                    model.insert(n, value);
                } else if let Some(hit) = memory.get(&key(n), Duration::ZERO, &freshness) {
                    prop_assert_eq!(Some(&*hit), model.get(&n));
                }
                prop_assert!(memory.stats().bytes <= 8 * 1024);
            }
        }
    }
}
