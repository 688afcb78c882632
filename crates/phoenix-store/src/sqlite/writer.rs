//! The one thread that writes. It commits what waits in its queue together: two hundred logins that arrive at the
//! same moment cost one `fsync`, and each is answered only after the commit that holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phoenix_auth::ports::StoreErrorKind;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::query::Db;
use crate::statements::StatementCounters;

/// Most writes waiting. A caller that finds the queue full waits, within its time, for room.
pub(super) const QUEUE_WRITES: usize = 1024;
/// Most writes in one transaction: bounds how long the first of them waits for the last.
const GROUP_WRITES: usize = 128;

/// A write with the way back to its caller.
pub(super) trait Job: Send {
    /// Whether the caller still waits. A write that nobody waits for is not begun.
    fn wanted(&self) -> bool;
    /// Does the work inside the open transaction. May be called again when that was rolled back.
    fn run(&mut self, db: &Db<'_>) -> Result<(), Failure>;
    /// Tells the caller.
    fn answer(self: Box<Self>, end: Result<(), Failure>);
}

struct Write<T, W> {
    work: W,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<T: Send, W: FnMut(&Db<'_>) -> Result<T, Failure> + Send> Job for Write<T, W> {
    fn wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, db: &Db<'_>) -> Result<(), Failure> {
        self.outcome = None;
        self.outcome = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, end: Result<(), Failure>) {
        let Self { outcome, reply, .. } = *self;
        // A caller that gave up meanwhile does not hear of it; the write stays.
        let _ = reply.send(end.and_then(|()| outcome.ok_or(Failure::Closed)));
    }
}

pub(super) enum Message {
    Run(Box<dyn Job>),
    Close,
}

/// The caller's end of the queue.
pub(super) struct WriteQueue {
    sender: mpsc::Sender<Message>,
}

impl WriteQueue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(QUEUE_WRITES);
        (Self { sender }, receiver)
    }

    /// Writes waiting now.
    pub(super) fn waiting(&self) -> usize {
        QUEUE_WRITES - self.sender.capacity().min(QUEUE_WRITES)
    }

    /// Queues `work` and waits for the commit that holds it, at most `bound` in all. After
    /// [`Failure::TimedOut`] the write may or may not have been committed.
    pub(super) async fn commit<T, W>(&self, work: W, bound: Duration) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnMut(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work, outcome: None, reply });
        let queued = async {
            self.sender.send(Message::Run(job)).await.map_err(|_| Failure::Closed)?;
            answer.await.unwrap_or(Err(Failure::Closed))
        };
        tokio::time::timeout(bound, queued).await.unwrap_or(Err(Failure::TimedOut(bound)))
    }

    /// Asks the thread to finish what is queued and end.
    pub(super) async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.sender.send(Message::Close).await;
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) counters: Arc<StatementCounters>,
    /// Set while the file refuses writes.
    pub(super) read_only: Arc<AtomicBool>,
}

impl Writer {
    /// Runs until it is asked to close or the store is dropped; then checkpoints the log into the file.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_WRITES);
        while let Some(message) = self.queue.blocking_recv() {
            let mut open = admit(message, &mut group);
            while open && group.len() < GROUP_WRITES {
                match self.queue.try_recv() {
                    Ok(message) => open = admit(message, &mut group),
                    Err(_) => break,
                }
            }
            self.commit(&mut group);
            if !open {
                break;
            }
        }
        self.queue.close();
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Run(job) = message {
                job.answer(Err(Failure::Closed));
            }
        }
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(
                ?error,
                "the write-ahead log was not folded into the database file; it is kept beside it"
            );
        }
    }

    fn commit(&self, group: &mut Vec<Box<dyn Job>>) {
        group.retain(|job| job.wanted());
        if group.len() > 1 {
            self.commit_together(group);
        }
        for job in group.drain(..) {
            self.commit_alone(job);
        }
    }

    fn commit_alone(&self, mut job: Box<dyn Job>) {
        let end = self.begin().and_then(|()| {
            job.run(&Db::new(&self.connection, &self.counters))?;
            Ok(self.connection.execute_batch("COMMIT")?)
        });
        if end.is_err() {
            self.roll_back();
        }
        self.answer(job, end);
    }

    /// One transaction with a savepoint for each write. Leaves in `group` what has to be tried alone, because the
    /// transaction broke for a reason that may lie in one of them.
    fn commit_together(&self, group: &mut Vec<Box<dyn Job>>) {
        if let Err(failure) = self.begin() {
            for job in group.drain(..) {
                self.answer(job, Err(failure.clone()));
            }
            return;
        }
        let db = Db::new(&self.connection, &self.counters);
        let mut done: Vec<(Box<dyn Job>, Result<(), Failure>)> = Vec::with_capacity(group.len());
        let mut waiting = group.drain(..);
        let mut whole = true;
        while let Some(mut job) = waiting.next() {
            let end = self.run_in_savepoint(&mut *job, &db);
            whole = end.is_ok();
            done.push((job, end.unwrap_or(Ok(()))));
            if !whole {
                done.extend(waiting.by_ref().map(|job| (job, Ok(()))));
            }
        }
        drop(waiting);
        let committed = whole && self.connection.execute_batch("COMMIT").is_ok();
        if committed {
            for (job, end) in done {
                self.answer(job, end);
            }
        } else {
            self.roll_back();
            group.extend(done.into_iter().map(|(job, _)| job));
        }
    }

    /// What became of the write; an error when the whole transaction is broken: a full disk or a failing one
    /// makes SQLite roll back everything.
    fn run_in_savepoint(&self, job: &mut dyn Job, db: &Db<'_>) -> Result<Result<(), Failure>, Failure> {
        self.connection.execute_batch("SAVEPOINT write")?;
        let end = job.run(db);
        let close = if end.is_ok() { "RELEASE write" } else { "ROLLBACK TO write; RELEASE write" };
        // Fails when there is no savepoint any more, because everything was rolled back.
        self.connection.execute_batch(close)?;
        Ok(end)
    }

    fn begin(&self) -> Result<(), Failure> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(?error, "a transaction could not be rolled back");
        }
    }

    fn answer(&self, job: Box<dyn Job>, end: Result<(), Failure>) {
        match &end {
            Ok(()) => self.read_only.store(false, Ordering::Relaxed),
            Err(failure) if failure.kind() == StoreErrorKind::ReadOnly => {
                self.read_only.store(true, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        job.answer(end);
    }
}

/// Takes a message in. False when the thread is to end.
fn admit(message: Message, group: &mut Vec<Box<dyn Job>>) -> bool {
    match message {
        Message::Run(job) => {
            group.push(job);
            true
        }
        Message::Close => false,
    }
}
