//! The outside world: time, randomness, places, and threads for password work.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Moment, Place, SecurityEvent};
use crate::ops::{PasswordJob, PasswordOutcome};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Moment;

    /// Reads the monotonic clock only: enough to measure how long something took.
    fn mono(&self) -> Duration;
}

/// Cryptographic randomness.
pub trait Entropy: Send + Sync {
    /// Overwrites `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// Tells where an address is, roughly.
pub trait GeoLocator: Send + Sync {
    /// The place, if it is known. No I/O.
    fn locate(&self, ip: IpAddr) -> Option<Place>;
}

/// Takes security events and writes them a moment later. Never waits; at its bound it drops and counts.
pub trait EventSink: Send + Sync {
    /// Notes an event.
    fn note(&self, event: SecurityEvent);
}

/// Password work could not be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no password worker became free in time")]
pub struct PasswordPoolBusy {
    /// When trying again is sensible.
    pub retry_after: Duration,
}

/// Runs password work on a bounded number of threads.
#[async_trait]
pub trait PasswordPool: Send + Sync {
    /// Runs `job`, waiting a bounded time for a free worker.
    async fn run(&self, job: PasswordJob) -> Result<PasswordOutcome, PasswordPoolBusy>;
}

#[cfg(test)]
pub(crate) mod testing {
    //! Deterministic stand-ins for the clock and randomness.

    use std::sync::atomic::{AtomicU8, Ordering};

    /// Fills with a counter that rises with every call.
    #[derive(Default)]
    pub(crate) struct CountingEntropy(AtomicU8);

    impl super::Entropy for CountingEntropy {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }
}
