//! How the process does in one word, kept in memory for every answer's header.

use std::sync::atomic::{AtomicBool, Ordering};

use phoenix_http::SystemStatus;

/// Written by the background tasks, read by every request.
#[derive(Debug, Default)]
pub(crate) struct StatusWord {
    database_lost: AtomicBool,
    another_reaches_it: AtomicBool,
    redis_lost: AtomicBool,
    draining: AtomicBool,
}

impl StatusWord {
    pub(crate) fn set_database_lost(&self, lost: bool) {
        if self.database_lost.swap(lost, Ordering::Relaxed) != lost {
            if lost {
                tracing::error!("the database does not answer; only what it is not needed for is answered");
            } else {
                tracing::info!("the database answers again");
            }
        }
    }

    /// Whether another node answered for the database that this one does not reach.
    pub(crate) fn set_another_reaches_it(&self, reaches: bool) {
        self.another_reaches_it.store(reaches, Ordering::Relaxed);
    }

    pub(crate) fn does_another_reach_it(&self) -> bool {
        self.another_reaches_it.load(Ordering::Relaxed)
    }

    pub(crate) fn set_redis_lost(&self, lost: bool) {
        if self.redis_lost.swap(lost, Ordering::Relaxed) != lost {
            if lost {
                tracing::warn!("Redis does not answer; sessions are looked up in the database");
            } else {
                tracing::info!("Redis answers again");
            }
        }
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_database_lost(&self) -> bool {
        self.database_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn word(&self) -> SystemStatus {
        if self.is_database_lost() || self.redis_lost.load(Ordering::Relaxed) {
            SystemStatus::Degraded
        } else {
            SystemStatus::Ok
        }
    }
}
