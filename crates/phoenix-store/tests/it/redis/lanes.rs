//! Commands of others to a cluster: that a master which hangs, is gone or gives slots away costs only the commands
//! for its own slots, and only until the cluster has replaced it.

use std::time::Duration;

use phoenix_store::redis::{CommandError, RedisCommands};
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::redis::Cluster;
use phoenix_testkit::wait;
use redis::Value;

use super::commands::{LOST, Results, command, commands, figure, one};
use super::{AT_ONCE, COMMAND_TIMEOUT, now};
use crate::harness::BOUND;

const MASTERS: usize = 3;

/// Names of keys, by master.
struct Keys([Vec<String>; MASTERS]);

impl Keys {
    fn of(cluster: &Cluster) -> Self {
        let mut keys = [const { Vec::new() }; MASTERS];
        for number in 0..48 {
            let key = format!("phl:{{p{number}}}:key");
            keys[cluster.master_of(&key, 0).expect("a master")].push(key);
        }
        assert!(keys.iter().all(|keys| keys.len() > 3), "{keys:?}");
        Self(keys)
    }

    fn first_of(&self, master: usize) -> &str {
        &self.0[master][0]
    }
}

async fn count(redis: &RedisCommands, key: &str) -> Result<Value, CommandError> {
    one(redis, &["EVAL", "return redis.call('INCR', KEYS[1])", "1", key]).await
}

async fn works_again(redis: &RedisCommands, keys: &Keys) {
    for (master, keys) in keys.0.iter().enumerate() {
        wait::until(BOUND, &format!("keys of master {master} to be answered"), || async {
            count(redis, &keys[0]).await.is_ok()
        })
        .await;
    }
}

/// What 200 commands took, one after the other for keys of these masters; all answered.
async fn took(redis: &RedisCommands, keys: &Keys, masters: [usize; 2]) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0..100 {
        for master in masters {
            let key = &keys.0[master][number % keys.0[master].len()];
            let started = now();
            let result = count(redis, key).await;
            assert!(result.is_ok(), "{key} of master {master}: {result:?}");
            took.push(started.elapsed());
        }
    }
    took
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

// spec: D6
#[tokio::test]
async fn commands_of_one_call_go_to_all_masters() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let keys = Keys::of(&cluster);
    let redis = commands(cluster.url());
    assert!(redis.is_cluster());
    let all: Vec<&String> = (0..4).flat_map(|number| keys.0.iter().map(move |keys| &keys[number])).collect();
    let mut sent: Vec<_> = all.iter().map(|key| command(&["SET", key, key])).collect();
    sent.push(command(&["PING"]));
    let results = redis.send(sent).await;
    assert!(results.iter().all(Result::is_ok), "the first call makes the connections: {results:?}");
    let reads: Vec<u64> =
        cluster.nodes().iter().map(|node| figure(node, "stats", "total_reads_processed")).collect();
    let results = redis.send(all.iter().map(|key| command(&["GET", key])).collect()).await;
    let expected: Results = all.iter().map(|key| Ok(Value::BulkString(key.as_bytes().to_vec()))).collect();
    assert_eq!(results, expected);
    for (node, before) in cluster.nodes()[..MASTERS].iter().zip(reads) {
        // One for the commands, the others for counting and the cluster's own connections.
        let reads = figure(node, "stats", "total_reads_processed") - before;
        assert!(reads <= 5, "{reads}");
        assert_eq!(figure(node, "errorstats", "errorstat_MOVED"), 0, "no command went to a wrong master");
    }
    let across = [keys.first_of(0), keys.first_of(1)];
    let result = one(&redis, &["EVAL", "return 1", "2", across[0], across[1]]).await;
    assert_eq!(result, super::commands::refused("CROSSSLOT"));
}

/// Ends one master; the other two must not notice, and its slots must be served again after the failover. Returns
/// the figures.
async fn lose_a_master(end: impl FnOnce(&Cluster, usize)) -> String {
    let cluster = Cluster::start().expect("a cluster of its own");
    for node in cluster.nodes() {
        // Else all masters refuse to serve from when one is found dead until it is replaced.
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("it runs");
    }
    let keys = Keys::of(&cluster);
    let redis = commands(cluster.url());
    works_again(&redis, &keys).await;
    let before = p99(took(&redis, &keys, [0, 2]).await);
    end(&cluster, 1);
    let ended = now();
    let mixed = [keys.first_of(0), keys.first_of(1), keys.first_of(2)].map(|key| command(&["INCR", key]));
    let results = redis.send(mixed.to_vec()).await;
    assert!(ended.elapsed() < COMMAND_TIMEOUT + AT_ONCE, "{:?}", ended.elapsed());
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(results[1], LOST);
    // Beside the others somebody goes on to ask for what the lost master had.
    let lost = keys.first_of(1);
    let served = wait::until(BOUND, "the lost slots to be served again", || async {
        count(&redis, lost).await.is_ok()
    });
    let mut during = Vec::new();
    let others = async {
        loop {
            during.extend(took(&redis, &keys, [0, 2]).await);
        }
    };
    tokio::select! {
        () = served => {}
        () = others => {}
    }
    let again = ended.elapsed();
    let (number, slowest) = (during.len(), during.iter().max().copied().unwrap_or_default());
    let during = p99(during);
    assert!(during < before * 5 + AT_ONCE / 4, "{during:?} instead of {before:?}");
    works_again(&redis, &keys).await;
    format!(
        "99th percentile of the others {before:?}, then {during:?} of {number}, longest {slowest:?}; \
         the lost slots are served again after {again:?}"
    )
}

