//! Busy keys are decided from leases: seldom a question to Redis, never a unit too much.

use std::sync::Mutex;
use std::time::Duration;

use phoenix_limit::Mode;
use phoenix_testkit::redis::Redis;

use crate::nodes::{Node, Random, Seen, key, most_in, pause, rule, start};

/// Keys with these limits in 2 s, the first asked for most.
const LIMITS: [u32; 6] = [10_000, 4_000, 1_000, 400, 200, 100];
const SPAN_MS: u64 = 2_000;

fn zipf(random: &mut Random) -> usize {
    // Weights 1, 1/2, ... 1/6, in sixtieths.
    let mut ticket = random.below(147);
    [60, 30, 20, 15, 12, 10]
        .iter()
        .position(|weight| {
            let hit = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            hit
        })
        .unwrap_or_default()
}

// spec: R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_leases_nothing_is_admitted_too_much_and_next_to_nothing_refused_too_much() {
    let redis = Redis::start().expect("Redis starts");
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(start(&redis.url(), number, |_| {}).await);
    }
    let seen: Vec<Mutex<Vec<Seen>>> = LIMITS.iter().map(|_| Mutex::default()).collect();
    let rules = LIMITS.map(|limit| rule(&[(limit, SPAN_MS)], 0));
    let worker = |number: usize| {
        let (nodes, seen, rules) = (&nodes, &seen, &rules);
        async move {
            let node = &nodes[number % 3];
            let mut random = Random(number as u64);
            while node.now() < Duration::from_secs(6) {
                // A burst, of many requests for one key when it is the attacker's.
                let place = if number == 0 { 2 } else { zipf(&mut random) };
                for _ in 0..=random.below(if number == 0 { 59 } else { 7 }) {
                    let begin = node.now();
                    let decision =
                        node.limiter.decide(key(place as u64), &rules[place], 1, Mode::Count, begin).await;
                    let took = node.now().saturating_sub(begin);
                    seen[place].lock().expect("no panic").push(Seen { cost: 1, took, decision });
                }
                pause(Duration::from_millis(1 + u64::from(random.below(8)))).await;
            }
        }
    };
    tokio::join!(worker(0), worker(1), worker(2), worker(3), worker(4), worker(5), worker(6), worker(7));
    let (mut all, mut wrong) = (0, 0);
    for ((limit, seen), _) in LIMITS.iter().zip(seen).zip(&rules) {
        let seen = seen.into_inner().expect("no panic");
        let most = most_in(Duration::from_millis(SPAN_MS), &seen);
        assert!(most <= *limit, "{most} of {limit}");
        let refused = refused_with_room(&seen, *limit);
        println!("limit {limit}: {} decisions, most {most}, wrong {refused}", seen.len());
        all += seen.len();
        wrong += refused;
    }
    let health: Vec<_> = nodes.iter().map(Node::health).collect();
    println!("{wrong} of {all} wrong; {health:?}");
    assert!(wrong * 2_000 <= all, "{wrong} of {all} wrong");
    assert!(
        health.iter().all(|health| health.decided_by_lease > health.decided_by_redis && health.losses == 0)
    );
}

/// Refusals for which there was room, by the true times of all that was admitted, from the question to the answer.
fn refused_with_room(seen: &[Seen], limit: u32) -> usize {
    let mut units: Vec<u64> =
        seen.iter().filter(|seen| seen.decision.is_admitted()).map(|seen| seen.decision.at).collect();
    units.sort_unstable();
    let used = |at: u64| {
        let newer = units.partition_point(|unit| *unit <= at);
        newer - units.partition_point(|unit| unit + SPAN_MS * 1_000 <= at)
    };
    let has_room = |seen: &&Seen| {
        let at = seen.decision.at;
        let until = at + u64::try_from(seen.took.as_micros()).expect("short");
        let meanwhile =
            &units[units.partition_point(|unit| *unit < at)..units.partition_point(|unit| *unit <= until)];
        let mut moments = meanwhile.iter().copied().chain([at, at.saturating_sub(500)]);
        !seen.decision.is_admitted() && !moments.any(|at| used(at) >= limit as usize)
    };
    seen.iter().filter(has_room).count()
}

