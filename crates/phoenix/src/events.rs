//! Security events on their way to the database: noted at once, written in batches, limited for each account.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::model::{EventKind, SecurityEvent, Timestamp, UserId};
use phoenix_auth::ports::{EventSink, Store, StoreError};
use tokio::sync::Notify;

use crate::lifecycle::Lifecycle;

/// Events waiting to be written, about 300 bytes each. At the bound new ones are only logged.
const QUEUE: usize = 4096;
/// Events written in one statement.
const BATCH: usize = 256;
/// Pause after a write that failed, and between two writes.
const PAUSE: Duration = Duration::from_millis(500);
/// Events of one kind that an account may have at once.
const BURST: i64 = 20;
/// Milliseconds after which it may have one more.
const REFILL_MS: i64 = 60_000;
/// Accounts and kinds whose events are counted, about 64 bytes each. At the bound the one left alone the longest is
/// counted anew.
const COUNTED: usize = 16_384;
/// Detail of the event that stands for those left out.
const LEFT_OUT: &str = "more of this kind are left out for a while";

/// Events that wait.
#[derive(Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<VecDeque<SecurityEvent>>,
    arrived: Notify,
    limits: Mutex<Limits>,
    /// Held while writing: two at once would each take away what the other has not written.
    writing: tokio::sync::Mutex<()>,
}

impl EventSink for EventQueue {
    fn note(&self, mut event: SecurityEvent) {
        match self.judge(&event) {
            Judgement::Take => {}
            Judgement::SayMore => LEFT_OUT.clone_into(&mut event.detail),
            Judgement::LeaveOut => return,
        }
        let SecurityEvent { kind, user_id, session_id, ip, detail, .. } = &event;
        let session_id = session_id.map(|id| id.to_string());
        let ip = ip.map(|ip| ip.to_string());
        tracing::warn!(kind = kind.as_str(), %user_id, session_id, ip, detail, "security event");
        let mut waiting = self.lock();
        if waiting.len() < QUEUE {
            waiting.push_back(event);
            self.arrived.notify_one();
        } else {
            tracing::warn!("too many security events wait; this one is only here, not in the database");
        }
    }
}

impl EventQueue {
    /// Writes everything that waits.
    pub(crate) async fn flush(&self, store: &dyn Store) -> Result<(), StoreError> {
        self.flush_by(|batch| async move { store.record_events(&batch).await.map(drop) }).await
    }

    async fn flush_by<W, F>(&self, write: W) -> Result<(), StoreError>
    where
        W: Fn(Vec<SecurityEvent>) -> F,
        F: Future<Output = Result<(), StoreError>>,
    {
        let _writing = self.writing.lock().await;
        loop {
            let batch: Vec<_> = self.lock().iter().take(BATCH).cloned().collect();
            let written = batch.len();
            if written == 0 {
                return Ok(());
            }
            write(batch).await?;
            // Only now: a write that fails is tried again, and writing an event twice does no harm.
            self.lock().drain(..written);
        }
    }

    fn judge(&self, event: &SecurityEvent) -> Judgement {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.judge((event.user_id, event.kind), event.at)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SecurityEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token bucket for each account and kind of event. Whoever can cause events of one kind at will, such as by
/// changing what their device says of itself, can neither flood the rest nor hide events of another kind.
#[derive(Default)]
struct Limits {
    buckets: HashMap<(UserId, EventKind), Bucket>,
}

struct Bucket {
    /// When it will be full again, in milliseconds of the time of day.
    full_at_ms: i64,
    /// Whether it was said that events are left out, since the last that was taken.
    said: bool,
}

#[derive(PartialEq, Eq, Debug)]
enum Judgement {
    Take,
    /// The first that is left out: something should say so.
    SayMore,
    LeaveOut,
}

impl Limits {
    fn judge(&mut self, key: (UserId, EventKind), at: Timestamp) -> Judgement {
        let now = at.as_millis();
        if self.buckets.len() >= COUNTED && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket { full_at_ms: now, said: false });
        // The clock may have been set back: nobody waits for longer than an empty bucket takes.
        let full_at = bucket.full_at_ms.clamp(now, now + BURST * REFILL_MS);
        if full_at + REFILL_MS <= now + BURST * REFILL_MS {
            *bucket = Bucket { full_at_ms: full_at + REFILL_MS, said: false };
            return Judgement::Take;
        }
        if std::mem::replace(&mut bucket.said, true) { Judgement::LeaveOut } else { Judgement::SayMore }
    }

    /// Forgets the buckets that are full, and if there are none the one that is full next.
    fn make_room(&mut self, now: i64) {
        self.buckets.retain(|_, bucket| bucket.full_at_ms > now);
        if self.buckets.len() >= COUNTED
            && let Some(next) =
                self.buckets.iter().min_by_key(|(_, bucket)| bucket.full_at_ms).map(|(key, _)| *key)
        {
            self.buckets.remove(&next);
        }
    }
}

/// Writes events as they come. The last ones are written by `App::stop`.
pub(crate) async fn write(lifecycle: Lifecycle, queue: Arc<EventQueue>, store: Arc<dyn Store>) {
    let stopping = lifecycle.stopping().clone();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = queue.arrived.notified() => {}
        }
        while let Err(error) = queue.flush(&*store).await {
            tracing::warn!(?error, "security events were not written; they wait for the next time");
            if !lifecycle.pause(PAUSE).await {
                return;
            }
        }
        if !lifecycle.pause(PAUSE).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use phoenix_auth::model::EventId;
    use uuid::Uuid;

