//! Commands of others to Redis, over connections of their own: what happens to them touches no session, and the
//! other way round. Knows where commands go and what a failure is, not what they mean.
//!
//! Nothing is held back here when Redis fails: whoever sends decides when to ask again. But connections are made at
//! most ten times a second, and in between commands fail at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix_auth::ports::Clock;
use redis::{Cmd, Pipeline, Value};

use super::channel::RedisReceiver;
use super::cluster::ClusterLanes;
use super::connect::Target;
use super::failure::Reply;
use super::lane::{Lane, Outcome};
use super::{RedisConfig, RedisUrlError};

/// Commands in one call. Those beyond are not sent.
pub const MAX_COMMANDS: usize = 8192;

/// Why a command has no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// No answer in time, no connection, or from no server that can serve it now. It may have been carried out, or may
    /// yet be.
    #[error("Redis cannot be reached or cannot serve now")]
    Unreachable,
    /// The right server answered with this error, and did nothing else, unless a script of it had begun.
    #[error("Redis refused the command: {code}")]
    Refused {
        /// The first word of the error: `NOSCRIPT`, `WRONGTYPE`, `NOPERM`, `OOM`, `ERR`.
        code: String,
    },
}

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandStats {
    /// Commands asked for.
    pub commands: u64,
    /// Those of them that ended with [`CommandError::Unreachable`].
    pub unreachable: u64,
    /// Those of them that ended with [`CommandError::Refused`].
    pub refused: u64,
}

/// Sends commands.
pub struct RedisCommands {
    target: Arc<Target>,
    route: Route,
    command_timeout: Duration,
    commands: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
}

enum Route {
    /// One server, or the master that sentinels name.
    One(Box<Lane>),
    Cluster(ClusterLanes),
}

impl RedisCommands {
    /// Prepares the way without connecting: Redis may be down at start. [`RedisConfig::lifetime`] is not used.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn new(config: &RedisConfig, clock: Arc<dyn Clock>) -> Result<Self, RedisUrlError> {
        let target = Arc::new(Target::new(config).map_err(RedisUrlError)?);
        let within = config.command_timeout;
        let lanes = ClusterLanes::new(Arc::clone(&target), within, Arc::clone(&clock));
        let route = lanes.map_or_else(
            || Route::One(Box::new(Lane::new(Arc::clone(&target), None, target.name(), within, clock))),
            Route::Cluster,
        );
        Ok(Self {
            target,
            route,
            command_timeout: within,
            commands: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Whether keys are spread over several masters, so that one of them can be lost alone.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.route, Route::Cluster(_))
    }

    /// Sends commands and returns a result for each, in order, after the command time-out at the latest.
    ///
    /// All commands for one server go in one write and are carried out in order; between them may be commands of
    /// others. In a cluster each goes to the master that owns its key: the first key of a script, else the first
    /// argument. A redirection is followed once. A master that does not answer costs its own commands their results
    /// and the call the command time-out; the others are answered. Of more than [`MAX_COMMANDS`] the rest is
    /// [`CommandError::Unreachable`].
    pub async fn send(&self, mut commands: Vec<Cmd>) -> Vec<Result<Value, CommandError>> {
        let asked = commands.len();
        if asked == 0 {
            return Vec::new();
        }
        commands.truncate(MAX_COMMANDS);
        let mut results: Vec<_> = match &self.route {
            Route::One(lane) => self.send_to_one(lane, commands).await,
            Route::Cluster(lanes) => lanes.send(commands).await.into_iter().map(result).collect(),
        };
        results.resize_with(asked, || Err(CommandError::Unreachable));
        self.count(&results);
        results
    }

    async fn send_to_one(&self, lane: &Lane, commands: Vec<Cmd>) -> Vec<Result<Value, CommandError>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        match lane.send(&pipeline, self.command_timeout).await {
            Outcome::Answered(values) => values.into_iter().map(|value| result(Some(value))).collect(),
            Outcome::NotSent | Outcome::Lost => Vec::new(),
        }
    }

    fn count(&self, results: &[Result<Value, CommandError>]) {
        let count = |counter: &AtomicU64, number: usize| {
            if number > 0 {
                counter.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        };
        let errors = || results.iter().filter_map(|result| result.as_ref().err());
        count(&self.commands, results.len());
        count(&self.unreachable, errors().filter(|error| **error == CommandError::Unreachable).count());
        count(&self.refused, errors().filter(|error| **error != CommandError::Unreachable).count());
    }

    /// Receives messages that are published with `PUBLISH`, also by scripts, over a connection of its own. `seed`
    /// decides the jitter of its pauses and the node it prefers; nodes should have different ones.
    #[must_use]
    pub fn receiver(&self, seed: u64) -> RedisReceiver {
        RedisReceiver::new(Arc::clone(&self.target), seed)
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> CommandStats {
        CommandStats {
            commands: self.commands.load(Ordering::Relaxed),
            unreachable: self.unreachable.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

fn result(reply: Option<Value>) -> Result<Value, CommandError> {
    match reply {
        None => Err(CommandError::Unreachable),
        Some(Value::ServerError(error)) => match Reply::of(&error, "") {
            Reply::Refused => Err(CommandError::Refused { code: error.code().to_owned() }),
            Reply::Moved(_) | Reply::Ask(_) | Reply::WrongServer | Reply::NotNow => {
                Err(CommandError::Unreachable)
            }
        },
        Some(value) => Ok(value),
    }
}
