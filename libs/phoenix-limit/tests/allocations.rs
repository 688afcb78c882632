//! Bytes and allocations, counted in the allocator. A binary of its own, because it replaces that.

use std::hint::black_box;
use std::time::Duration;

use allocation_counter::measure;
use phoenix_limit::{Key, Keyer, MIN_CAPACITY, Memory, Mode, Refusal, Rule, Window};

const CAPACITY: u64 = 64 << 20;

/// A key without the cost of making one.
fn keys() -> impl Fn(u64) -> Key {
    let keyer = Keyer::new([1; 16]);
    move |client: u64| keyer.key("api", &[&client.to_le_bytes()], &(client % 1_000).to_le_bytes())
}

fn rule(limit: u32, block: Option<u64>) -> Rule {
    let window = Window { limit, span: Duration::from_mins(1) };
    Rule::new(&[window], block.map(Duration::from_secs)).expect("it can work")
}

#[test]
fn a_refusal_allocates_nothing() {
    let (memory, key, now) = (Memory::new(CAPACITY), keys()(1), Duration::from_secs(100));
    let other = keys()(2);
    let (rule, blocking) = (rule(50, None), rule(50, Some(60)));
    for _ in 0..50 {
        assert!(memory.decide(key, &rule, 1, Mode::Count, now).is_admitted());
        assert!(memory.decide(other, &blocking, 1, Mode::Count, now).is_admitted());
    }
    memory.note_refused(keys()(3), &rule, 1, now + Duration::from_secs(1), Refusal::Exceeded, 0, now);
    let third = keys()(3);
    let counted = measure(|| {
        for _ in 0..1_000 {
            assert!(!black_box(memory.decide(key, &rule, 1, Mode::Count, now)).is_admitted());
            assert!(!black_box(memory.decide(other, &blocking, 1, Mode::Reserve, now)).is_admitted());
            assert!(!black_box(memory.peek(other, &blocking, 1, now)).is_admitted());
            assert!(black_box(memory.refused(third, &rule, 1, now)).is_some());
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn an_admission_in_a_slot_allocates_nothing() {
    let (memory, key, rule) = (Memory::new(CAPACITY), keys()(1), rule(4, None));
    memory.decide(key, &rule, 1, Mode::Count, Duration::from_secs(100));
    let counted = measure(|| {
        for second in 0..1_000 {
            let now = Duration::from_secs(200 + 15 * second);
            assert!(black_box(memory.decide(key, &rule, 1, Mode::Count, now)).is_admitted());
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn sixty_four_mebibytes_hold_six_hundred_thousand_keys() {
    let (key, rule, now) = (keys(), rule(100, None), Duration::from_secs(100));
    let mut stats = Vec::new();
    let counted = measure(|| {
        let memory = Memory::new(CAPACITY);
        let mut alone = 0;
        for client in 0..600_000 {
            let before = memory.overflow_decisions();
            black_box(memory.decide(key(client), &rule, 1, Mode::Count, now));
            alone += u64::from(memory.overflow_decisions() == before);
        }
        stats.push((alone, memory.stats(now)));
    });
    let (alone, stats) = stats.remove(0);
    assert!(alone >= 597_000, "keys of slightly uneven shards share: {alone}, {stats:?}");
    assert!(stats.bytes <= CAPACITY && counted.bytes_max <= CAPACITY, "{counted:?} {stats:?}");
}

/// A million keys in debug builds; ten million go through the same code in the benchmark.
#[test]
fn a_flood_of_keys_stays_inside_the_capacity_of_every_size() {
    let (key, rule) = (keys(), rule(100, Some(300)));
    for capacity in [0, MIN_CAPACITY, 300_000, 1 << 20, 7_777_777] {
        let counted = measure(|| {
            let memory = Memory::new(capacity);
            for client in 0..200_000_u64 {
                let now = Duration::from_millis(1_000_000 + client);
                // One in eight is busy.
                let cost = if client % 8 == 0 { 40 } else { 1 };
                memory.decide(key(client), &rule, cost, Mode::Count, now);
            }
            let stats = memory.stats(Duration::from_mins(20));
            assert!(stats.bytes <= stats.capacity && stats.overflow_decisions > 0, "{stats:?}");
        });
        assert!(counted.bytes_max <= capacity.max(MIN_CAPACITY), "{capacity}: {counted:?}");
    }
}
