//! The hot way: two connections shared by all look-ups of sessions and reads of the log, which travel in a pipeline
//! instead of waiting for a connection of their own (measured: twice the rate of the best pool at a third of the
//! latency).
//!
//! A lane that breaks or does not answer is given up and opened again by `run`; meanwhile the other one answers, or
//! the call fails at once. Callers give up sooner than a lane may be, so the verdict over a silent one is not theirs:
//! `run` asks a question of its own wherever an answer is missing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use phoenix_auth::ports::StoreErrorKind;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::connection::Connector;
use super::db::Params;
use super::failure::Failure;
use super::retry::{Jitter, backoff};
use super::rows;
use super::sql::Sql;
use super::upkeep::keep_up;
use crate::statements::StatementCounters;
use crate::stopwatch::Stopwatch;

/// Shared connections. One saturates a core of the server; the second answers while the first is reopened.
const LANES: usize = 2;
/// Look-ups on their way in one lane. One more waits, within its own time.
const IN_FLIGHT: usize = 1024;
/// A lane that owes an answer and gives none for this long is given up, or after the time of a query if that is
/// shorter. Found at the next pass, so at most half a second later.
const SILENCE: Duration = Duration::from_secs(3);
/// First and longest pause between attempts to open a lane again.
const REOPEN_DELAY: Duration = Duration::from_millis(200);

/// A shared connection with its prepared statements.
struct Lane {
    client: Client,
    find: Statement,
    find_previous: Statement,
    probe: Statement,
    log_after: Statement,
    in_flight: Semaphore,
    /// Number of the last query sent.
    asked: AtomicU64,
    /// Highest number of a query whose answer came. Answers come in the order of queries, so those of all before it
    /// came too, also if nobody waited for them any more.
    answered: AtomicU64,
    driver: JoinHandle<()>,
}

impl Lane {
    async fn open(connector: &Connector, driver: &Config) -> Result<Self, Failure> {
        let (client, task) = connector.open(driver).await?;
        let prepared = async {
            let find = client.prepare(Sql::SessionFind.text());
            let find_previous = client.prepare(Sql::SessionFindPrevious.text());
            let probe = client.prepare(Sql::Probe.text());
            let log_after = client.prepare(Sql::LogAfter.text());
            tokio::try_join!(find, find_previous, probe, log_after)
        };
        let (find, find_previous, probe, log_after) = match prepared.await {
            Ok(statements) => statements,
            Err(error) => {
                task.abort();
                return Err(error.into());
            }
        };
        let in_flight = Semaphore::new(IN_FLIGHT);
        let (asked, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        let driver = task;
        let lane = Self { client, find, find_previous, probe, log_after, in_flight, asked, answered, driver };
        // Refuses a standby, which one of several hosts may be.
        lane.query(Sql::LogAfter, &[&i64::MAX, &0_i64]).await?;
        Ok(lane)
    }

    async fn query(&self, sql: Sql, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = match sql {
            Sql::SessionFind => &self.find,
            Sql::SessionFindPrevious => &self.find_previous,
            Sql::LogAfter => &self.log_after,
            _ => &self.probe,
        };
        let _permit = self.in_flight.acquire().await.map_err(|_| Failure::Closed)?;
        let rows = self.ask(statement, params).await?;
        if matches!(sql, Sql::LogAfter) && rows.first().map(rows::from_standby).transpose()? == Some(true) {
            return Err(Failure::Standby);
        }
        Ok(rows)
    }

    /// A caller may go away while it waits; its query stays unanswered until its answer or a later one comes.
    async fn ask(&self, statement: &Statement, params: Params<'_>) -> Result<Vec<Row>, Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        // Sent when first polled, which is now. Of two callers at the same moment the later number may be sent first,
        // and its answer count for both: the next query makes up for that.
        let answer = self.client.query(statement, params).await;
        self.answered.fetch_max(number, Ordering::Relaxed);
        answer
    }

    fn owes_an_answer(&self) -> bool {
        self.answered.load(Ordering::Relaxed) < self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Default)]
struct Slot {
    lane: RwLock<Option<Arc<Lane>>>,
    /// Attempts to open it that failed in a row, and when the last one did. Touched by `reopen` only.
    outage: Mutex<Option<(u32, Stopwatch)>>,
    /// Wakes `run` when the lane was given up.
    broken: Notify,
}

impl Slot {
    fn get(&self) -> Option<Arc<Lane>> {
        self.lane.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, lane: Option<Arc<Lane>>) {
        *self.lane.write().unwrap_or_else(PoisonError::into_inner) = lane;
    }

    /// Puts an opened lane in, unless the store was closed meanwhile.
    fn put(&self, lane: Lane, closed: &AtomicBool) {
        let mut slot = self.lane.write().unwrap_or_else(PoisonError::into_inner);
        if !closed.load(Ordering::Acquire) {
            *slot = Some(Arc::new(lane));
        }
    }

    fn is_open(&self) -> bool {
        self.get().is_some_and(|lane| !lane.client.is_closed())
    }

    /// Empties the slot if it still holds `lane`, and has it opened again.
    fn give_up(&self, lane: &Arc<Lane>) {
        let mut slot = self.lane.write().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, lane)) {
            *slot = None;
            drop(slot);
            self.broken.notify_one();
        }
    }
}

