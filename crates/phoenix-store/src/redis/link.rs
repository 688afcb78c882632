//! The way to Redis that all commands share: one connection, a deadline for each command, and a breaker.
//!
//! Requests never test a Redis that failed. The first time-out or broken connection gives the connection up and opens
//! the breaker; from then on commands are not sent at all. Only [`Link::probe`], which a background task calls, makes
//! a new connection, and only its answer closes the breaker. A new connection is what finds the new master after a
//! failover, or the new address behind a name. Knows nothing of what the commands mean.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::ports::Clock;
use phoenix_resilience::{Breaker, BreakerLimits, Call};
use redis::{ErrorKind, RedisError};
use tokio::time::timeout;

use super::connect::{Connection, Target};
use super::failure::Failure;
use super::tls::Explained;

/// One failure opens it. It has no pause: who probes decides how often.
const BREAKER: BreakerLimits =
    BreakerLimits { failures: 1, min_pause: Duration::ZERO, max_pause: Duration::ZERO };

/// Connection, breaker and counters.
pub(super) struct Link {
    target: Arc<Target>,
    breaker: Breaker,
    clock: Arc<dyn Clock>,
    command_timeout: Duration,
    slot: Mutex<Slot>,
    connecting: tokio::sync::Mutex<()>,
    last_id: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) spared: AtomicU64,
}

enum Slot {
    /// Nobody needed a connection yet. The first to need one makes it.
    Untried,
    Up(Ready),
    /// Given up; the probe makes the next one.
    Down,
}

#[derive(Clone)]
struct Ready {
    id: u64,
    connection: Connection,
}

impl Link {
    /// Does not connect.
    pub(super) fn new(target: Arc<Target>, command_timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            target,
            breaker: Breaker::new(BREAKER),
            clock,
            command_timeout,
            slot: Mutex::new(Slot::Untried),
            connecting: tokio::sync::Mutex::default(),
            last_id: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            spared: AtomicU64::new(0),
        }
    }

    /// Where it leads.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Whether commands are sent.
    pub(super) fn is_available(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Runs one command, or several that share its deadline. `None` when Redis is being spared, did not answer within
    /// the command time-out, or answered with an error.
    pub(super) async fn run<T, F>(&self, command: impl FnOnce(Connection) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let Some(call) = self.breaker.admit_if_closed() else {
            self.spared.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.commands.fetch_add(1, Ordering::Relaxed);
        let mut used = None;
        let outcome = timeout(self.command_timeout, async {
            let ready = self.ready().await?;
            used = Some(ready.id);
            command(ready.connection).await.map_err(Failure::from)
        });
        let outcome = outcome.await.unwrap_or(Err(Failure::Silent));
        self.judge(call, used, &outcome);
        outcome.ok()
    }

    /// Asks Redis whether it can be used, over a new connection if there is none, and opens or closes the way for
    /// commands accordingly. Returns the round-trip time; `None` also when another probe is under way.
    ///
    /// Takes at most about twice the connection time-out and six times the command time-out.
    pub(super) async fn probe(&self) -> Option<Duration> {
        let had_connection = self.slot().ready().is_some();
        match self.probe_once().await? {
            // The old connection had ended, as it does when the server is restarted: a new one may do.
            Err(Failure::Broken(_)) if had_connection => self.probe_once().await?.ok(),
            answer => answer.ok(),
        }
    }

    async fn probe_once(&self) -> Option<Result<Duration, Failure>> {
        let call = self.breaker.admit(self.clock.mono())?;
        self.commands.fetch_add(1, Ordering::Relaxed);
        let current = if call.is_probe() { None } else { self.slot().ready() };
        let mut used = current.as_ref().map(|ready| ready.id);
        let outcome = match current {
            Some(ready) => self.measure(ready.connection).await,
            None => self.probe_anew(&mut used).await,
        };
        self.judge(call, used, &outcome);
        Some(outcome)
    }

    async fn probe_anew(&self, used: &mut Option<u64>) -> Result<Duration, Failure> {
        let _one_at_a_time = self.connecting.lock().await;
        let connecting = timeout(self.target.connect_bound(), self.target.connect());
        // Whoever is not let in cannot be served: no answer to this is a good one.
        let connection = connecting.await.map_err(|_elapsed| Failure::Silent)?.map_err(Failure::Broken)?;
        let round_trip = self.measure(connection.clone()).await?;
        *used = Some(self.install(connection).id);
        Ok(round_trip)
    }

    async fn measure(&self, connection: Connection) -> Result<Duration, Failure> {
        let started = self.clock.mono();
        let answer = timeout(self.target.check_bound(), self.target.check(connection)).await;
        match answer.map_or(Err(Failure::Silent), |answer| answer.map_err(Failure::from)) {
            // Who may not do what the check does can still be served.
            Ok(()) | Err(Failure::Refused(_)) => Ok(self.clock.mono().saturating_sub(started)),
            Err(failure) => Err(failure),
        }
    }

    /// The connection; the first caller of all makes it.
    async fn ready(&self) -> Result<Ready, Failure> {
        if let Some(ready) = self.slot().ready() {
            return Ok(ready);
        }
        let _one_at_a_time = self.connecting.lock().await;
        match &*self.slot() {
            Slot::Up(ready) => return Ok(ready.clone()),
            Slot::Down => return Err(Failure::Broken(RedisError::from((ErrorKind::Io, "not connected")))),
            Slot::Untried => {}
        }
        Ok(self.install(self.target.connect().await.map_err(Failure::Broken)?))
    }

    fn install(&self, connection: Connection) -> Ready {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let ready = Ready { id, connection };
        *self.slot() = Slot::Up(ready.clone());
        ready
    }

    fn judge<T>(&self, call: Call<'_>, used: Option<u64>, outcome: &Result<T, Failure>) {
        let Err(failure) = outcome else { return call.succeeded() };
        let earlier = self.errors.fetch_add(1, Ordering::Relaxed);
        match failure {
            Failure::Refused(error) => {
                if earlier == 0 {
                    tracing::warn!(%error, "Redis refused a command");
                } else {
                    tracing::debug!(%error, "Redis refused a command");
                }
                return call.succeeded();
            }
            Failure::Silent => self.give_up(used, &"no answer in time"),
            Failure::Broken(error) => self.give_up(used, &Explained(error)),
        }
        call.failed(self.clock.mono());
    }

    /// Drops the connection that failed, unless another one has taken its place. Says so once an outage.
    fn give_up(&self, used: Option<u64>, cause: &dyn std::fmt::Display) {
        let mut slot = self.slot();
        let is_present = match &*slot {
            Slot::Untried => used.is_none(),
            Slot::Up(ready) => used == Some(ready.id),
            Slot::Down => false,
        };
        if is_present {
            *slot = Slot::Down;
            tracing::warn!(%cause, "Redis failed; sessions are looked up in the database until it answers again");
        } else {
            tracing::debug!(%cause, "Redis still fails");
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn ready(&self) -> Option<Ready> {
        if let Self::Up(ready) = self { Some(ready.clone()) } else { None }
    }
}
