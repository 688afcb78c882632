//! Idle connections of HTTP/1.1 to one server. The last one used is the next: the others may then end unused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::h1::Link;

/// Most idle connections to one server. Further ones are closed.
const IDLE_CONNECTIONS: usize = 256;
/// How long a connection is kept idle if the server does not say how long it will be.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The idle connections.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    until: Duration,
}

impl Pool {
    /// The one used last, if it may still be used at `now`.
    pub(crate) fn take(&self, now: Duration) -> Option<Box<Link>> {
        loop {
            let idle = self.lock().pop()?;
            if now < idle.until {
                return Some(idle.link);
            }
        }
    }

    /// Keeps an idle connection until then.
    pub(crate) fn put(&self, link: Box<Link>, until: Duration) {
        let mut idle = self.lock();
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(Idle { link, until });
        }
    }

    /// Closes what is too old at `now`, and what the server has closed.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut all = std::mem::take(&mut *self.lock());
        all.retain_mut(|idle| now < idle.until && idle.link.is_idle());
        let mut idle = self.lock();
        // What came back meanwhile was used later.
        all.append(&mut idle);
        all.truncate(IDLE_CONNECTIONS);
        *idle = all;
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