pub(super) struct Lanes {
    slots: [Slot; LANES],
    next: AtomicUsize,
    connector: Connector,
    driver: Config,
    counters: Arc<StatementCounters>,
    connection_timeout: Duration,
    query_timeout: Duration,
    jitter: Jitter,
    closed: AtomicBool,
}

impl Lanes {
    pub(super) fn new(
        config: &super::PgConfig,
        driver: &Config,
        connector: Connector,
        counters: Arc<StatementCounters>,
    ) -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot::default()),
            next: AtomicUsize::new(0),
            connector,
            driver: driver.clone(),
            counters,
            connection_timeout: config.connection_timeout,
            query_timeout: config.query_timeout,
            jitter: Jitter::new(config.seed ^ 1),
            closed: AtomicBool::new(false),
        }
    }

    /// Lanes that are open.
    pub(super) fn open_count(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_open()).count()
    }

    /// The first row of [`Self::query_all`].
    pub(super) async fn query(&self, sql: Sql, params: Params<'_>) -> Result<Option<Row>, Failure> {
        Ok(self.query_all(sql, params).await?.into_iter().next())
    }

    /// All rows. Fails at once when no lane is open; a lane that breaks underway is replaced by the other.
    pub(super) async fn query_all(&self, sql: Sql, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut failure = Failure::Reconnecting;
        for offset in 0..LANES {
            let Some(slot) = self.slots.get(first.wrapping_add(offset) % LANES) else { continue };
            let Some(lane) = slot.get() else { continue };
            match self.query_lane(&lane, sql, params).await {
                Err(error) if is_broken(&lane, &error) => {
                    slot.give_up(&lane);
                    let silent = matches!(error, Failure::TimedOut(_));
                    failure = error;
                    // The time of the caller is over.
                    if silent {
                        break;
                    }
                }
                end => return end,
            }
        }
        Err(failure)
    }

    async fn query_lane(&self, lane: &Lane, sql: Sql, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let watch = Stopwatch::start();
        let bound = self.query_timeout;
        let answer = tokio::time::timeout(bound, lane.query(sql, params)).await;
        let answer = answer.unwrap_or(Err(Failure::TimedOut(bound)));
        self.counters.record(sql as usize, watch.elapsed(), answer.is_err());
        answer
    }

    /// Keeps the lanes open until `stop`, each on its own: one that cannot be opened does not hold up the other.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        join_all(self.slots.iter().map(|slot| async move {
            let reopen = keep_up(stop, || slot.broken.notified(), || self.reopen_slot(slot));
            let check = keep_up(stop, std::future::pending, || self.give_up_if_silent(slot));
            tokio::join!(reopen, check);
        }))
        .await;
    }

    /// Gives the lane up when the server is silent although TCP is acknowledged, whether or not anybody still waits.
    async fn give_up_if_silent(&self, slot: &Slot) {
        let Some(lane) = slot.get().filter(|lane| lane.owes_an_answer()) else { return };
        let (watch, bound) = (Stopwatch::start(), SILENCE.min(self.query_timeout));
        // Its answer comes after those that are missing. It takes no permit: those who wait may hold all.
        let answer = tokio::time::timeout(bound, lane.ask(&lane.probe, &[])).await;
        self.counters.record(Sql::Probe as usize, watch.elapsed(), !matches!(answer, Ok(Ok(_))));
        if answer.is_err() {
            tracing::warn!(?bound, "a shared connection to PostgreSQL is silent and given up");
            slot.give_up(&lane);
        }
    }

    /// Opens the lanes that are not, each when its pause after the last failure is over.
    pub(super) async fn reopen(&self) {
        join_all(self.slots.iter().map(|slot| self.reopen_slot(slot))).await;
    }

    async fn reopen_slot(&self, slot: &Slot) {
        let mut outage = slot.outage.lock().await;
        if slot.is_open() || self.closed.load(Ordering::Acquire) {
            return;
        }
        slot.set(None);
        if let Some((failures, since)) = *outage {
            let bound = backoff(REOPEN_DELAY, failures);
            if since.elapsed() < bound / 2 + self.jitter.below(bound / 2) {
                return;
            }
        }
        let opened = tokio::time::timeout(self.connection_timeout, Lane::open(&self.connector, &self.driver));
        let failures = outage.map_or(0, |(failures, _)| failures);
        match opened.await {
            Ok(Ok(lane)) => {
                if failures > 0 {
                    tracing::info!(failures, "a shared connection to PostgreSQL is open again");
                }
                slot.put(lane, &self.closed);
                *outage = None;
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(?error, failures, "a shared connection to PostgreSQL cannot be opened");
            }
            Err(_) => tracing::warn!(failures, "a shared connection to PostgreSQL was not opened in time"),
        }
        *outage = Some((failures.saturating_add(1), Stopwatch::start()));
    }

    /// Closes the lanes for good.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.set(None));
    }
}

/// Whether the fault lies with the connection or the server behind it, not with the statement.
fn is_broken(lane: &Lane, failure: &Failure) -> bool {
    lane.client.is_closed()
        || failure.kind() == StoreErrorKind::Unavailable
        || matches!(failure, Failure::TimedOut(_))
}
