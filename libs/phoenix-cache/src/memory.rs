//! The first tier: this process's memory, bounded by bytes.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::freshness::{Freshness, Seq, Tag};
use crate::key::{BuildIdentity, Key};

/// What an entry costs besides its value: key, slot, ring and reference counts.
const ENTRY_OVERHEAD_BYTES: usize = 192;

/// Values by key, at most a number of bytes in all, each usable until its own expiry.
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

/// A value that may be used, and until when.
#[derive(Clone, Debug)]
pub struct Hit<V> {
    /// The value.
    pub value: Arc<V>,
    /// When its lifetime ends.
    pub expires_at: Duration,
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
        Some(self.hit(key, now, freshness)?.value)
    }

    /// As [`Memory::get`], and until when the value may be used, for [`crate::RefreshAhead`].
    ///
    /// An entry whose lifetime has ended is kept, for [`Memory::get_in_grace`], until it is replaced or evicted.
    pub fn hit(&self, key: &Key, now: Duration, freshness: &Freshness) -> Option<Hit<V>> {
        if !freshness.is_fresh(now) {
            return None;
        }
        let entry = self.cache.get(key).filter(|entry| now < entry.expires_at)?;
        let Entry { value, expires_at, .. } = self.unless_stale(key, entry, freshness)?;
        Some(Hit { value, expires_at })
    }

    /// The value for an outage, when the truth was asked and did not answer: as [`Memory::get`], but lease and
    /// lifetime may have ended, each less than `grace` ago. What is known to be invalidated does not count.
    pub fn get_in_grace(
        &self,
        key: &Key,
        now: Duration,
        grace: Duration,
        freshness: &Freshness,
    ) -> Option<Arc<V>> {
        if !freshness.in_grace(now, grace) {
            return None;
        }
        let entry = self.cache.get(key).filter(|entry| now < entry.expires_at.saturating_add(grace))?;
        Some(self.unless_stale(key, entry, freshness)?.value)
    }

    /// At most `limit` entries with their stamps, for warming another tier, in no particular order. Not judged: some
    /// may have expired or be stale.
    #[must_use]
    pub fn sample(&self, limit: usize) -> Vec<(Key, Arc<V>, Seq)> {
        self.cache.iter().take(limit).map(|(key, entry)| (key, entry.value, entry.stamp)).collect()
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

    /// The entry, unless an invalidation names it; then it is dropped.
    fn unless_stale(&self, key: &Key, entry: Entry<V>, freshness: &Freshness) -> Option<Entry<V>> {
        if freshness.is_stale(entry.stamp, entry.tags) {
            // Only this one: another load may have put a newer value in its place.
            self.cache.remove_if(key, |held| Arc::ptr_eq(&held.value, &entry.value));
            return None;
        }
        Some(entry)
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
