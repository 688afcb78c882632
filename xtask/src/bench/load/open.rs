//! The open loop: requests are due at even distances and are sent on whichever connection is free. When none is free
//! they wait, and the wait counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mio::{Events, Poll};

use super::Plan;
use super::alarm::{ALARM, Alarm};
use super::batches::Batches;
use super::closed::{open_all, record};
use super::connection::Connection;
use super::outcome::{Outcome, Recorder};

/// After the last request was due, answers may still come for so long.
const DRAIN: Duration = Duration::from_secs(5);
/// The system wakes us in whole milliseconds at best, so the rest of a wait is spent polling.
const WAKE_UP_ERROR: Duration = Duration::from_millis(2);

/// Runs on the calling thread.
pub(super) fn run(plan: &Plan, per_second: f64) -> Result<Outcome> {
    let mut poll = Poll::new().context("make a poll")?;
    let batches = Batches::new(plan, 1)?;
    let connections = open_all(plan, &batches, &poll)?;
    let start = Instant::now();
    let mut run = Run {
        plan,
        batches,
        free: (0..connections.len()).rev().collect(),
        connections,
        recorder: Recorder::new(start)?,
        schedule: Schedule { start, interval: 1.0 / per_second, sent: 0 },
        counted_from: start + plan.warm_up,
        end: start + plan.warm_up + plan.duration,
    };
    let mut alarm = plan.shares_core.then(|| Alarm::set_up(&poll)).transpose()?;
    let mut warm = false;
    let mut events = Events::with_capacity(plan.connections.max(64));
    loop {
        let now = Instant::now();
        if !warm && now >= run.counted_from {
            warm = true;
            run.recorder.restart(now);
        }
        run.send_due(&poll, now)?;
        let due = run.schedule.due();
        let idle = run.free.len() == run.connections.len();
        if due >= run.end && (idle || now >= run.end + DRAIN) {
            break;
        }
        let patience = match &mut alarm {
            Some(alarm) if !run.free.is_empty() && due < run.end => {
                alarm.ring_in(due.saturating_duration_since(now))?;
                DRAIN
            }
            _ => run.patience(due, now),
        };
        poll.poll(&mut events, Some(patience)).context("wait for the server")?;
        for event in &events {
            if event.token() != ALARM {
                run.advance(&poll, event.token().0)?;
            }
        }
    }
    Ok(run.finish())
}

/// When requests are due.
struct Schedule {
    start: Instant,
    interval: f64,
    sent: u64,
}

impl Schedule {
    /// When the next request is due. From the count, so that rounding errors do not add up.
    #[expect(clippy::cast_precision_loss, reason = "no run sends 2^52 requests")]
    fn due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.interval * self.sent as f64)
    }
}

struct Run<'plan> {
    plan: &'plan Plan,
    batches: Batches,
    connections: Vec<Connection>,
    /// Numbers of the connections with nothing under way, the longest idle first: all are used in turn.
    free: VecDeque<usize>,
    recorder: Recorder,
    schedule: Schedule,
    counted_from: Instant,
    end: Instant,
}

impl Run<'_> {
    /// Sends every request that is due, as far as connections are free.
    fn send_due(&mut self, poll: &Poll, now: Instant) -> Result<()> {
        loop {
            let due = self.schedule.due();
            if due > now || due >= self.end {
                return Ok(());
            }
            let Some(number) = self.free.pop_front() else { return Ok(()) };
            self.schedule.sent += 1;
            let connection = &mut self.connections[number];
            let next = self.batches.after(connection.batch);
            if let Err(error) = connection.send(next, self.batches.bytes(next), 1, due) {
                self.replace(poll, number, &error)?;
            }
        }
    }

    fn advance(&mut self, poll: &Poll, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        let since = connection.since;
        let woken = connection.wake(self.batches.bytes(connection.batch));
        match (woken.and_then(|()| connection.answer(&self.plan.expect)), since) {
            (Ok(Some(head)), Some(since)) => {
                if since >= self.counted_from {
                    record(&mut self.recorder, &head, since.elapsed());
                }
                if head.closes {
                    self.reopen(poll, number)?;
                }
                self.free.push_back(number);
                Ok(())
            }
            (Ok(_), _) => Ok(()),
            // An idle connection may be closed by the server; no request was lost.
            (Err(_), None) => self.reopen(poll, number),
            (Err(error), Some(_)) => self.replace(poll, number, &error),
        }
    }

    /// Counts the request under way as lost and gives it a new, free connection.
    fn replace(&mut self, poll: &Poll, number: usize, error: &anyhow::Error) -> Result<()> {
        self.recorder.broken(error);
        self.reopen(poll, number)?;
        self.free.push_back(number);
        Ok(())
    }

    fn reopen(&mut self, poll: &Poll, number: usize) -> Result<()> {
        let batch = self.connections[number].batch;
        self.connections[number] = Connection::open(self.plan.address, poll.registry(), number, batch)?;
        Ok(())
    }

    /// How long to wait for an answer before a request is due.
    fn patience(&self, due: Instant, now: Instant) -> Duration {
        // Nothing can be sent: only an answer, or the end of the drain, matters.
        if self.free.is_empty() || due >= self.end {
            return (self.end + DRAIN).saturating_duration_since(now).min(Duration::from_millis(50));
        }
        due.saturating_duration_since(now).saturating_sub(WAKE_UP_ERROR)
    }

    /// Counts what never got an answer: under way, or due and not even sent.
    fn finish(mut self) -> Outcome {
        let now = Instant::now();
        for since in self.connections.iter().filter_map(|connection| connection.since) {
            if since >= self.counted_from {
                self.recorder.unanswered(now - since);
            }
        }
        while self.schedule.due() < self.end {
            self.recorder.unanswered(now - self.schedule.due());
            self.schedule.sent += 1;
        }
        let mut outcome = self.recorder.finish(now);
        // The rate is what was answered of what was due in this time; the drain only waits for stragglers.
        outcome.elapsed = self.plan.duration;
        outcome
    }
}
