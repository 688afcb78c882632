//! One Redis that fails in every way it can. None of these tests restarts the client.

use std::time::Duration;

use futures_util::future::join_all;
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use super::{AT_ONCE, COMMAND_TIMEOUT, entry, now, sessions, slowest_of_many_misses, works, works_again};
use crate::fixtures::next_hash;
use crate::harness::BOUND;

/// The first command pays at most the time-out, all others nothing, and nothing is sent any more.
async fn only_the_first_command_pays(redis: &phoenix_store::redis::RedisSessions) {
    let started = now();
    assert!(redis.get(&next_hash()).await.is_none());
    let first = started.elapsed();
    assert!(first < COMMAND_TIMEOUT + AT_ONCE, "{first:?}");
    assert!(!redis.stats().available);
    let sent = redis.stats().commands;
    let slowest = slowest_of_many_misses(redis).await;
    assert!(slowest < AT_ONCE, "{slowest:?}");
    assert_eq!(redis.stats().commands, sent);
    assert_eq!(redis.stats().spared, 200);
}

// spec: A2
#[tokio::test]
async fn a_killed_server_costs_nothing_and_is_used_again_when_it_is_back_empty() {
    let server = Redis::start().expect("a server of its own");
    let redis = sessions(server.url());
    assert!(redis.stats().available, "nobody has tried yet");
    assert!(works(&redis).await, "the first command connects");
    let kept = entry();
    redis.put(std::slice::from_ref(&kept)).await;
    assert!(redis.get(&kept.0).await.is_some());
    server.kill().expect("it runs");
    assert!(redis.ping().await.is_none());
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    server.restart().expect("it starts again");
    assert!(redis.get(&kept.0).await.is_none(), "no request is the probe");
    assert!(!redis.stats().available);
    assert!(redis.ping().await.is_some());
    assert!(redis.stats().available);
    assert!(redis.get(&kept.0).await.is_none(), "it came back empty");
    assert!(works(&redis).await);
}

// spec: A2
#[tokio::test]
async fn a_restart_that_no_request_saw_is_repaired_by_one_probe() {
    let server = Redis::start().expect("a server of its own");
    let redis = sessions(server.url());
    assert!(works(&redis).await);
    server.restart().expect("it starts again");
    assert!(redis.ping().await.is_some(), "the probe replaces the connection that ended");
    assert!(works(&redis).await);
}

// spec: A2
#[tokio::test]
async fn a_stopped_server_costs_one_time_out() {
    let server = Redis::start().expect("a server of its own");
    let redis = sessions(server.url());
    assert!(works(&redis).await);
    server.pause().expect("it runs");
    only_the_first_command_pays(&redis).await;
    let started = now();
    assert!(redis.ping().await.is_none());
    assert!(started.elapsed() < Duration::from_secs(3), "a probe is bounded: {:?}", started.elapsed());
    server.resume().expect("it is paused");
    works_again(&redis).await;
}

// spec: A2
#[tokio::test]
async fn requests_that_hang_at_the_same_moment_each_pay_once() {
    let server = Redis::start().expect("a server of its own");
    let redis = sessions(server.url());
    assert!(works(&redis).await);
    server.pause().expect("it runs");
    let started = now();
    let hashes: Vec<_> = (0..500).map(|_| next_hash()).collect();
    let answers = join_all(hashes.iter().map(|hash| redis.get(hash))).await;
    assert!(answers.iter().all(Option::is_none));
    assert!(started.elapsed() < COMMAND_TIMEOUT * 2, "{:?}", started.elapsed());
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    server.resume().expect("it is paused");
    works_again(&redis).await;
}

