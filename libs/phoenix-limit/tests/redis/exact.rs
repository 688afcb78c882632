//! What limiters decide together is exact, and what one learns the others do.

use std::time::Duration;

use phoenix_limit::{Mode, Refusal, Verdict};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;
use redis::Value;

use crate::nodes::{BOUND, Node, Random, Seen, command, key, link, most_in, pause, rule, start};

async fn some(redis: &Redis, number: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 1..=number {
        nodes.push(start(&redis.url(), number, |options| options.leases.from_rate = u32::MAX).await);
    }
    nodes
}

/// What was admitted, in the order of its times, is what an exact limiter would have admitted: nothing too much, and
/// nothing refused for which there was room at every moment from the question to the answer.
fn assert_exact(seen: &[Seen], windows: &[(u32, u64)]) {
    let mut units: Vec<u64> = Vec::new();
    for seen in seen.iter().filter(|seen| seen.decision.is_admitted()) {
        units.extend(std::iter::repeat_n(seen.decision.at, seen.cost as usize));
    }
    units.sort_unstable();
    let used =
        |at: u64, ms: u64| units.iter().filter(|unit| **unit <= at && at < **unit + ms * 1_000).count();
    for seen in seen {
        let (at, cost) = (seen.decision.at, seen.cost as usize);
        if seen.decision.is_admitted() {
            assert!(windows.iter().all(|&(limit, ms)| used(at, ms) <= limit as usize), "{seen:?}");
            continue;
        }
        // The estimate of Redis' clock is a little ahead.
        let until = at + u64::try_from(seen.took.as_micros()).expect("short");
        let mut moments = units
            .iter()
            .copied()
            .filter(|unit| (at..=until).contains(unit))
            .chain([at, at.saturating_sub(500)]);
        let is_full = |at| windows.iter().any(|&(limit, ms)| used(at, ms) + cost > limit as usize);
        assert!(moments.any(is_full), "{seen:?}");
    }
}

// spec: R3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_at_three_nodes_are_decided_exactly() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 3).await;
    let flusher = link(&redis.url());
    for (name, windows) in [vec![(20, 150)], vec![(5, 30), (30, 400)]].into_iter().enumerate() {
        let rule = rule(&windows, 0);
        let key = key(name as u64);
        let mut random = Random(name as u64);
        let mut seen = Vec::new();
        for round in 0..60 {
            if round % 20 == 10 {
                command(&flusher, &["SCRIPT", "FLUSH"]).await.expect("Redis answers");
            }
            let burst = (0..=random.below(11)).map(|_| {
                let (node, cost) = (random.below(3) as usize, if random.below(5) == 0 { 3 } else { 1 });
                let (nodes, rule) = (&nodes, &rule);
                async move {
                    let node = &nodes[node];
                    let begin = node.now();
                    let decision = node.limiter.decide(key, rule, cost, Mode::Count, begin).await;
                    Seen { cost, decision, took: node.now().saturating_sub(begin) }
                }
            });
            seen.extend(join_all(burst.collect()).await);
            pause(Duration::from_millis(u64::from(random.below(40)))).await;
        }
        assert_exact(&seen, &windows);
        let refused = seen.iter().filter(|seen| !seen.decision.is_admitted()).count();
        assert!(refused > 20 && seen.len() - refused > 60, "{refused} of {} refused", seen.len());
        for (limit, ms) in windows {
            assert!(most_in(Duration::from_millis(ms), &seen) <= limit);
        }
    }
    assert!(nodes.iter().all(|node| node.health().losses == 0), "nothing was lost");
}

async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn who_waits_as_told_is_admitted_and_the_refused_never_ask_redis() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 2).await;
    let rule = rule(&[(3, 300)], 0);
    for turn in 0..3 {
        let node = &nodes[turn % 2];
        assert!(node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now()).await.is_admitted());
    }
    let node = &nodes[0];
    let refused = node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now()).await;
    let end = node.now() + refused.retry_after;
    let before = node.health().decided_by_redis;
    for _ in 0..1_000 {
        let again = node.limiter.decide_now(key(1), &rule, 1, Mode::Count, node.now());
        if node.now() < end.saturating_sub(Duration::from_millis(5)) {
            assert!(again.is_some_and(|again| !again.is_admitted()), "{again:?}");
        }
    }
    assert_eq!(node.health().decided_by_redis, before);
    pause(end.saturating_sub(node.now())).await;
    assert!(node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now()).await.is_admitted());
}

#[tokio::test]
async fn requests_that_are_given_up_leave_nobody_waiting_and_cost_at_most_their_units() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 1).await;
    let node = &nodes[0];
    let rule = rule(&[(2_000, 60_000)], 0);
    let mut random = Random(5);
    for _ in 0..50 {
        let mut asking: Vec<_> = (0..20)
            .map(|_| Box::pin(node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now())))
            .collect();
        // All begin; some are dropped, among them who asks for the others and who is to ask next.
        std::future::poll_fn(|context| {
            for asking in &mut asking {
                assert!(asking.as_mut().poll(context).is_pending(), "Redis is asked");
            }
            std::task::Poll::Ready(())
        })
        .await;
        let mut kept = Vec::new();
        for (place, asking) in asking.into_iter().enumerate() {
            if place > 1 && random.below(2) == 0 {
                kept.push(asking);
            }
        }
        let decisions = tokio::time::timeout(BOUND, join_all(kept)).await.expect("nobody waits for ever");
        assert!(decisions.iter().all(phoenix_limit::Decision::is_admitted));
    }
    let left = node.limiter.decide(key(1), &rule, 1, Mode::Count, node.now()).await.remaining;
    assert!((2_000 - 50 * 20 - 1..2_000).contains(&left), "{left}");
    assert_eq!(node.health().decided_alone, 0);
}

