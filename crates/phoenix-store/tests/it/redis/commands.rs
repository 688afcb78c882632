//! Commands of others to one server and behind sentinels: how they are sent, what they cost when Redis fails, and
//! that they arrive again without a restart. Clusters are `lanes.rs`'s.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use phoenix_store::redis::{CommandError, Delivered, MAX_COMMANDS, RedisCommands};
use phoenix_testkit::proxy::{Direction, FaultProxy, Mode};
use phoenix_testkit::redis::{Redis, Sentinels};
use phoenix_testkit::wait;
use redis::{Cmd, Value};
use tokio::task::JoinSet;

use super::{AT_ONCE, COMMAND_TIMEOUT, Running, config, now};
use crate::harness::BOUND;

pub(super) type Results = Vec<Result<Value, CommandError>>;

pub(super) fn commands(url: String) -> RedisCommands {
    RedisCommands::new(&config(url), Arc::new(Running(now()))).expect("an address")
}

pub(super) fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

/// A script that writes.
fn counting(key: &str) -> Cmd {
    command(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", key])
}

pub(super) async fn one(redis: &RedisCommands, words: &[&str]) -> Result<Value, CommandError> {
    let mut results = redis.send(vec![command(words)]).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

pub(super) fn refused(code: &str) -> Result<Value, CommandError> {
    Err(CommandError::Refused { code: code.to_owned() })
}

pub(super) const LOST: Result<Value, CommandError> = Err(CommandError::Unreachable);

/// Tries until a script writes.
async fn works_again(redis: &RedisCommands) {
    wait::until(BOUND, "commands to be answered", || async {
        redis.send(vec![counting("again")]).await.iter().all(Result::is_ok)
    })
    .await;
}

/// The number behind a name in `INFO`.
pub(super) fn figure(redis: &Redis, section: &str, name: &str) -> u64 {
    let info = redis.command(&["INFO", section]).expect("it runs");
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or(0, |number| number.trim_start_matches("count=").trim().parse().expect("a number"))
}

// spec: D6
#[tokio::test]
async fn results_are_in_order_and_refusals_are_answers() {
    let server = Redis::start().expect("a server of its own");
    let redis = commands(server.url());
    assert!(!redis.is_cluster());
    let results = redis
        .send(vec![
            command(&["SET", "a", "1"]),
            command(&["LPUSH", "a", "1"]),
            command(&["EVALSHA", "0123456789012345678901234567890123456789", "1", "a"]),
            command(&["NONSENSE", "a"]),
            counting("a"),
            command(&["EVAL", "return redis.call('LPOP', KEYS[1])", "1", "a"]),
            command(&["GET", "a"]),
        ])
        .await;
    let expected: Results = vec![
        Ok(Value::Okay),
        refused("WRONGTYPE"),
        refused("NOSCRIPT"),
        refused("ERR"),
        Ok(Value::Int(2)),
        refused("WRONGTYPE"),
        Ok(Value::BulkString(b"2".to_vec())),
    ];
    assert_eq!(results, expected);
    assert_eq!(redis.send(Vec::new()).await, Vec::new());
    server.command(&["ACL", "SETUSER", "default", "-set"]).expect("it runs");
    assert_eq!(one(&redis, &["SET", "a", "1"]).await, refused("NOPERM"));
    assert_eq!(one(&redis, &["INCR", "a"]).await, Ok(Value::Int(3)), "the connection is as it was");
    let stats = redis.stats();
    assert_eq!((stats.commands, stats.refused, stats.unreachable), (9, 5, 0));
}

// spec: D6
#[tokio::test]
async fn commands_of_one_call_are_one_write_on_one_connection() {
    let server = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let redis = commands(server.url_via(proxy.addr()));
    works_again(&redis).await;
    let before = figure(&server, "stats", "total_reads_processed");
    let results = redis.send((0..300).map(|_| command(&["INCR", "a"])).collect()).await;
    let reads = figure(&server, "stats", "total_reads_processed") - before;
    assert_eq!(results, (1..=300).map(|number| Ok(Value::Int(number))).collect::<Results>());
    // The server's own count costs some of them.
    assert!(reads <= 5, "{reads} reads for 300 commands");
    let redis = &redis;
    let calls = (0..500).map(|_| async move { one(redis, &["INCR", "a"]).await.is_ok() });
    let answered = futures_util::future::join_all(calls).await;
    assert!(answered.into_iter().all(|answered| answered));
    assert_eq!(proxy.counts().accepted, 1);
}

// spec: D6
#[tokio::test]
async fn more_commands_than_fit_are_not_sent() {
    let server = Redis::start().expect("a server of its own");
    let redis = commands(server.url());
    works_again(&redis).await;
    let results = redis.send((0..MAX_COMMANDS + 2).map(|_| command(&["INCR", "a"])).collect()).await;
    assert_eq!(results.len(), MAX_COMMANDS + 2);
    assert!(results[..MAX_COMMANDS].iter().all(Result::is_ok));
    assert_eq!(results[MAX_COMMANDS..], [LOST, LOST]);
    let number = i64::try_from(MAX_COMMANDS).expect("it is small");
    assert_eq!(one(&redis, &["INCR", "a"]).await, Ok(Value::Int(number + 1)));
}

// spec: D6
#[tokio::test]
async fn a_server_that_hangs_costs_the_time_out_and_is_used_when_it_wakes_up() {
    let server = Redis::start().expect("a server of its own");
    let redis = commands(server.url());
    works_again(&redis).await;
    server.pause().expect("it runs");
    for _ in 0..4 {
        let started = now();
        assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
        assert!(started.elapsed() < COMMAND_TIMEOUT + AT_ONCE, "{:?}", started.elapsed());
    }
    server.resume().expect("it is paused");
    works_again(&redis).await;
}

// spec: D6
#[tokio::test]
async fn a_killed_server_costs_nothing_and_is_used_when_it_is_back() {
    let server = Redis::start().expect("a server of its own");
    let redis = commands(server.url());
    for _ in 0..3 {
        works_again(&redis).await;
        server.kill().expect("it runs");
        let started = now();
        for _ in 0..100 {
            assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
        }
        assert!(started.elapsed() < COMMAND_TIMEOUT, "{:?}", started.elapsed());
        server.restart().expect("it starts again");
    }
    works_again(&redis).await;
}

// spec: D6
#[tokio::test]
async fn a_server_that_closes_every_connection_is_tried_ten_times_a_second() {
    let server = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let redis = commands(server.url_via(proxy.addr()));
    works_again(&redis).await;
    let before = proxy.counts().accepted;
    proxy.set(Mode::Reset);
    let started = now();
    let mut calls = 0;
    while started.elapsed() < Duration::from_millis(450) {
        assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
        tokio::task::yield_now().await;
        calls += 1;
    }
    let attempts = proxy.counts().accepted - before;
    let most = started.elapsed().as_millis() / 100 + 1;
    assert!(attempts >= 3 && u128::from(attempts) <= most, "{attempts} connections");
    assert!(calls > 20, "the other calls fail at once: {calls}");
    proxy.set(Mode::Pass);
    works_again(&redis).await;
}

// spec: D6
#[tokio::test]
async fn a_cut_network_ends_the_connection() {
    let server = Redis::start().expect("a server of its own");
    for mode in [Mode::HalfOpen(Direction::ToClient), Mode::HalfOpen(Direction::ToUpstream), Mode::Blackhole]
    {
        let proxy = FaultProxy::start(server.address()).expect("a proxy");
        let redis = commands(server.url_via(proxy.addr()));
        works_again(&redis).await;
        proxy.set(mode);
        let started = now();
        assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
        assert!(started.elapsed() < COMMAND_TIMEOUT + AT_ONCE, "{:?}", started.elapsed());
        proxy.set(Mode::Pass);
        works_again(&redis).await;
        assert!(proxy.counts().accepted > 1, "over a new connection");
    }
}

// spec: D6
#[tokio::test]
async fn a_connection_that_takes_longer_than_a_call_is_made_over_several() {
    let server = Redis::start().expect("a server of its own");
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    // One round trip to set the connection up and one for the command: more than the time-out, each alone less.
    proxy.set(Mode::Latency(COMMAND_TIMEOUT * 3 / 10));
    let redis = commands(server.url_via(proxy.addr()));
    let mut lost = 0;
    while one(&redis, &["INCR", "a"]).await == LOST {
        lost += 1;
        assert!(lost < 5, "the connection is never made");
    }
    assert!(lost > 0, "the first call cannot be answered");
    assert_eq!(proxy.counts().accepted, 1, "all calls went on with the same connection");
}

// spec: D6
#[tokio::test]
async fn a_master_that_becomes_a_replica_is_unreachable_until_it_is_promoted() {
    let (server, other) = (Redis::start().expect("a server"), Redis::start().expect("another"));
    let proxy = FaultProxy::start(server.address()).expect("a proxy");
    let redis = commands(server.url_via(proxy.addr()));
    works_again(&redis).await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).expect("it runs");
    let results = redis.send(vec![command(&["PING"]), counting("a"), command(&["INCR", "a"])]).await;
    assert_eq!(results, [Ok(Value::SimpleString("PONG".to_owned())), LOST, LOST]);
    wait::until(BOUND, "the connection to be left", || async { proxy.counts().live == 0 }).await;
    server.command(&["REPLICAOF", "NO", "ONE"]).expect("it runs");
    works_again(&redis).await;
}

// spec: D6
#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_unreachable() {
    let server = Redis::builder().requirepass("secret").start().expect("a server of its own");
    assert!(one(&commands(server.url()), &["PING"]).await.is_ok());
    for url in [format!("redis://{}", server.address()), format!("redis://:wrong@{}", server.address())] {
        assert_eq!(one(&commands(url), &["PING"]).await, LOST);
    }
    assert!(RedisCommands::new(&config("redis-cluster://".to_owned()), Arc::new(Running(now()))).is_err());
}