// spec: A2
#[tokio::test]
async fn a_server_that_hangs_before_the_first_connection_costs_one_time_out() {
    let server = Redis::start().expect("a server of its own");
    server.pause().expect("it runs");
    let redis = sessions(server.url());
    only_the_first_command_pays(&redis).await;
    server.resume().expect("it is paused");
    works_again(&redis).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_cut_network_costs_one_time_out_and_the_old_connection_is_not_waited_for() {
    let server = Redis::start().expect("a server of its own");
    for mode in [Mode::HalfOpen(Direction::ToClient), Mode::HalfOpen(Direction::ToUpstream), Mode::Blackhole]
    {
        let proxy = FaultProxy::start(server.address()).expect("a proxy");
        let redis = sessions(server.url_via(proxy.addr()));
        assert!(works(&redis).await);
        let before = proxy.counts().accepted;
        proxy.set(mode);
        only_the_first_command_pays(&redis).await;
        assert!(redis.ping().await.is_none());
        proxy.set(Mode::Pass);
        works_again(&redis).await;
        assert!(proxy.counts().accepted > before, "over a new connection");
    }
}

// spec: A2
#[tokio::test]
async fn a_server_that_refuses_or_resets_costs_nothing() {
    let server = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let redis = sessions(server.url_via(proxy.addr()));
    for mode in [Mode::Refuse, Mode::Reset] {
        works_again(&redis).await;
        proxy.set(mode);
        assert!(redis.get(&next_hash()).await.is_none());
        assert!(!redis.stats().available);
        assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
        assert!(redis.ping().await.is_none());
        proxy.set(Mode::Pass);
    }
    works_again(&redis).await;
}

// spec: A2
#[tokio::test]
async fn a_slow_server_is_used_only_while_it_answers_in_time() {
    let server = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let redis = sessions(server.url_via(proxy.addr()));
    assert!(works(&redis).await);
    proxy.set(Mode::Latency(COMMAND_TIMEOUT));
    only_the_first_command_pays(&redis).await;
    for _ in 0..2 {
        assert!(redis.ping().await.is_none(), "an answer that comes too late is none");
        assert!(!redis.stats().available);
    }
    proxy.set(Mode::Latency(Duration::from_millis(10)));
    works_again(&redis).await;
}

// spec: A1 A2
#[tokio::test]
async fn a_wiped_server_is_no_outage() {
    let server = Redis::start().expect("a server of its own");
    let redis = sessions(server.url());
    let kept = entry();
    redis.put(std::slice::from_ref(&kept)).await;
    assert!(redis.get(&kept.0).await.is_some());
    server.command(&["FLUSHALL"]).expect("it runs");
    assert!(redis.get(&kept.0).await.is_none());
    assert!(redis.stats().available);
    assert!(works(&redis).await);
}

// spec: A2 D6
#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_and_used_again_when_it_is_promoted() {
    let (server, other) = (Redis::start().expect("a server"), Redis::start().expect("another"));
    let redis = sessions(server.url());
    assert!(works(&redis).await);
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).expect("it runs");
    redis.put(&[entry()]).await;
    assert!(!redis.stats().available, "READONLY is an outage");
    wait::until(BOUND, "the replica to be refused by the probe", || async {
        redis.ping().await.is_none() && !redis.stats().available
    })
    .await;
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    server.command(&["REPLICAOF", "NO", "ONE"]).expect("it runs");
    works_again(&redis).await;
}

// spec: A2
#[tokio::test]
async fn a_replica_is_noticed_by_the_probe_before_anybody_writes() {
    let (server, other) = (Redis::start().expect("a server"), Redis::start().expect("another"));
    let redis = sessions(server.url());
    assert!(works(&redis).await);
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).expect("it runs");
    assert!(redis.ping().await.is_none());
    assert!(!redis.stats().available);
}

// spec: A2
#[tokio::test]
async fn other_refusals_are_answers() {
    let server = Redis::builder().setting("maxmemory", "1mb").start().expect("a server of its own");
    let redis = sessions(server.url());
    assert!(redis.ping().await.is_some());
    let errors = redis.stats().errors;
    // Full: every write is refused with OOM.
    redis.put(&[entry()]).await;
    assert!(redis.stats().errors > errors, "the write was refused");
    assert!(redis.stats().available);
    assert!(redis.ping().await.is_some());
}

// spec: A2
#[tokio::test]
async fn a_server_that_wants_a_password_we_do_not_have_is_not_used() {
    let server = Redis::builder().requirepass("secret").start().expect("a server of its own");
    let redis = sessions(server.url_via(server.address()));
    assert!(redis.ping().await.is_some() && works(&redis).await);
    for url in [format!("redis://{}", server.address()), format!("redis://:wrong@{}", server.address())] {
        let redis = sessions(url);
        assert!(redis.ping().await.is_none());
        assert!(!redis.stats().available);
        assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    }
}
