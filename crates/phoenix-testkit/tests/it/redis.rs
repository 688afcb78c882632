//! The private Redis: isolation, loss of data at a restart, pauses, passwords.

use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::redis::{Cluster, Redis, Sentinels};
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOUND: Duration = Duration::from_mins(1);

#[test]
fn tests_get_logical_databases_and_prefixes_of_their_own() {
    let redis = Redis::shared();
    let (first, second) = (redis.isolated(), redis.isolated());
    assert_ne!(first.url, second.url);
    assert_ne!(first.prefix, second.prefix);
    assert!(first.url.starts_with(&redis.url()));
}

#[test]
fn a_killed_server_comes_back_empty_on_the_same_port() -> Result<()> {
    let redis = Redis::start()?;
    let port = redis.port();
    assert_eq!(redis.command(&["SET", "key", "value"])?, "+OK");
    assert_eq!(redis.command(&["GET", "key"])?, "$5\r\nvalue");
    redis.kill()?;
    assert!(redis.command(&["PING"]).is_err());
    redis.restart()?;
    assert_eq!(redis.port(), port);
    assert_eq!(redis.command(&["GET", "key"])?, "$-1");
    Ok(())
}

#[tokio::test]
async fn a_paused_server_keeps_connections_and_answers_later() -> Result<()> {
    let redis = Redis::start()?;
    let mut stream = TcpStream::connect(redis.address()).await?;
    redis.pause()?;
    stream.write_all(b"PING\r\n").await?;
    let mut reply = [0; 7];
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.read(&mut reply)).await.is_err());
    redis.resume()?;
    tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut reply)).await??;
    assert_eq!(&reply, b"+PONG\r\n");
    Ok(())
}

#[test]
fn a_password_is_required_and_sent() -> Result<()> {
    let redis = Redis::builder().requirepass("se cret").setting("maxmemory", "10mb").start()?;
    assert_eq!(redis.command(&["SET", "key", "value"])?, "+OK");
    let errors = redis.command(&["SET", "key"]).expect_err("SET needs a value");
    assert!(errors.to_string().contains("wrong number"), "{errors}");
    assert!(redis.url().contains(":se cret@"));
    Ok(())
}

#[test]
fn a_cluster_fails_over_and_takes_the_old_master_back_as_a_replica() -> Result<()> {
    let cluster = Cluster::start()?;
    let old = cluster.master_of("key", 5)?;
    assert_eq!(cluster.nodes()[old].command(&["SET", "key", "value"])?, "+OK");
    // Acknowledged writes that have not reached the replica are lost in a failover.
    wait::until_blocking(BOUND, "the key to reach the replica", || {
        cluster.nodes()[old + 3].command(&["DBSIZE"]).is_ok_and(|reply| reply == ":1")
    });
    assert!(cluster.url().starts_with("redis-cluster://127.0.0.1:"));
    cluster.nodes()[old].kill()?;
    let asked = (old + 1) % 3;
    wait::until_blocking(BOUND, "the replica to be promoted", || {
        cluster.master_of("key", asked).is_ok_and(|new| new == old + 3)
    });
    wait::until_blocking(BOUND, "the key to be served", || {
        cluster.nodes()[old + 3].command(&["GET", "key"]).is_ok_and(|reply| reply == "$5\r\nvalue")
    });
    cluster.nodes()[old].restart()?;
    wait::until_blocking(BOUND, "the old master to follow", || {
        cluster.nodes()[old].command(&["ROLE"]).is_ok_and(|role| role.contains("slave"))
    });
    Ok(())
}

#[test]
fn sentinels_fail_over() -> Result<()> {
    let set = Sentinels::with_password(Some("secret"))?;
    assert_eq!(set.master()?, 0);
    assert!(
        set.url().starts_with("redis-sentinel://:secret@127.0.0.1:") && set.url().contains(set.service())
    );
    set.servers()[0].kill()?;
    wait::until_blocking(BOUND, "the replica to be promoted", || set.master().is_ok_and(|now| now == 1));
    wait::until_blocking(BOUND, "the new master to take writes", || {
        set.servers()[1].command(&["SET", "key", "value"]).is_ok()
    });
    set.servers()[0].restart()?;
    set.sentinels()[0].restart()?;
    wait::until_blocking(BOUND, "the sentinel to remember the new master", || {
        set.master().is_ok_and(|now| now == 1)
    });
    wait::until_blocking(BOUND, "the old master to follow", || {
        set.servers()[0].command(&["ROLE"]).is_ok_and(|role| role.contains("slave"))
    });
    Ok(())
}
