//! The closed loop: each connection sends its next request when the answer to the last has come.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mio::{Events, Poll};

use super::Plan;
use super::batches::Batches;
use super::connection::Connection;
use super::outcome::{Outcome, Recorder};
use super::response::Head;

/// Longest time without a look at the clock.
const TICK: Duration = Duration::from_millis(50);

/// Runs on the calling thread.
pub(super) fn run(plan: &Plan) -> Result<Outcome> {
    let mut poll = Poll::new().context("make a poll")?;
    let batches = Batches::new(plan, plan.pipeline)?;
    let mut connections = open_all(plan, &batches, &poll)?;
    let start = Instant::now();
    for connection in &mut connections {
        let first = connection.batch;
        connection.send(first, batches.bytes(first), batches.size, start)?;
    }
    let mut state = Run { plan, batches, recorder: Recorder::new(start)?, now: start };
    let counted_from = start + plan.warm_up;
    let mut end = counted_from + plan.duration;
    let mut warm = false;
    let mut events = Events::with_capacity(plan.connections.max(64));
    // On a core of its own it does not sleep: a generator that sleeps makes the server pay for waking it, the more the
    // slower the server is, and a ratio of two servers would measure that.
    let patience = if plan.core.is_some() && !plan.shares_core { Duration::ZERO } else { TICK };
    while state.now < end {
        poll.poll(&mut events, Some(patience)).context("wait for the server")?;
        if events.is_empty() {
            state.now = Instant::now();
        }
        for event in &events {
            let number = event.token().0;
            if let Err(error) = state.advance(&mut connections[number]) {
                state.recorder.broken(&error);
                connections[number] = state.reopen(&poll, number, &connections[number])?;
            }
        }
        if !warm && state.now >= counted_from {
            warm = true;
            state.recorder.restart(state.now);
            end = state.now + plan.duration;
        }
    }
    Ok(state.recorder.finish(state.now))
}

/// Opens all connections of `plan`; nothing is sent yet.
pub(super) fn open_all(plan: &Plan, batches: &Batches, poll: &Poll) -> Result<Vec<Connection>> {
    (0..plan.connections)
        .map(|number| Connection::open(plan.address, poll.registry(), number, batches.first(number)))
        .collect()
}

/// Judges an answer.
pub(super) fn record(recorder: &mut Recorder, head: &Head, latency: Duration) {
    if head.good {
        recorder.completed(latency);
    } else {
        recorder.unexpected(|| format!("status {}, or the expected header is not there", head.status));
    }
}

struct Run<'plan> {
    plan: &'plan Plan,
    batches: Batches,
    recorder: Recorder,
    /// The last look at the clock: one each time answers have come.
    now: Instant,
}

impl Run<'_> {
    fn advance(&mut self, connection: &mut Connection) -> Result<()> {
        let Some(since) = connection.since else { return Ok(()) };
        connection.wake(self.batches.bytes(connection.batch))?;
        let mut seen = false;
        while let Some(head) = connection.answer(&self.plan.expect)? {
            // Answers that were read together have come together.
            if !seen {
                seen = true;
                self.now = Instant::now();
            }
            record(&mut self.recorder, &head, self.now - since);
            anyhow::ensure!(!head.closes, "the server asked to close the connection");
            if connection.since.is_none() {
                let next = self.batches.after(connection.batch);
                return connection.send(next, self.batches.bytes(next), self.batches.size, self.now);
            }
        }
        Ok(())
    }

    /// Replaces a broken connection and sends on it the batch after the one that broke.
    fn reopen(&mut self, poll: &Poll, number: usize, broken: &Connection) -> Result<Connection> {
        let next = self.batches.after(broken.batch);
        let mut connection = Connection::open(self.plan.address, poll.registry(), number, next)?;
        self.now = Instant::now();
        connection.send(next, self.batches.bytes(next), self.batches.size, self.now)?;
        Ok(connection)
    }
}
