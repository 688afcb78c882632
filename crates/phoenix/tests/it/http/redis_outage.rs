//! Redis goes and comes back: nobody who is signed in notices.

use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;
use tokio::sync::Mutex;

use super::support::{Browser, Node, SOON, Site, sessions_in};

/// Everybody asks; returns what the system says of itself.
async fn everybody_is_answered(browsers: &mut [Browser]) -> String {
    let mut word = String::new();
    for browser in browsers {
        let response = browser.me().await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.header("x-system-status").unwrap().clone_into(&mut word);
    }
    word
}

/// Waits for the word while everybody asks, also newcomers: accounts go on being made, and sessions that are in no
/// memory are found.
async fn until_the_word_is(word: &str, node: &Node, browsers: &mut Vec<Browser>) {
    for number in 0..3 {
        browsers.push(node.registered(&format!("{word}{number}-{}@example.com", browsers.len())).await);
        everybody_is_answered(browsers).await;
    }
    let browsers = Mutex::new(browsers);
    wait::until(SOON, &format!("the status {word}"), || async {
        everybody_is_answered(&mut browsers.lock().await).await == word
    })
    .await;
}

// spec: A1 A2 D11
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_signed_in_notices_that_redis_is_gone() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis).in_real_time();
    let (one, two) = (site.node().await, site.node().await);
    let mut browsers = Vec::new();
    until_the_word_is("ok", &one, &mut browsers).await;

    redis.kill().unwrap();
    until_the_word_is("degraded", &one, &mut browsers).await;
    let mut elsewhere: Vec<Browser> = browsers.iter().map(|browser| browser.at(&two.client)).collect();
    everybody_is_answered(&mut elsewhere).await;
    let mut left = browsers.pop().unwrap();
    assert_eq!(left.act("/api/auth/logout").await.status, 200, "a revocation needs no Redis");

    redis.restart().unwrap();
    until_the_word_is("ok", &one, &mut browsers).await;
    // Used again, without a restart: a new session gets there.
    let mut newcomer = one.registered("newcomer@example.com").await;
    assert_eq!(newcomer.me().await.status, 200);
    wait::until(SOON, "a session in Redis", || async { sessions_in(&redis) != 0 }).await;
    everybody_is_answered(&mut browsers).await;
    one.stop().await;
    two.stop().await;
}

// spec: A2 D11
#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_and_signs_in_while_redis_is_gone() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis).in_real_time();
    redis.kill().unwrap();
    let node = site.node().await;
    let mut browser = node.registered("ada@example.com").await;
    assert_eq!(browser.me().await.status, 200);
    browser.until_in_memory().await;
    node.stop().await;
}

// spec: A2
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_costs_a_deadline_and_not_an_error() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis).with("PHOENIX_REDIS_COMMAND_TIMEOUT", "50ms").in_real_time();
    let node = site.node().await;
    let mut browsers = vec![node.registered("ada@example.com").await];
    redis.pause().unwrap();
    until_the_word_is("degraded", &node, &mut browsers).await;
    redis.resume().unwrap();
    until_the_word_is("ok", &node, &mut browsers).await;
    node.stop().await;
}

// spec: A1 A2
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_loses_nothing() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis);
    let (one, two) = (site.node().await, site.node().await);
    let mut browser = one.registered("ada@example.com").await;
    assert_eq!(browser.me().await.status, 200);
    wait::until(SOON, "a session in Redis", || async { sessions_in(&redis) == 1 }).await;
    redis.command(&["FLUSHALL"]).unwrap();
    let response = two.me(&browser.token()).await;
    assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l3")));
    one.stop().await;
    two.stop().await;
}