// spec: D6
#[tokio::test]
async fn commands_follow_the_master_behind_sentinels() {
    let set = Sentinels::with_password(Some("secret")).expect("sentinels of its own");
    let redis = commands(set.url());
    works_again(&redis).await;
    set.servers()[0].kill().expect("it runs");
    let killed = now();
    assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
    works_again(&redis).await;
    println!("sentinels: commands are answered {:?} after the master was killed", killed.elapsed());
    wait::until(BOUND, "the sentinels to agree", || async { set.master().is_ok_and(|now| now == 1) }).await;
    // The new master hangs, and the old one, back as its replica, takes over.
    set.servers()[0].restart().expect("it starts again");
    wait::until(BOUND, "the old master to follow", || async {
        set.servers()[0]
            .command(&["INFO", "replication"])
            .is_ok_and(|info| info.contains("role:slave") && info.contains("master_link_status:up"))
    })
    .await;
    set.servers()[1].pause().expect("it runs");
    let stopped = now();
    assert_eq!(one(&redis, &["INCR", "a"]).await, LOST);
    works_again(&redis).await;
    println!("sentinels: commands are answered {:?} after the master was stopped", stopped.elapsed());
    set.servers()[1].resume().expect("it is paused");
}

// spec: D6
#[tokio::test]
async fn what_scripts_publish_is_received_as_it_is() {
    let server = Redis::start().expect("a server of its own");
    let redis = commands(server.url());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, receiver) = (Arc::clone(&told), redis.receiver(7));
    let mut running = JoinSet::new();
    running.spawn(async move {
        let deliver = |delivered| heard.lock().expect("no test panics in it").push(delivered);
        receiver.run(&["phl:channel".to_owned()], deliver).await;
    });
    let told = || told.lock().expect("no test panics in it").clone();
    wait::until(BOUND, "the subscription", || async { told() == [Delivered::Connected] }).await;
    let publish = "return redis.call('PUBLISH', 'phl:channel', ARGV[1])";
    let subscribers = one(&redis, &["EVAL", publish, "1", "{p0}", "b\u{0}\u{e9}"]).await;
    assert_eq!(subscribers, Ok(Value::Int(1)));
    wait::until(BOUND, "the message", || async { told().len() == 2 }).await;
    let payload = "b\u{0}\u{e9}".as_bytes().to_vec();
    assert_eq!(told()[1], Delivered::Message { channel: 0, payload });
}