#[tokio::test]
async fn a_busy_key_with_room_asks_redis_for_less_than_a_tenth_of_its_requests() {
    let redis = Redis::start().expect("Redis starts");
    let node = start(&redis.url(), 1, |_| {}).await;
    let rule = rule(&[(10_000, 60_000)], 0);
    // A rate of some 150 a second.
    let mut asked = 0_u64;
    let mut before = None;
    while asked < 450 {
        let decision = node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now()).await;
        assert!(decision.is_admitted());
        assert_eq!(u64::from(decision.remaining), 10_000 - asked - 1);
        asked += 1;
        if asked == 150 {
            before = Some(node.health());
        }
        pause(Duration::from_millis(5)).await;
    }
    let before = before.expect("it was asked for more often");
    let by_redis = node.health().decided_by_redis - before.decided_by_redis;
    // What was sent beside: two signs of life a second, and leases that were settled at their end.
    let calls = node.health().calls - before.calls;
    assert!(by_redis <= 30, "{by_redis} of 300");
    assert!(calls <= 45, "{calls} for 300");
}

#[tokio::test]
async fn what_a_dead_node_had_on_lease_counts_until_it_leaves_the_window_and_no_longer() {
    let redis = Redis::start().expect("Redis starts");
    let (first, second) = (start(&redis.url(), 1, |_| {}).await, start(&redis.url(), 2, |_| {}).await);
    let rule = rule(&[(1_000, 1_500)], 0);
    let mut seen = Vec::new();
    while first.health().leases == 0 {
        let decision = first.limiter.decide(key(1), &rule, 1, Mode::Count, first.now()).await;
        seen.push(Seen { cost: 1, took: Duration::ZERO, decision });
    }
    let decision =
        first.limiter.decide_now(key(1), &rule, 1, Mode::Count, first.now()).expect("it is leased");
    seen.push(Seen { cost: 1, took: Duration::ZERO, decision });
    drop(first);
    let mut ask = async |number: u32| {
        let mut admitted = 0;
        for _ in 0..number {
            let decision = second.limiter.decide(key(1), &rule, 1, Mode::Count, second.now()).await;
            seen.push(Seen { cost: 1, took: Duration::ZERO, decision });
            admitted += u32::from(decision.is_admitted());
        }
        admitted
    };
    let at_once = ask(1_100).await;
    assert!((900..1_000).contains(&at_once), "{at_once}");
    pause(Duration::from_millis(1_500 + 1_000)).await;
    assert_eq!(ask(1_100).await, 1_000, "the whole limit is there again");
    assert!(most_in(Duration::from_millis(1_500), &seen) <= 1_000);
}

#[tokio::test]
async fn a_node_that_leaves_gives_back_what_it_did_not_spend() {
    let redis = Redis::start().expect("Redis starts");
    let (first, second) = (start(&redis.url(), 1, |_| {}).await, start(&redis.url(), 2, |_| {}).await);
    let rule = rule(&[(1_000, 60_000)], 0);
    let mut asked = 0;
    while first.health().leases == 0 {
        assert!(first.limiter.decide(key(1), &rule, 1, Mode::Count, first.now()).await.is_admitted());
        asked += 1;
        pause(Duration::from_millis(4)).await;
    }
    let ticket =
        first.limiter.decide_now(key(1), &rule, 3, Mode::Count, first.now()).and_then(|it| it.ticket());
    first.limiter.refund(ticket.expect("it is leased"), first.now()).await;
    first.limiter.leave(first.now()).await;
    drop(first);
    let decision = second.limiter.decide(key(1), &rule, 1, Mode::Count, second.now()).await;
    assert_eq!(decision.remaining, 1_000 - asked - 1);
}
