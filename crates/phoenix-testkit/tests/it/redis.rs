//! The private Redis: isolation, loss of data at a restart, pauses, passwords.

use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::redis::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