// spec: D6
#[tokio::test]
async fn a_master_that_is_stopped_costs_the_others_nothing() {
    let figures = lose_a_master(|cluster, master| cluster.nodes()[master].pause().expect("it runs")).await;
    println!("a master stopped: {figures}");
}

// spec: D6
#[tokio::test]
async fn a_master_that_is_killed_costs_the_others_nothing() {
    let figures = lose_a_master(|cluster, master| cluster.nodes()[master].kill().expect("it runs")).await;
    println!("a master killed: {figures}");
}

// spec: D6
#[tokio::test]
async fn a_master_that_comes_back_as_a_replica_is_not_asked() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let keys = Keys::of(&cluster);
    let redis = commands(cluster.url());
    works_again(&redis, &keys).await;
    cluster.nodes()[1].pause().expect("it runs");
    wait::until(BOUND, "the replica to take over", || async {
        cluster.nodes()[0].command(&["CLUSTER", "NODES"]).is_ok_and(|nodes| {
            nodes.lines().any(|line| {
                line.contains("master") && line.contains(&cluster.nodes()[4].address().to_string())
            })
        })
    })
    .await;
    cluster.nodes()[1].resume().expect("it is paused");
    works_again(&redis, &keys).await;
    for _ in 0..20 {
        for keys in &keys.0 {
            assert!(count(&redis, &keys[1]).await.is_ok());
        }
    }
}

// spec: D6
#[tokio::test]
async fn a_slot_that_moved_is_followed_and_learnt() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let keys = Keys::of(&cluster);
    let redis = commands(cluster.url());
    works_again(&redis, &keys).await;
    let nodes = cluster.nodes();
    let key = keys.first_of(0);
    nodes[0].command(&["DEL", key]).expect("it runs");
    let slot = slot_of(&cluster, key);
    let id = id_of(&cluster, 1);
    for master in [1, 0, 2] {
        nodes[master].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]).expect("it is a master");
    }
    for number in 1..=50 {
        assert_eq!(one(&redis, &["INCR", key]).await, Ok(Value::Int(number)), "no command is lost");
    }
    wait::until(BOUND, "the new map to be used", || async {
        let before = figure(&nodes[0], "errorstats", "errorstat_MOVED");
        assert!(before > 0, "the old master was asked");
        assert!(count(&redis, key).await.is_ok());
        figure(&nodes[0], "errorstats", "errorstat_MOVED") == before
    })
    .await;
}

// spec: D6
#[tokio::test]
async fn a_slot_that_is_being_moved_is_asked_for_at_both_ends() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let keys = Keys::of(&cluster);
    let redis = commands(cluster.url());
    works_again(&redis, &keys).await;
    let nodes = cluster.nodes();
    let key = keys.first_of(0);
    let (here, there) = (key.to_owned(), format!("{key}:there"));
    nodes[0].command(&["SET", &here, "5"]).expect("it runs");
    let slot = slot_of(&cluster, key);
    let ids = [id_of(&cluster, 0), id_of(&cluster, 1)];
    nodes[1].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]).expect("it is a master");
    nodes[0].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]).expect("it is a master");
    let other = keys.first_of(2);
    for number in 1..=20 {
        let sent = [&here, &there, &there, &other.to_owned()].map(|key| command(&["INCRBY", key, "1"]));
        let results = redis.send(sent.to_vec()).await;
        let expected = [5 + number, 2 * number - 1, 2 * number].map(|value| Ok(Value::Int(value)));
        assert_eq!(results[..3], expected);
        assert!(results[3].is_ok());
    }
    assert!(figure(&nodes[0], "errorstats", "errorstat_ASK") >= 20);
    // A script about one key here and one there can be carried out nowhere for now.
    assert_eq!(one(&redis, &["EVAL", "return 1", "2", &here, &there]).await, LOST);
    assert_eq!(one(&redis, &["LPUSH", &there, "1"]).await, super::commands::refused("WRONGTYPE"));
}

// spec: D6
#[tokio::test]
async fn the_cluster_is_found_when_all_nodes_of_the_address_are_gone() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let keys = Keys::of(&cluster);
    let redis = commands(format!("redis-cluster://{}", cluster.nodes()[0].address()));
    works_again(&redis, &keys).await;
    cluster.nodes()[0].kill().expect("it runs");
    works_again(&redis, &keys).await;
}

// spec: D6
#[tokio::test]
async fn nodes_of_the_address_that_hang_or_are_no_cluster_keep_nobody_from_the_others() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let hung = FaultProxy::start(cluster.nodes()[0].address()).expect("a proxy");
    hung.set(Mode::Blackhole);
    let alone = phoenix_testkit::redis::Redis::start().expect("a server of its own");
    let hosts = [hung.addr(), alone.address(), cluster.nodes()[5].address()].map(|host| host.to_string());
    let redis = commands(format!("redis-cluster://{}", hosts.join(",")));
    assert!(count(&redis, "a").await.is_ok(), "with the first call");
    let nowhere = commands(format!("redis-cluster://{},{}", hosts[0], hosts[1]));
    let started = now();
    assert_eq!(one(&nowhere, &["INCR", "a"]).await, LOST);
    assert!(started.elapsed() < COMMAND_TIMEOUT + AT_ONCE, "{:?}", started.elapsed());
}

fn slot_of(cluster: &Cluster, key: &str) -> String {
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", key]).expect("it runs");
    slot.trim_start_matches(':').to_owned()
}

fn id_of(cluster: &Cluster, node: usize) -> String {
    let id = cluster.nodes()[node].command(&["CLUSTER", "MYID"]).expect("it runs");
    id.lines().last().expect("an id").to_owned()
}
