//! Redis is killed, comes back empty, is paused, loses a node.

use std::time::Duration;

use phoenix_limit::{Decision, Key, Mode, Refusal, Rule, Source, Verdict};
use phoenix_testkit::proxy::{self, FaultProxy};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use crate::nodes::{BOUND, Node, Seen, command, key, link, most_in, pause, rule, start};

async fn three(redis: &Redis) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(start(&redis.url(), number, |_| {}).await);
    }
    wait::until(BOUND, "all nodes to know of each other", || async {
        nodes.iter().all(|n| n.health().nodes == 3)
    })
    .await;
    nodes
}

async fn ask(node: &Node, key: Key, rule: &Rule) -> Decision {
    node.limiter.decide(key, rule, 1, Mode::Count, node.now()).await
}

async fn all_until(nodes: &[Node], source: Source) {
    for node in nodes {
        node.until(source).await;
    }
}

/// Asks until it notices that Redis is gone.
async fn notice(nodes: &[Node]) {
    let other = key(99);
    let rule = rule(&[(10_000, 1_000)], 0);
    for node in nodes {
        wait::until(BOUND, "the loss to be noticed", || async {
            ask(node, other, &rule).await;
            node.health().source != Source::Redis
        })
        .await;
    }
}

fn admitted(decisions: &[Decision]) -> usize {
    decisions.iter().filter(|decision| decision.is_admitted()).count()
}

// spec: R1
#[tokio::test]
async fn a_client_that_used_its_limit_gets_nothing_more_when_redis_is_killed() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = three(&redis).await;
    let rule = rule(&[(30, 60_000)], 0);
    let mut first = Vec::new();
    for turn in 0..30 {
        first.push(ask(&nodes[turn % 3], key(1), &rule).await);
    }
    assert_eq!(admitted(&first), 30);
    redis.kill().expect("Redis is killed");
    notice(&nodes).await;
    let mut after = Vec::new();
    for turn in 0..30 {
        after.push(ask(&nodes[turn % 3], key(1), &rule).await);
    }
    assert_eq!(admitted(&after), 0);
    // A client that nobody has seen gets its limit, divided among the nodes.
    let mut new = Vec::new();
    for turn in 0..90 {
        new.push(ask(&nodes[turn % 3], key(2), &rule).await);
    }
    assert_eq!(admitted(&new), 30);
}

// spec: R1
#[tokio::test]
async fn what_is_left_when_redis_is_lost_is_not_given_twice_and_twice_over() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = three(&redis).await;
    let rule = rule(&[(60, 2_000)], 0);
    for round in 0..2_u64 {
        let keys: Vec<Key> = (0..12).map(|name| key(10 + 100 * round + name)).collect();
        let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); keys.len()];
        // Some keys far from the limit, some near, some asked of one node only.
        for (place, key) in keys.iter().enumerate() {
            for turn in 0..place * 5 {
                let node = if place % 2 == 0 { &nodes[turn % 3] } else { &nodes[0] };
                seen[place].push(Seen {
                    cost: 1,
                    took: Duration::ZERO,
                    decision: ask(node, *key, &rule).await,
                });
            }
        }
        redis.kill().expect("Redis is killed");
        notice(&nodes).await;
        for turn in 0..60 {
            for (place, key) in keys.iter().enumerate() {
                let node = if place % 2 == 0 { &nodes[turn % 3] } else { &nodes[0] };
                seen[place].push(Seen {
                    cost: 1,
                    took: Duration::ZERO,
                    decision: ask(node, *key, &rule).await,
                });
            }
        }
        redis.restart().expect("Redis starts again");
        // Back to one limit for all, while everybody asks for more than it.
        while !nodes.iter().all(|node| node.health().source == Source::Redis) {
            for (place, key) in keys.iter().enumerate() {
                let node = &nodes[seen[place].len() % 3];
                seen[place].push(Seen {
                    cost: 1,
                    took: Duration::ZERO,
                    decision: ask(node, *key, &rule).await,
                });
            }
            pause(Duration::from_millis(5)).await;
        }
        for _ in 0..100 {
            for (place, key) in keys.iter().enumerate() {
                let node = &nodes[seen[place].len() % 3];
                seen[place].push(Seen {
                    cost: 1,
                    took: Duration::ZERO,
                    decision: ask(node, *key, &rule).await,
                });
            }
        }
        for (place, seen) in seen.iter().enumerate() {
            // The keys that only the first node had seen may get the share of the two others.
            let unseen = if place % 2 == 0 && place > 0 { 0 } else { 2 };
            let most = most_in(Duration::from_secs(2), seen);
            assert!(most <= 60 + 20 * unseen, "round {round}, key {place}: {most}");
        }
    }
}

