//! What can go wrong on command, per route, and the counters that prove how often each route was called. Carrying a
//! fault out is the affair of `server`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

/// Every route of the fake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `GET /api/v1/projects/{id}/.well-known/jwks.json`.
    Jwks,
    /// `GET /api/v1/projects-anonymous-users/{id}/.well-known/jwks.json`, which redirects to the former.
    JwksAlias,
    /// `GET /api/v1/users/me`.
    UsersMe,
    /// `POST /api/v1/auth/sessions/current/refresh`.
    RefreshSession,
    /// `POST /api/v1/auth/oauth/token`.
    OauthToken,
    /// `DELETE /api/v1/auth/sessions/current`.
    DeleteCurrentSession,
    /// `GET /api/v1/auth/sessions`.
    ListSessions,
    /// `DELETE /api/v1/auth/sessions/{id}`.
    DeleteSession,
    /// `POST /api/v1/auth/sessions`.
    CreateSession,
    /// `POST /api/v1/auth/password/sign-in`.
    PasswordSignIn,
    /// `GET /attacker/jwks.json`: where forged `jku` headers point. Nobody must ever call it.
    AttackerJwks,
    /// Everything else.
    Unknown,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 12] = [
        Self::Jwks,
        Self::JwksAlias,
        Self::UsersMe,
        Self::RefreshSession,
        Self::OauthToken,
        Self::DeleteCurrentSession,
        Self::ListSessions,
        Self::DeleteSession,
        Self::CreateSession,
        Self::PasswordSignIn,
        Self::AttackerJwks,
        Self::Unknown,
    ];
}

/// What happens instead of the answer. The call is counted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status with a body in plain text, as a proxy before the server would send.
    Status(u16),
    /// 429, with this many seconds in `Retry-After` or without that header.
    RateLimited {
        /// Seconds.
        retry_after_s: Option<u32>,
    },
    /// 200 with this body as JSON, whatever it is.
    Body(Bytes),
    /// The connection is reset without an answer.
    Reset,
    /// No answer until the client gives up. Ending the fault resets the connection.
    Hang,
}

/// What the key set's route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksMode {
    /// The keys.
    Normal,
    /// `{"keys":[]}`.
    Empty,
    /// This status without keys, for example 500 or 404.
    Status(u16),
    /// No answer.
    Hang,
    /// The keys, this much later.
    Slow(Duration),
    /// 200 with a body that is no key set.
    Garbage,
    /// 200 with a valid key set of at least this many bytes.
    Oversized(usize),
}

#[derive(Clone, Debug)]
struct Planned {
    fault: Fault,
    /// Calls that still meet the fault; `None` is all.
    remaining: Option<u64>,
}

/// The faults of all routes.
#[derive(Debug, Default)]
pub(super) struct Faults {
    latency: [Duration; Route::ALL.len()],
    planned: [Option<Planned>; Route::ALL.len()],
}

impl Faults {
    pub(super) fn set_latency(&mut self, route: Route, latency: Duration) {
        self.latency[route as usize] = latency;
    }

    pub(super) fn plan(&mut self, route: Route, fault: Fault, times: Option<u64>) {
        self.planned[route as usize] = Some(Planned { fault, remaining: times });
    }

    /// What the next call of `route` meets. Counts towards the number of times.
    pub(super) fn next(&mut self, route: Route) -> (Duration, Option<Fault>) {
        let fault = self.planned[route as usize].as_mut().and_then(|planned| {
            if let Some(remaining) = &mut planned.remaining {
                *remaining = remaining.checked_sub(1)?;
            }
            Some(planned.fault.clone())
        });
        (self.latency[route as usize], fault)
    }
}

#[derive(Debug, Default)]
struct Counter {
    calls: AtomicU64,
    running: AtomicU64,
    most_running: AtomicU64,
}

/// Counts of calls.
#[derive(Debug, Default)]
pub(super) struct Counters {
    routes: [Counter; Route::ALL.len()],
    connections: AtomicU64,
}

impl Counters {
    /// Counts a call; it runs until the guard is dropped.
    pub(super) fn enter(&self, route: Route) -> Running<'_> {
        let counter = &self.routes[route as usize];
        counter.calls.fetch_add(1, Ordering::SeqCst);
        let running = counter.running.fetch_add(1, Ordering::SeqCst) + 1;
        counter.most_running.fetch_max(running, Ordering::SeqCst);
        Running(counter)
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn calls(&self, route: Route) -> u64 {
        self.routes[route as usize].calls.load(Ordering::SeqCst)
    }

    pub(super) fn running(&self, route: Route) -> u64 {
        self.routes[route as usize].running.load(Ordering::SeqCst)
    }

    pub(super) fn most_running(&self, route: Route) -> u64 {
        self.routes[route as usize].most_running.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn reset(&self) {
        for counter in &self.routes {
            counter.calls.store(0, Ordering::SeqCst);
            counter.most_running.store(counter.running.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        self.connections.store(0, Ordering::SeqCst);
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Running<'counters>(&'counters Counter);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
