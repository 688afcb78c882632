//! What can be seen of Redis, for `phoenix doctor`: each server of a cluster, or the one that there is. Only reads, over
//! connections of its own; judges nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use phoenix_auth::ports::Clock;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError};

use super::RedisConfig;
use super::connect::{Connection, Target};
use super::nodes::ClusterNodes;
use crate::stopwatch::Stopwatch;
use crate::tls::{TlsPeer, TlsProblem};

/// Servers of a cluster that are looked at.
const MOST_SERVERS: usize = 32;

/// Redis as it is arranged.
#[derive(Clone, Debug)]
pub struct RedisFacts {
    /// Every server, replicas of a cluster included.
    pub servers: Vec<RedisServerFacts>,
    /// `CLUSTER INFO`, of a cluster.
    pub cluster: Option<BTreeMap<String, String>>,
    /// Signs of life of nodes of Phoenix: microseconds since 1970 by the clock of Redis.
    pub signs_of_life: Vec<i64>,
    /// Its clock at that time, likewise.
    pub now_us: i64,
}

/// One server.
#[derive(Clone, Debug)]
pub struct RedisServerFacts {
    /// `host:port`.
    pub name: String,
    /// `INFO`.
    pub info: BTreeMap<String, String>,
    /// When it writes snapshots, as its configuration has it; `None` when it does not say.
    pub save: Option<String>,
    /// Time for one question and its answer.
    pub round_trip: Duration,
    /// Milliseconds by which its clock is ahead of ours.
    pub clock_ahead_ms: i64,
}

/// Redis cannot be looked at. Shows no address, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RedisInspectError {
    message: String,
    #[source]
    source: RedisError,
}

impl RedisInspectError {
    fn of(source: RedisError) -> Self {
        let message = TlsProblem::of(&source as &(dyn Error + 'static)).map_or_else(
            || "Redis does not answer, or refuses".to_owned(),
            |problem| format!("Redis is not trusted: {problem}; {}", problem.remedy(TlsPeer::Redis)),
        );
        Self { message, source }
    }
}

impl RedisServerFacts {
    /// A number of `INFO`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.info.get(name)?.parse().ok()
    }

    /// A word of `INFO`; empty when there is none.
    #[must_use]
    pub fn word(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }
}

/// Looks at Redis. `nodes_key` is where nodes of Phoenix leave signs of life. Changes nothing.
///
/// # Errors
/// When it cannot be reached or does not answer.
pub async fn inspect(
    config: &RedisConfig,
    nodes_key: &str,
    clock: &dyn Clock,
) -> Result<RedisFacts, RedisInspectError> {
    look(config, nodes_key, clock).await.map_err(RedisInspectError::of)
}

async fn look(config: &RedisConfig, nodes_key: &str, clock: &dyn Clock) -> Result<RedisFacts, RedisError> {
    let target = Target::new(config)?;
    let Some(seeds) = target.cluster_seeds() else {
        let mut connection = target.single(None).await?;
        let server = server(target.name(), &mut connection, clock).await?;
        let values: Vec<String> = Cmd::hvals(nodes_key).query_async(&mut connection).await?;
        let signs_of_life = signs(&values);
        let now_us = time(&mut connection).await?;
        return Ok(RedisFacts { servers: vec![server], cluster: None, signs_of_life, now_us });
    };
    let mut connection = target.connect().await?;
    let values: Vec<String> = Cmd::hvals(nodes_key).query_async(&mut connection).await?;
    let signs_of_life = signs(&values);
    let Connection::Cluster(mut any) = connection else {
        return Err((redis::ErrorKind::Client, "a cluster's connection is none").into());
    };
    let nodes = ClusterNodes::ask(&mut any).await?.with_settings_of(seeds);
    let (mut servers, mut cluster, mut now_us) = (Vec::new(), None, 0);
    for node in nodes.iter().take(MOST_SERVERS) {
        let mut connection = target.single(Some(node)).await?;
        servers.push(server(node.addr().to_string(), &mut connection, clock).await?);
        if cluster.is_none() {
            let text: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
            cluster = Some(parse(&text));
            now_us = time(&mut connection).await?;
        }
    }
    Ok(RedisFacts { servers, cluster, signs_of_life, now_us })
}

async fn server(
    name: String,
    connection: &mut MultiplexedConnection,
    clock: &dyn Clock,
) -> Result<RedisServerFacts, RedisError> {
    // The first question on a new connection may wait for its set-up.
    let _pong: String = redis::cmd("PING").query_async(connection).await?;
    let watch = Stopwatch::start();
    let theirs = time(connection).await?;
    let round_trip = watch.elapsed();
    let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or_default();
    let clock_ahead_ms = theirs / 1000 + half - clock.now().wall.as_millis();
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    // Hosted servers refuse it.
    let save: Result<Vec<String>, _> =
        redis::cmd("CONFIG").arg("GET").arg("save").query_async(connection).await;
    let save = save.ok().and_then(|answer| answer.into_iter().nth(1));
    Ok(RedisServerFacts { name, info: parse(&text), save, round_trip, clock_ahead_ms })
}

/// Microseconds since 1970.
async fn time(connection: &mut MultiplexedConnection) -> Result<i64, RedisError> {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// The times in values of the form `time:standing`.
fn signs(values: &[String]) -> Vec<i64> {
    values.iter().filter_map(|value| value.split_once(':')?.0.parse().ok()).collect()
}

/// Lines of the form `name:value`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.trim_end().split_once(':')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_another_form_are_left_out() {
        let facts = parse("# Server\r\nredis_version:7.0.15\r\nos:Linux: a\r\n\r\ngarbage\r\n");
        assert_eq!(facts.get("redis_version").map(String::as_str), Some("7.0.15"));
        assert_eq!(facts.get("os").map(String::as_str), Some("Linux: a"));
        assert_eq!(facts.len(), 2);
    }

    #[test]
    fn signs_of_life_are_times() {
        let values = ["1700:ready", "x:ready", "", "1800", "1900:merging:more"].map(str::to_owned);
        assert_eq!(signs(&values), [1700, 1900]);
    }
}
