//! Memory against a map that forgets nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::{Freshness, Key, Memory, Seq, Tag};

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

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn an_entry_expires_exactly_and_is_kept_for_an_outage() {
    let (memory, freshness) = (Memory::new(1 << 20, 100), fresh());
    memory.insert(key(1), Arc::new(1), 8, [Tag(1); 2], Seq(1), Duration::from_secs(5));
    assert!(memory.get(&key(1), Duration::from_millis(4_999), &freshness).is_some());
    assert!(memory.get(&key(1), Duration::from_secs(5), &freshness).is_none());
    assert_eq!(memory.stats().entries, 1);
    let grace = |now| memory.get_in_grace(&key(1), now, secs(10), &freshness);
    assert_eq!(grace(Duration::from_millis(14_999)).as_deref(), Some(&1));
    assert!(grace(secs(15)).is_none());
}

#[test]
fn a_hit_tells_when_it_ends() {
    let (memory, freshness) = (Memory::new(1 << 20, 100), fresh());
    memory.insert(key(1), Arc::new(1), 8, [Tag(1); 2], Seq(1), secs(5));
    let hit = memory.hit(&key(1), secs(4), &freshness).expect("it is held");
    assert_eq!((*hit.value, hit.expires_at), (1, secs(5)));
}

#[test]
fn grace_begins_with_the_end_of_the_lease_and_knows_what_was_invalidated() {
    let (memory, freshness) = (Memory::new(1 << 20, 100), Freshness::new(secs(2), 10));
    memory.insert(key(1), Arc::new(1), 8, [Tag(1); 2], Seq(1), FOREVER);
    memory.insert(key(2), Arc::new(2), 8, [Tag(2); 2], Seq(1), FOREVER);
    let grace = |n, now| memory.get_in_grace(&key(n), now, secs(10), &freshness);
    assert!(grace(1, secs(0)).is_none(), "no lease was ever held");
    freshness.renew(secs(1), &[], Seq(1));
    assert!(memory.get(&key(1), secs(3), &freshness).is_none(), "the lease has ended");
    assert!(grace(1, secs(3)).is_some());
    freshness.note(Seq(2), Tag(2));
    assert!(grace(2, secs(4)).is_none(), "named by an invalidation");
    assert_eq!(memory.stats().entries, 1, "and dropped");
    assert!(grace(1, Duration::from_millis(12_999)).is_some());
    assert!(grace(1, secs(13)).is_none(), "the grace has ended");
    freshness.renew(secs(20), &[], Seq(2));
    freshness.reset();
    assert!(grace(1, secs(20)).is_none(), "another truth");
}

#[test]
fn a_sample_is_bounded_and_carries_stamps() {
    let memory = Memory::new(1 << 20, 100);
    for n in 0..100 {
        memory.insert(key(n), Arc::new(n), 8, [Tag(1); 2], Seq(n), FOREVER);
    }
    let sample = memory.sample(10);
    assert_eq!(sample.len(), 10);
    assert!(sample.iter().all(|(held, value, stamp)| *held == key(**value) && stamp.0 == **value));
    assert_eq!(memory.sample(1000).len(), 100);
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