    use super::*;

    fn event(number: u128, user: u128, kind: EventKind, at_ms: i64) -> SecurityEvent {
        SecurityEvent {
            id: EventId::from_uuid(Uuid::from_u128(number)),
            at: Timestamp::from_millis(at_ms),
            kind,
            user_id: UserId::from_uuid(Uuid::from_u128(user)),
            session_id: None,
            ip: None,
            detail: String::new(),
        }
    }

    #[test]
    fn an_account_that_floods_costs_nobody_else_an_event() {
        let queue = EventQueue::default();
        for number in 0..10_000 {
            queue.note(event(number, 1, EventKind::DeviceChanged, 1000));
        }
        queue.note(event(20_000, 1, EventKind::TokenReplayed, 1000));
        queue.note(event(20_001, 2, EventKind::DeviceChanged, 1000));
        let waiting = queue.lock();
        let taken = usize::try_from(BURST).unwrap();
        assert_eq!(waiting.len(), taken + 3);
        assert_eq!(waiting.iter().filter(|event| event.detail == LEFT_OUT).count(), 1);
        assert_eq!(waiting.get(taken).map(|event| &*event.detail), Some(LEFT_OUT));
        let last: Vec<_> = waiting.iter().skip(taken + 1).map(|event| event.id.as_uuid().as_u128()).collect();
        assert_eq!(last, [20_000, 20_001]);
    }

    #[test]
    fn a_bucket_fills_again_even_when_the_clock_is_set_back() {
        let mut limits = Limits::default();
        let key = (UserId::from_uuid(Uuid::from_u128(1)), EventKind::DeviceChanged);
        let mut judge = |at| limits.judge(key, Timestamp::from_millis(at));
        let start = 1_000_000_000;
        for _ in 0..BURST {
            assert_eq!(judge(start), Judgement::Take);
        }
        assert_eq!(judge(start), Judgement::SayMore);
        assert_eq!(judge(start + REFILL_MS - 1), Judgement::LeaveOut);
        assert_eq!(judge(start + REFILL_MS), Judgement::Take);
        assert_eq!(judge(start + REFILL_MS), Judgement::SayMore, "said once more");
        assert_eq!(judge(0), Judgement::LeaveOut);
        let later = start + 2 * BURST * REFILL_MS;
        for _ in 0..BURST {
            assert_eq!(judge(later), Judgement::Take);
        }
        assert_eq!(judge(later), Judgement::SayMore);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut limits = Limits::default();
        for number in 0..(COUNTED as u128 + 100) {
            let key = (UserId::from_uuid(Uuid::from_u128(number)), EventKind::DeviceChanged);
            assert_eq!(limits.judge(key, Timestamp::from_millis(5)), Judgement::Take);
        }
        assert_eq!(limits.buckets.len(), COUNTED);
    }

    #[tokio::test]
    async fn two_that_write_at_once_lose_nothing() {
        let queue = EventQueue::default();
        let written = Mutex::new(Vec::new());
        queue.note(event(1, 1, EventKind::DeviceChanged, 0));
        let flush = || {
            queue.flush_by(|batch| {
                let written = &written;
                async move {
                    tokio::task::yield_now().await;
                    written.lock().unwrap().extend(batch.iter().map(|event| event.id.as_uuid().as_u128()));
                    Ok(())
                }
            })
        };
        let (first, second, ()) = tokio::join!(flush(), flush(), async {
            queue.note(event(2, 1, EventKind::DeviceChanged, 0));
        });
        first.and(second).unwrap();
        assert!(queue.lock().is_empty());
        assert_eq!(*written.lock().unwrap(), [1, 2]);
    }
}
