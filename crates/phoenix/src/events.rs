//! Security events on their way to the database: noted at once, written in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_auth::model::SecurityEvent;
use phoenix_auth::ports::{EventSink, Store};
use tokio::sync::Notify;

use crate::lifecycle::Lifecycle;

/// Events waiting to be written, about 300 bytes each. At the bound new ones are only logged.
const QUEUE: usize = 4096;
/// Events written in one statement.
const BATCH: usize = 256;
/// Pause after a write that failed, and between two writes.
const PAUSE: Duration = Duration::from_millis(500);

/// Events that wait.
#[derive(Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<VecDeque<SecurityEvent>>,
    arrived: Notify,
}

impl EventSink for EventQueue {
    fn note(&self, event: SecurityEvent) {
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
    pub(crate) async fn flush(&self, store: &dyn Store) -> Result<(), phoenix_auth::ports::StoreError> {
        loop {
            let batch: Vec<_> = self.lock().iter().take(BATCH).cloned().collect();
            if batch.is_empty() {
                return Ok(());
            }
            store.record_events(&batch).await?;
            // Only now: a write that fails is tried again, and writing an event twice does no harm.
            let mut waiting = self.lock();
            let written = batch.len().min(waiting.len());
            waiting.drain(..written);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SecurityEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
