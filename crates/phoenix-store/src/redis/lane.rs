//! One connection to one Redis that many callers share: made when somebody needs it, given up when it fails, made
//! again by the next caller, but not at once. Knows nothing of what the commands mean and of clusters.
//!
//! No task of ours makes the connection. The attempt is a future that all who wait for the connection push on; a
//! caller whose time is over leaves it where it is, and the next one goes on with it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use phoenix_auth::ports::Clock;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, Pipeline, RedisError, Value};
use tokio::time::timeout;

use super::connect::Target;
use super::failure::Reply;
use super::tls::Explained;

/// Shortest time between the beginnings of two attempts to connect.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(100);

type Attempt = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// The connection and how to make it.
pub(super) struct Lane {
    target: Arc<Target>,
    /// The node of a cluster; none if there is only one server, or one master.
    node: Option<ConnectionInfo>,
    /// What the server calls itself when it names no host.
    host: String,
    /// A command not answered by then has failed.
    command_timeout: Duration,
    clock: Arc<dyn Clock>,
    slot: Mutex<Slot>,
    last_id: AtomicU64,
    /// Failed since the last good answer; so that the log tells of an outage once.
    is_failing: AtomicBool,
}

enum Slot {
    /// Not connected. `began`: when the last attempt did, if there was one.
    Down {
        began: Option<Duration>,
    },
    Connecting {
        began: Duration,
        attempt: Attempt,
    },
    Up {
        began: Duration,
        ready: Ready,
    },
}

#[derive(Clone)]
struct Ready {
    id: u64,
    connection: MultiplexedConnection,
}

/// What became of commands.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A reply to each, in order; one of them may be an error.
    Answered(Vec<Value>),
    /// There is no connection. No command was carried out.
    NotSent,
    /// No answer. They may have been carried out, or may yet be.
    Lost,
}

impl Lane {
    /// Does not connect.
    pub(super) fn new(
        target: Arc<Target>,
        node: Option<ConnectionInfo>,
        host: String,
        command_timeout: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            target,
            node,
            host,
            command_timeout,
            clock,
            slot: Mutex::new(Slot::Down { began: None }),
            last_id: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Where the server is, for replies that name a port only.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Sends all in one write and waits for all replies, together with connecting no longer than `within`.
    pub(super) async fn send(&self, commands: &Pipeline, within: Duration) -> Outcome {
        let mut sent = None;
        let answer = timeout(within, async {
            let Some(mut ready) = self.ready().await else { return Ok(None) };
            sent = Some((ready.id, self.clock.mono()));
            ready.connection.send_packed_commands(commands, 0, commands.len()).await.map(Some)
        });
        let answer = answer.await;
        let Some((id, at)) = sent else { return Outcome::NotSent };
        match answer {
            Ok(Ok(Some(replies))) if replies.len() == commands.len() => {
                self.leave_if_wrong(id, &replies);
                Outcome::Answered(replies)
            }
            Ok(Ok(_)) => self.lost(id, &"the number of replies is wrong"),
            Ok(Err(error)) if !error.is_timeout() => self.lost(id, &error),
            Ok(Err(_)) | Err(_) => {
                // What was sent when the time was nearly over, after connecting, proves nothing about the connection.
                if self.clock.mono().saturating_sub(at) * 2 >= self.command_timeout {
                    return self.lost(id, &"no answer in time");
                }
                Outcome::Lost
            }
        }
    }

    /// The connection, or the attempt to make it as far as the caller waits.
    async fn ready(&self) -> Option<Ready> {
        let (began, attempt) = match self.ready_or_attempt()? {
            Ok(ready) => return Some(ready),
            Err(connecting) => connecting,
        };
        let made = attempt.clone().await;
        let mut slot = self.slot();
        match &*slot {
            // Somebody else was woken first.
            Slot::Up { ready, .. } => return Some(ready.clone()),
            Slot::Connecting { attempt: current, .. } if current.ptr_eq(&attempt) => {}
            Slot::Connecting { .. } | Slot::Down { .. } => return None,
        }
        match made {
            Ok(connection) => {
                let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                let ready = Ready { id, connection };
                *slot = Slot::Up { began, ready: ready.clone() };
                Some(ready)
            }
            Err(error) => {
                *slot = Slot::Down { began: Some(began) };
                drop(slot);
                self.tell(&Explained(&error));
                None
            }
        }
    }

    /// What there is; begins an attempt if it is time for one.
    fn ready_or_attempt(&self) -> Option<Result<Ready, (Duration, Attempt)>> {
        let mut slot = self.slot();
        let now = self.clock.mono();
        let last = match &*slot {
            Slot::Up { ready, .. } => return Some(Ok(ready.clone())),
            // An attempt that nobody pushed on for so long may be to a place where the master no longer is.
            Slot::Connecting { began, attempt }
                if now.saturating_sub(*began) < self.target.connect_bound() =>
            {
                return Some(Err((*began, attempt.clone())));
            }
            Slot::Connecting { began, .. } => Some(*began),
            Slot::Down { began } => *began,
        };
        if last.is_some_and(|last| now.saturating_sub(last) < RETRY_INTERVAL) {
            return None;
        }
        let (target, node) = (Arc::clone(&self.target), self.node.clone());
        let attempt = async move {
            let connecting = timeout(target.connect_bound(), target.single(node.as_ref()));
            connecting
                .await
                .unwrap_or_else(|_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
        };
        let attempt = attempt.boxed().shared();
        *slot = Slot::Connecting { began: now, attempt: attempt.clone() };
        Some(Err((now, attempt)))
    }

    /// A server that is not, or no longer, the right one is left: a new connection looks for it anew.
    fn leave_if_wrong(&self, id: u64, replies: &[Value]) {
        let wrong = replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) if Reply::of(error, &self.host) == Reply::WrongServer => Some(error),
            _ => None,
        });
        match wrong {
            Some(error) => self.give_up(id, error),
            None if self.is_failing.load(Ordering::Relaxed) => {
                self.is_failing.store(false, Ordering::Relaxed);
            }
            None => {}
        }
    }

    fn lost(&self, id: u64, cause: &dyn std::fmt::Display) -> Outcome {
        self.give_up(id, cause);
        Outcome::Lost
    }

    /// Drops the connection that failed, unless another one has taken its place.
    fn give_up(&self, id: u64, cause: &dyn std::fmt::Display) {
        let mut slot = self.slot();
        let began = match &*slot {
            Slot::Up { began, ready } if ready.id == id => *began,
            Slot::Up { .. } | Slot::Connecting { .. } | Slot::Down { .. } => return,
        };
        *slot = Slot::Down { began: Some(began) };
        drop(slot);
        self.tell(cause);
    }

    fn tell(&self, cause: &dyn std::fmt::Display) {
        let host = &self.host;
        if self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(%cause, host, "the connection to Redis still fails");
        } else {
            tracing::warn!(%cause, host, "a connection to Redis failed; it is made again when it is needed");
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