// spec: R1
#[tokio::test]
async fn a_client_at_half_its_limit_does_not_notice_the_loss_and_the_return() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = three(&redis).await;
    let rule = rule(&[(60, 1_000)], 0);
    let mut turn = 0_usize;
    let mut steady = async |rounds: usize| {
        for _ in 0..rounds {
            turn += 1;
            let decision = ask(&nodes[turn % 3], key(5), &rule).await;
            assert!(decision.is_admitted(), "request {turn}: {decision:?}, {:?}", nodes[turn % 3].health());
            pause(Duration::from_millis(33)).await;
        }
    };
    steady(50).await;
    redis.kill().expect("Redis is killed");
    steady(50).await;
    redis.restart().expect("Redis starts again");
    steady(60).await;
    all_until(&nodes, Source::Redis).await;
    assert!(nodes.iter().all(|node| node.health().losses >= 1));
}

#[tokio::test]
async fn blocks_survive_an_empty_redis_and_reach_every_node() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = three(&redis).await;
    let rule = rule(&[(3, 1_000)], 60_000);
    for _ in 0..3 {
        assert!(ask(&nodes[0], key(1), &rule).await.is_admitted());
    }
    assert_eq!(ask(&nodes[0], key(1), &rule).await.verdict, Verdict::Refused(Refusal::BlockedNow));
    for node in &nodes[1..] {
        wait::until(BOUND, "the block to be known", || async {
            let decision = node.limiter.decide_now(key(1), &rule, 1, Mode::Count, node.now());
            decision.is_some_and(|decision| decision.verdict == Verdict::Refused(Refusal::Blocked))
        })
        .await;
    }
    redis.restart().expect("Redis starts again");
    notice(&nodes).await;
    assert_eq!(ask(&nodes[2], key(1), &rule).await.verdict, Verdict::Refused(Refusal::Blocked));
    all_until(&nodes, Source::Redis).await;
    // A node that was not there learns it from Redis.
    let fourth = start(&redis.url(), 4, |_| {}).await;
    let decision = ask(&fourth, key(1), &rule).await;
    assert_eq!(decision.verdict, Verdict::Refused(Refusal::Blocked));
    assert!(decision.retry_after > Duration::from_secs(40), "{decision:?}");
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_deadline_and_is_found_again() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = three(&redis).await;
    let rule = rule(&[(10_000, 1_000)], 0);
    for round in 0..2 {
        redis.pause().expect("Redis is paused");
        let mut slow = 0;
        for name in 0..50 {
            let begin = nodes[0].now();
            assert!(ask(&nodes[0], key(100 * round + name), &rule).await.is_admitted());
            let took = nodes[0].now().saturating_sub(begin);
            assert!(took < Duration::from_millis(500), "{took:?}");
            slow += u32::from(took > Duration::from_millis(20));
        }
        assert!(slow <= 5, "only the first waits, and perhaps one that a busy machine delays: {slow}");
        redis.resume().expect("Redis goes on");
        all_until(&nodes, Source::Redis).await;
    }
}

/// Redis works for the others, and they go on with all of the limit: who is cut off adds at most its share.
#[tokio::test]
async fn a_node_that_is_cut_off_by_itself_adds_no_more_than_its_share_and_comes_back() {
    let redis = Redis::start().expect("Redis starts");
    let proxy = FaultProxy::start(redis.address()).expect("the proxy starts");
    let mut nodes = vec![start(&redis.url(), 1, |_| {}).await, start(&redis.url(), 2, |_| {}).await];
    let through = redis.url_via(proxy.addr());
    nodes.push(start(&through, 3, |_| {}).await);
    wait::until(BOUND, "all nodes to know of each other", || async {
        nodes.iter().all(|n| n.health().nodes == 3)
    })
    .await;
    let rule = rule(&[(30, 60_000)], 0);
    proxy.set(proxy::Mode::Blackhole);
    notice(&nodes[2..]).await;
    let mut seen = Vec::new();
    for turn in 0..120 {
        seen.push(ask(&nodes[turn % 3], key(1), &rule).await);
    }
    assert_eq!(admitted(&seen), 30 + 10);
    proxy.set(proxy::Mode::Pass);
    all_until(&nodes, Source::Redis).await;
    // What it admitted counts for all: a window that is not full yet shows it.
    let later = crate::nodes::rule(&[(50, 60_000)], 0);
    for node in &nodes {
        node.limiter.lift(key(1), node.now()).await;
    }
    assert_eq!(ask(&nodes[0], key(1), &later).await.remaining, 50 - 40 - 1);
}

#[tokio::test]
async fn a_restart_that_nobody_noticed_is_found_out_by_the_first_question() {
    let redis = Redis::start().expect("Redis starts");
    let url = redis.url();
    // Long beats, so that it is not the registry that tells.
    let node = start(&url, 1, |options| options.heartbeat = Duration::from_secs(1_000)).await;
    let rule = rule(&[(5, 60_000)], 0);
    for _ in 0..5 {
        assert!(ask(&node, key(1), &rule).await.is_admitted());
    }
    let link = link(&url);
    command(&link, &["FLUSHALL"]).await.expect("Redis answers");
    assert!(!ask(&node, key(1), &rule).await.is_admitted());
    ask(&node, key(2), &rule).await;
    node.until(Source::Redis).await;
    assert!(node.health().losses >= 1);
    let second = start(&url, 2, |_| {}).await;
    assert!(!ask(&second, key(1), &rule).await.is_admitted(), "it was told what had been admitted");
}
