//! Redis comes back more than once, or with less than it had: what was granted or counted before is neither forgotten nor
//! granted again.

use std::time::Duration;

use phoenix_limit::{Key, Mode, Rule, Source};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use crate::nodes::{BOUND, Node, command, key, link, rule, start};

async fn ask(node: &Node, key: Key, rule: &Rule) -> bool {
    node.limiter.decide(key, rule, 1, Mode::Count, node.now()).await.is_admitted()
}

async fn losses(node: &Node, number: u64) {
    let other = rule(&[(10_000, 1_000)], 0);
    wait::until(BOUND, "the loss to be noticed", || async {
        ask(node, key(99), &other).await;
        node.health().losses >= number
    })
    .await;
}

// spec: R1
#[tokio::test]
async fn what_was_granted_for_one_loss_is_not_used_at_the_next() {
    let redis = Redis::start().expect("Redis starts");
    let nodes = [start(&redis.url(), 1, |_| {}).await, start(&redis.url(), 2, |_| {}).await];
    wait::until(BOUND, "the nodes to know of each other", || async {
        nodes.iter().all(|node| node.health().nodes == 2)
    })
    .await;
    let rule = rule(&[(60, 60_000)], 0);
    let mut admitted = 0;
    for node in &nodes {
        admitted += u32::from(ask(node, key(1), &rule).await);
    }
    for loss in 1..=5 {
        redis.kill().expect("Redis is killed");
        for node in &nodes {
            losses(node, loss).await;
            for _ in 0..60 {
                admitted += u32::from(ask(node, key(1), &rule).await);
            }
        }
        redis.restart().expect("Redis starts again");
        for node in &nodes {
            node.until(Source::Redis).await;
        }
    }
    assert!((20..=60).contains(&admitted), "{admitted}");
}

#[tokio::test]
async fn an_older_copy_of_redis_is_told_what_it_lacks() {
    let redis = Redis::start().expect("Redis starts");
    let node = start(&redis.url(), 1, |_| {}).await;
    let rule = rule(&[(5, 60_000)], 0);
    for _ in 0..5 {
        assert!(ask(&node, key(1), &rule).await);
    }
    // As after the start from an old file, or on a replica that lagged, had nobody asked meanwhile.
    let forget = "for _, key in ipairs(redis.call('KEYS', 'phl:*')) do
        if redis.call('TYPE', key).ok == 'zset' then redis.call('DEL', key) end
        if string.sub(key, -5) == 'nodes' then redis.call('HSET', key, '0000000000000001', '1:up') end
    end";
    command(&link(&redis.url()), &["EVAL", forget, "0"]).await.expect("Redis answers");
    wait::until(BOUND, "the loss to be noticed", || async { node.health().losses >= 1 }).await;
    node.until(Source::Redis).await;
    let second = start(&redis.url(), 2, |_| {}).await;
    assert!(!ask(&second, key(1), &rule).await, "all five are there again");
    drop(second);
    node.limiter.tick(node.now() + Duration::from_millis(500)).await;
    assert_eq!(node.health().losses, 1, "once");
}

#[tokio::test]
async fn two_installations_on_one_redis_do_not_touch_each_other() {
    let redis = Redis::start().expect("Redis starts");
    let ours = start(&redis.url(), 1, |options| options.installation = 1).await;
    let theirs = start(&redis.url(), 2, |options| options.installation = 2).await;
    let rule = rule(&[(3, 60_000)], 60_000);
    for _ in 0..3 {
        assert!(ask(&ours, key(1), &rule).await);
    }
    assert!(!ask(&ours, key(1), &rule).await);
    theirs.limiter.reset_all(theirs.now()).await;
    assert!(ask(&theirs, key(1), &rule).await, "another log");
    for node in [&ours, &theirs] {
        // A sign of life later they still do not count each other.
        let calls = node.health().calls;
        wait::until(BOUND, "a sign of life", || async { node.health().calls > calls }).await;
        assert_eq!(node.health().nodes, 1);
    }
    assert!(!ask(&ours, key(1), &rule).await);
}