#[tokio::test]
async fn units_that_come_back_are_known_everywhere() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 2).await;
    let (one, two) = (&nodes[0], &nodes[1]);
    let rule = rule(&[(2, 60_000)], 60_000);
    let ticket = |decision: phoenix_limit::Decision| decision.ticket().expect("admitted");
    let first = ticket(one.limiter.decide(key(1), &rule, 1, Mode::Reserve, one.now()).await);
    let second = ticket(one.limiter.decide(key(1), &rule, 1, Mode::Reserve, one.now()).await);
    let refused = two.limiter.decide(key(1), &rule, 1, Mode::Reserve, two.now()).await;
    assert_eq!(
        refused.verdict,
        Verdict::Refused(Refusal::Reserved),
        "nobody is blocked because of reservations"
    );
    assert!(refused.retry_after <= Duration::from_secs(1));
    wait::until(BOUND, "the refusal to be known, for a moment", || async {
        two.limiter.decide(key(1), &rule, 1, Mode::Reserve, two.now()).await;
        let known = two.limiter.decide_now(key(1), &rule, 1, Mode::Reserve, two.now());
        known.is_some_and(|known| {
            known.verdict == refused.verdict && known.retry_after <= Duration::from_millis(100)
        })
    })
    .await;
    one.limiter.refund(first, one.now()).await;
    wait::until(BOUND, "the refund to be known", || async {
        two.limiter.decide_now(key(1), &rule, 1, Mode::Reserve, two.now()).is_none()
    })
    .await;
    let third = ticket(two.limiter.decide(key(1), &rule, 1, Mode::Reserve, two.now()).await);
    one.limiter.confirm(second, one.now()).await;
    two.limiter.confirm(third, two.now()).await;
    let blocked = two.limiter.decide(key(1), &rule, 1, Mode::Reserve, two.now()).await;
    assert_eq!(blocked.verdict, Verdict::Refused(Refusal::BlockedNow));
    wait::until(BOUND, "the block to be known", || async {
        one.limiter.decide_now(key(1), &rule, 1, Mode::Count, one.now()).is_some()
    })
    .await;
    // Lifted: what was admitted still counts, so the next one is blocked again. Reset: nothing counts.
    two.limiter.lift(key(1), two.now()).await;
    wait::until(BOUND, "the end of the block to be known", || async {
        one.limiter.decide_now(key(1), &rule, 1, Mode::Count, one.now()).is_none()
    })
    .await;
    let again = one.limiter.decide(key(1), &rule, 1, Mode::Count, one.now()).await;
    assert_eq!(again.verdict, Verdict::Refused(Refusal::BlockedNow));
    two.limiter.reset(key(1), two.now()).await;
    wait::until(BOUND, "the reset to be known", || async {
        one.limiter.decide(key(1), &rule, 1, Mode::Count, one.now()).await.is_admitted()
    })
    .await;
}

#[tokio::test]
async fn a_reset_of_everything_reaches_all_nodes_also_without_the_message() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 3).await;
    let rule = rule(&[(2, 60_000)], 60_000);
    for name in 0..20 {
        for node in &nodes {
            node.limiter.decide(key(name), &rule, 1, Mode::Count, node.now()).await;
        }
    }
    nodes[1].limiter.reset_all(nodes[1].now()).await;
    for (name, node) in (0..20).zip(nodes.iter().cycle()) {
        wait::until(BOUND, "the key to be free again", || async {
            node.limiter.decide(key(name), &rule, 1, Mode::Count, node.now()).await.is_admitted()
        })
        .await;
    }
    assert!(nodes.iter().all(|node| node.health().losses == 0), "a reset is no loss");
}

#[tokio::test]
async fn no_key_of_redis_lives_for_ever() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = some(&redis, 2).await;
    let rule = rule(&[(2, 1_000), (10, 60_000)], 3_000);
    for name in 0..50 {
        for node in &nodes {
            let mode = if name % 2 == 0 { Mode::Count } else { Mode::Reserve };
            let decision =
                node.limiter.decide(key(name), &rule, 1 + (name % 3) as u32, mode, node.now()).await;
            if let (Some(ticket), 0) = (decision.ticket(), name % 5) {
                node.limiter.refund(ticket, node.now()).await;
            }
        }
    }
    nodes[0].limiter.block(key(60), Duration::from_secs(5), nodes[0].now()).await;
    nodes[0].limiter.block(key(1), Duration::from_secs(500), nodes[0].now()).await;
    nodes[0].limiter.lift(key(61), nodes[0].now()).await;
    let link = link(&redis.url());
    let Ok(Value::Array(keys)) = command(&link, &["KEYS", "*"]).await else { panic!("no list of keys") };
    assert!(keys.len() > 60, "{}", keys.len());
    for name in keys {
        let Value::BulkString(name) = name else { panic!("a name is text") };
        let name = String::from_utf8(name).expect("a name is text");
        let life = command(&link, &["PTTL", &name]).await;
        assert!(matches!(life, Ok(Value::Int(1..=700_000))), "{name} {life:?}");
    }
}
