//! What holds when memory is full: no key is ever admitted more than its rule allows, nobody who is blocked is forgotten,
//! keys without memory of their own are limited with their neighbours, and the capacity is never exceeded.

use std::collections::HashMap;
use std::time::Duration;

use phoenix_limit::{Key, Keyer, MIN_CAPACITY, Memory, Mode, Refusal, Rule, Verdict, Window};
use proptest::prelude::*;

fn key(client: u64, neighbourhood: u64) -> Key {
    Keyer::new([1; 16]).key("rule", &[&client.to_le_bytes()], &neighbourhood.to_le_bytes())
}

fn of(windows: &[(u32, u64)], block: Option<u64>) -> Rule {
    let windows: Vec<_> = windows
        .iter()
        .map(|(limit, span)| Window { limit: *limit, span: Duration::from_secs(*span) })
        .collect();
    Rule::new(&windows, block.map(Duration::from_secs)).expect("it can work")
}

/// Numbers that look random: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What one key got.
#[derive(Default)]
struct Client {
    admitted: Vec<u64>,
    blocked_until: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nobody_is_admitted_more_and_nobody_blocked_is_forgotten(
        seed in 1..u64::MAX,
        limit in prop_oneof![2..9_u32, 20..200_u32],
        clients in prop_oneof![Just(300_u64), Just(3_000)],
        block in any::<bool>(),
        neighbourhoods in 1..40_u64,
        pause in prop_oneof![Just(100_u64), Just(3_000), Just(30_000)],
    ) {
        let memory = Memory::new(MIN_CAPACITY);
        let rule = of(&[(limit / 2, 2), (limit, 10)], block.then_some(20));
        let (mut dice, mut now) = (Dice(seed), 1_000_000_u64);
        let mut seen = HashMap::<u64, Client>::new();
        let mut overflown = 0;
        for _ in 0..20_000 {
            now += dice.below(pause);
            // Some are much busier than others.
            let client = dice.below(clients).min(dice.below(clients)).min(dice.below(clients));
            let cost = if dice.below(8) == 0 { 2 } else { 1 };
            let at = Duration::from_micros(now);
            let decision = memory.decide(key(client, client % neighbourhoods), &rule, cost, Mode::Count, at);
            let client = seen.entry(client).or_default();
            match decision.verdict {
                Verdict::Admitted(ticket) => {
                    prop_assert!(client.blocked_until <= now, "admitted while blocked");
                    client.admitted.extend((0..ticket.cost).map(|_| now));
                    for window in rule.windows() {
                        let span = u64::try_from(window.span.as_micros()).expect("short");
                        let live = client.admitted.iter().filter(|at| now < **at + span).count();
                        prop_assert!(live <= window.limit as usize, "{live} of {}", window.limit);
                    }
                    if dice.below(6) == 0 && memory.refund(ticket) {
                        client.admitted.truncate(client.admitted.len() - ticket.cost as usize);
                    }
                }
                Verdict::Refused(Refusal::BlockedNow) => client.blocked_until = now + 20_000_000,
                Verdict::Refused(_) => prop_assert!(decision.retry_after > Duration::ZERO),
            }
            overflown += 1;
            if overflown % 500 == 0 {
                let stats = memory.stats(at);
                prop_assert!(stats.bytes <= stats.capacity);
                let blocked = seen.values().filter(|client| client.blocked_until > now).count() as u64;
                prop_assert_eq!(stats.blocked, blocked);
            }
        }
    }
}

#[test]
fn keys_without_memory_of_their_own_share_a_limit_with_their_neighbours_only() {
    let memory = Memory::new(MIN_CAPACITY);
    let (rule, now) = (of(&[(5, 60)], None), Duration::from_secs(100));
    let mut newcomer = 0;
    while memory.stats(now).overflow_decisions == 0 {
        newcomer += 1;
        assert!(memory.decide(key(newcomer, newcomer), &rule, 1, Mode::Count, now).is_admitted());
    }
    let before = memory.stats(now);
    assert!(before.keys >= 500, "{before:?}");
    // The log of the last newcomer's neighbourhood has one admission in it.
    let admitted = |from: u64| {
        (from..from + 20)
            .filter(|client| memory.decide(key(*client, newcomer), &rule, 1, Mode::Count, now).is_admitted())
    };
    assert_eq!(admitted(1_000_000).count(), 4);
    // Who has a slot is not disturbed.
    for client in 1..newcomer {
        for _ in 0..2 {
            assert!(memory.decide(key(client, newcomer), &rule, 1, Mode::Count, now).is_admitted());
        }
    }
    // After the window there are slots again, and nobody shares.
    let later = now + Duration::from_mins(1);
    for client in 2_000_000..2_000_200 {
        for _ in 0..5 {
            assert!(memory.decide(key(client, newcomer), &rule, 1, Mode::Count, later).is_admitted());
        }
    }
    let after = memory.stats(later);
    assert!(after.reclaimed > 0 && after.bytes <= after.capacity);
}

