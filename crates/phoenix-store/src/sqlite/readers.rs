//! A few connections that only read. A point read takes microseconds, so it runs on the caller's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use rusqlite::Connection;

/// Read connections, each used by one caller at a time.
pub(super) struct Readers {
    slots: Box<[Mutex<Connection>]>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { slots: connections.into_iter().map(Mutex::new).collect(), next: AtomicUsize::new(0) }
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Runs `read` on a free connection; when none is free, waits for one, which is a few reads long.
    /// `None` when the store is closed.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> Option<T> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = |offset: usize| self.slots.get(first.wrapping_add(offset) % self.slots.len().max(1));
        for offset in 0..self.slots.len() {
            match slot(offset)?.try_lock() {
                Ok(connection) => return Some(read(&connection)),
                Err(TryLockError::Poisoned(poisoned)) => return Some(read(&poisoned.into_inner())),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let connection = slot(0)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(read(&connection))
    }
}
