//! Sessions in a real Redis Cluster and behind real sentinels, and what a failover costs.

use std::sync::Arc;

use phoenix_auth::model::{ActiveSession, TokenHash};
use phoenix_cache::Seq;
use phoenix_store::redis::RedisSessions;
use phoenix_testkit::proxy::{FaultProxy, Mode};
use phoenix_testkit::redis::{Cluster, Sentinels};
use phoenix_testkit::wait;

use super::{AT_ONCE, COMMAND_TIMEOUT, entry, now, sessions, slowest_of_many_misses, works, works_again};
use crate::fixtures::next_hash;
use crate::harness::BOUND;

/// Enough for every master to have some: the chance that one has none is 3 * (2/3)^100.
const ENTRIES: usize = 100;

async fn found(redis: &RedisSessions, entries: &[(TokenHash, Arc<ActiveSession>, Seq)]) -> usize {
    let mut found = 0;
    for (hash, active, _) in entries {
        found += usize::from(redis.get(hash).await.is_some_and(|(kept, _)| kept.session == active.session));
    }
    found
}

/// Whether entries in all parts of the cluster are kept and found.
async fn all_masters_work(redis: &RedisSessions) -> bool {
    let entries: Vec<_> = (0..ENTRIES).map(|_| entry()).collect();
    redis.put(&entries).await;
    found(redis, &entries).await == ENTRIES
}

async fn all_masters_work_again(redis: &RedisSessions) {
    wait::until(BOUND, "all masters to be used again", || async {
        redis.ping().await;
        redis.stats().available && all_masters_work(redis).await
    })
    .await;
}

async fn until_all_sentinels_name_the_new_master(set: &Sentinels) {
    wait::until(BOUND, "the sentinels to agree", || async { set.master().is_ok_and(|now| now == 1) }).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_cluster_is_used_and_a_killed_master_is_replaced_without_a_restart() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let redis = sessions(cluster.url());
    assert!(all_masters_work(&redis).await, "one put for all slots");
    assert!(redis.ping().await.is_some());
    for node in &cluster.nodes()[..3] {
        assert_ne!(node.command(&["DBSIZE"]).expect("it runs"), ":0", "every master has some of the entries");
    }
    cluster.nodes()[1].kill().expect("it runs");
    let killed = now();
    assert!(redis.ping().await.is_none(), "the slots of one master are missing");
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    all_masters_work_again(&redis).await;
    println!("cluster: used again {:?} after a master was killed", killed.elapsed());
    cluster.nodes()[1].restart().expect("it starts again");
    all_masters_work_again(&redis).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_master_of_a_cluster_that_hangs_costs_one_time_out_and_is_replaced() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let redis = sessions(cluster.url());
    assert!(all_masters_work(&redis).await);
    cluster.nodes()[2].pause().expect("it runs");
    let stopped = now();
    // Sooner or later a command goes to the master that hangs.
    let mut slow = 0;
    while redis.stats().available {
        let started = now();
        assert!(redis.get(&next_hash()).await.is_none());
        assert!(started.elapsed() < COMMAND_TIMEOUT + AT_ONCE, "{:?}", started.elapsed());
        slow += usize::from(started.elapsed() > AT_ONCE);
    }
    assert_eq!(slow, 1, "one command paid");
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    all_masters_work_again(&redis).await;
    println!("cluster: used again {:?} after a master was stopped", stopped.elapsed());
    cluster.nodes()[2].resume().expect("it is paused");
    all_masters_work_again(&redis).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_cluster_is_found_again_when_all_nodes_of_the_address_are_gone() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let redis = sessions(format!("redis-cluster://{}", cluster.nodes()[0].address()));
    assert!(all_masters_work(&redis).await);
    assert!(redis.ping().await.is_some(), "it learns of the other nodes");
    cluster.nodes()[0].kill().expect("it runs");
    assert!(redis.ping().await.is_none());
    all_masters_work_again(&redis).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start().expect("a cluster of its own");
    let redis = sessions(cluster.url());
    assert!(all_masters_work(&redis).await);
    // All slots of the first master, empty, to the second.
    let nodes = cluster.nodes();
    nodes[0].command(&["FLUSHALL"]).expect("it runs");
    let id = nodes[1].command(&["CLUSTER", "MYID"]).expect("it runs");
    let id = id.lines().last().expect("an id");
    for slot in 0..50 {
        let slot = slot.to_string();
        for master in [1, 0, 2] {
            nodes[master].command(&["CLUSTER", "SETSLOT", &slot, "NODE", id]).expect("it is a master");
        }
    }
    assert!(redis.stats().available);
    for _ in 0..20 {
        assert!(all_masters_work(&redis).await);
    }
    assert!(redis.stats().available);
}

// spec: A2 D6
#[tokio::test]
async fn the_master_behind_sentinels_is_used_and_replaced_without_a_restart() {
    let set = Sentinels::with_password(Some("se/cret")).expect("sentinels of its own");
    let redis = sessions(set.url().replace("se/cret", "se%2Fcret"));
    assert!(works(&redis).await);
    assert!(redis.ping().await.is_some());
    // In the database of the address.
    let dbsize = set.servers()[0].command(&["INFO", "keyspace"]).expect("it runs");
    assert!(dbsize.contains("db1:") && !dbsize.contains("db0:"), "{dbsize}");
    set.servers()[0].kill().expect("it runs");
    let killed = now();
    assert!(redis.ping().await.is_none());
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    works_again(&redis).await;
    println!("sentinels: used again {:?} after the master was killed", killed.elapsed());
    until_all_sentinels_name_the_new_master(&set).await;
    set.servers()[0].restart().expect("it starts again");
    works_again(&redis).await;
}

// spec: A2 D6
#[tokio::test]
async fn a_master_behind_sentinels_that_hangs_costs_one_time_out_and_is_left_when_it_wakes_up() {
    let set = Sentinels::start().expect("sentinels of its own");
    let redis = sessions(set.url());
    assert!(works(&redis).await);
    set.servers()[0].pause().expect("it runs");
    let stopped = now();
    assert!(redis.get(&next_hash()).await.is_none());
    assert!(stopped.elapsed() < COMMAND_TIMEOUT + AT_ONCE);
    assert!(slowest_of_many_misses(&redis).await < AT_ONCE);
    works_again(&redis).await;
    println!("sentinels: used again {:?} after the master was stopped", stopped.elapsed());
    until_all_sentinels_name_the_new_master(&set).await;
    set.servers()[0].resume().expect("it is paused");
    wait::until(BOUND, "the old master to follow", || async {
        set.servers()[0].command(&["ROLE"]).is_ok_and(|role| role.contains("slave"))
    })
    .await;
    works_again(&redis).await;
}

// spec: A2
#[tokio::test]
async fn a_sentinel_that_is_gone_or_hangs_keeps_nobody_from_the_master() {
    let set = Sentinels::start().expect("sentinels of its own");
    let [gone, hung, good] = set.sentinels() else { panic!("three of them") };
    let proxy = FaultProxy::start(hung.address()).expect("a proxy");
    proxy.set(Mode::Blackhole);
    gone.kill().expect("it runs");
    let hosts = [gone.address(), proxy.addr(), good.address()].map(|address| address.to_string()).join(",");
    let redis = sessions(format!("redis-sentinel://{hosts}/{}", set.service()));
    assert!(redis.ping().await.is_some());
    assert!(works(&redis).await);
    let redis = sessions(format!("redis-sentinel://{hosts}/another"));
    assert!(redis.ping().await.is_none(), "a service that nobody knows");
}