#[test]
fn a_block_without_memory_refuses_the_key_and_lets_go_of_it() {
    let memory = Memory::new(MIN_CAPACITY);
    let (rule, now) = (of(&[(5, 60)], None), Duration::from_secs(100));
    for client in 0..2_000 {
        memory.block(key(client, client % 7), Duration::from_secs(30), now);
    }
    for client in 0..2_000 {
        let decision = memory.decide(key(client, client % 7), &rule, 1, Mode::Count, now);
        assert_eq!(decision.verdict, Verdict::Refused(Refusal::Blocked));
        assert!(decision.retry_after <= Duration::from_secs(30));
    }
    let later = now + Duration::from_secs(30);
    assert!(memory.decide(key(0, 0), &rule, 1, Mode::Count, later).is_admitted());
}

#[test]
fn a_flood_of_single_requests_leaves_room_for_the_logs_of_busy_clients() {
    let memory = Memory::new(1 << 20);
    let (rule, now) = (of(&[(100, 60)], None), Duration::from_secs(100));
    let busy: Vec<_> = (0..40).map(|client| key(client, client)).collect();
    for key in &busy {
        assert!(memory.decide(*key, &rule, 1, Mode::Count, now).is_admitted());
    }
    for client in 1_000..40_000 {
        memory.decide(key(client, client % 100), &rule, 1, Mode::Count, now);
    }
    for key in &busy {
        let admitted = (0..200).filter(|_| memory.decide(*key, &rule, 1, Mode::Count, now).is_admitted());
        assert_eq!(admitted.count(), 99);
    }
    let stats = memory.stats(now);
    assert!(stats.bytes <= stats.capacity, "{stats:?}");
}

#[test]
fn a_reset_gives_all_memory_back() {
    let memory = Memory::new(MIN_CAPACITY);
    let (rule, now) = (of(&[(100, 60)], Some(60)), Duration::from_secs(100));
    let empty = memory.stats(now);
    for client in 0..3_000 {
        for cost in [3, 4, 9] {
            memory.decide(key(client % 900, client % 9), &rule, cost, Mode::Count, now);
        }
    }
    memory.block(key(0, 0), Duration::from_secs(9), now);
    assert!(memory.stats(now).bytes > empty.bytes);
    memory.reset_all();
    let after = memory.stats(now);
    assert_eq!((after.keys, after.bytes, after.blocked), (0, empty.bytes, 0));
    for client in 0..20 {
        assert!(memory.decide(key(client, 0), &rule, 100, Mode::Count, now).is_admitted());
    }
}

/// A memory in which busy clients have used up all bytes for logs, and the clients.
fn without_bytes_for_logs(now: Duration) -> (Memory, Vec<Key>) {
    let (memory, busy_rule) = (Memory::new(MIN_CAPACITY), of(&[(400, 600)], None));
    let busy: Vec<_> = (0..300).map(|client| key(1_000 + client, 1_000 + client)).collect();
    let mut nth = 0;
    while memory.overflow_decisions() == 0 {
        memory.decide(busy[nth % busy.len()], &busy_rule, 7, Mode::Count, now);
        nth += 1;
    }
    (memory, busy)
}

#[test]
fn what_a_log_that_cannot_grow_left_to_the_shared_one_still_counts_when_it_can() {
    let now = Duration::from_secs(1_000);
    // Seven units in the only shared log are a busy client's.
    let rule = of(&[(7 + 20, 600)], None);
    // The one asks one by one from the start, the other for more at once than a slot holds.
    for cost in [1, 5] {
        let (memory, busy) = without_bytes_for_logs(now);
        let before = memory.stats(now);
        let admitted = |requests: u32| {
            let ask = |_: &u32| memory.decide(key(1, 1), &rule, cost, Mode::Count, now).is_admitted();
            (0..requests).filter(ask).count() * cost as usize
        };
        assert_eq!(admitted(10 / cost), 10);
        let after = memory.stats(now);
        assert!(after.overflow_decisions > before.overflow_decisions);
        assert_eq!(after.keys, before.keys + 1, "a key that asks is not idle");
        for key in &busy {
            memory.reset(*key);
        }
        assert_eq!(admitted(100), 10);
    }
}

#[test]
fn a_shared_log_forgets_nothing_that_counts_and_refuses_when_it_is_full() {
    let memory = Memory::new(MIN_CAPACITY);
    let (hours, minute, second) = (of(&[(5, 7_200)], None), of(&[(5, 60)], None), of(&[(1_000, 1)], None));
    let start = Duration::from_secs(100);
    // All slots are in use for hours.
    let mut client = 0;
    while memory.overflow_decisions() == 0 {
        client += 1;
        memory.decide(key(client, 1), &hours, 1, Mode::Count, start);
    }
    let ask = |client: u64, rule: &Rule, after: u64| {
        let now = start + Duration::from_secs(after);
        memory.decide(key(client, 1), rule, 1, Mode::Count, now).is_admitted()
    };
    // One unit is in the log since the last of the slots was taken.
    assert_eq!((0..9).filter(|_| ask(10_000, &minute, 1)).count(), 4);
    assert!(ask(10_001, &second, 20), "its own window has room");
    assert!(!ask(10_000, &minute, 50), "which made nothing of the others be forgotten");
    assert_eq!(
        (0..900).filter(|_| ask(10_001, &second, 60)).count(),
        256 - 6,
        "as many as there is room for"
    );
    let now = start + Duration::from_secs(62);
    let refused = memory.decide(key(10_001, 1), &second, 1, Mode::Count, now);
    assert!(!refused.is_admitted(), "all may still count for those who keep hours");
    assert_eq!(refused.retry_after, Duration::from_secs(7_200 - 62));
}
