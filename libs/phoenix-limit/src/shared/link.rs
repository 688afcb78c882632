//! The way to Redis as the limiter sees it, and one to a single server. Knows nothing of what the commands mean.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Why a command has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// No answer in time, no connection, or a server that cannot serve now.
    #[error("Redis cannot be reached")]
    Unreachable,
    /// An answer that refuses this command.
    #[error("Redis refused a command: {code}")]
    Refused {
        /// The first word of the answer, such as `NOSCRIPT`.
        code: String,
    },
}

/// Sends commands to Redis. It has a deadline of its own, makes connections by itself, and follows whoever holds a key.
#[async_trait]
pub trait Link: Send + Sync {
    /// Sends commands, each to the server that owns its key, in one round trip where one server owns all. One result a
    /// command, in their order.
    async fn send(&self, commands: Vec<Cmd>) -> Vec<Result<Value, LinkError>>;
}

/// A link to one server, over one connection that all commands share.
pub struct SingleServer {
    client: Client,
    deadline: Duration,
    connection: RwLock<Option<(u64, MultiplexedConnection)>>,
    /// Counts connections. Held while one is made, so that one is made for all.
    connecting: Mutex<u64>,
}

impl std::fmt::Debug for SingleServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleServer").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl SingleServer {
    /// To the server at `address`, such as `redis://127.0.0.1:6379`. Does not connect. Whatever is not answered within
    /// `deadline` counts as unreachable; 50 ms are good for a server nearby.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(address: impl IntoConnectionInfo, deadline: Duration) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(address)?,
            deadline,
            connection: RwLock::default(),
            connecting: Mutex::default(),
        })
    }

    fn present(&self) -> Option<(u64, MultiplexedConnection)> {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        if let Some(present) = self.present() {
            return Ok(present);
        }
        let mut number = self.connecting.lock().await;
        if let Some(present) = self.present() {
            return Ok(present);
        }
        let made = self.client.get_multiplexed_async_connection().await?;
        *number += 1;
        let made = (*number, made);
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    async fn try_send(&self, commands: &[Cmd], used: &mut Option<u64>) -> Result<Vec<Value>, RedisError> {
        let (id, mut connection) = self.connection().await?;
        *used = Some(id);
        if let [command] = commands {
            return Ok(vec![connection.send_packed_command(command).await?]);
        }
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        connection.send_packed_commands(&pipeline, 0, commands.len()).await
    }
}

#[async_trait]
impl Link for SingleServer {
    async fn send(&self, commands: Vec<Cmd>) -> Vec<Result<Value, LinkError>> {
        let mut used = None;
        let outcome = timeout(self.deadline, self.try_send(&commands, &mut used)).await;
        let results: Vec<_> = match outcome {
            Ok(Ok(values)) if values.len() == commands.len() => values.into_iter().map(judge).collect(),
            Ok(Err(error)) if !is_outage(&error) => vec![Err(refusal(&error)); commands.len()],
            Ok(Ok(_) | Err(_)) | Err(_) => vec![Err(LinkError::Unreachable); commands.len()],
        };
        if results.contains(&Err(LinkError::Unreachable)) {
            let mut slot = self.connection.write().unwrap_or_else(PoisonError::into_inner);
            if slot.as_ref().map(|(id, _)| *id) == used {
                *slot = None;
            }
        }
        results
    }
}

fn judge(value: Value) -> Result<Value, LinkError> {
    let Value::ServerError(error) = value else { return Ok(value) };
    let error = RedisError::from(error);
    Err(if is_outage(&error) { LinkError::Unreachable } else { refusal(&error) })
}

fn refusal(error: &RedisError) -> LinkError {
    LinkError::Refused { code: error.code().unwrap_or("unknown").to_owned() }
}

/// A server that answers, but must not or cannot be used now, is out of reach like one that is silent.
fn is_outage(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
        ),
        ErrorKind::UnexpectedReturnType | ErrorKind::Client => false,
        ErrorKind::Extension => error.code() == Some("NOAUTH"),
        _ => true,
    }
}
