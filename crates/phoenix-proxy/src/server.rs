//! One server of an application: what is under way there, its idle connections, and whether it is well.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use phoenix_resilience::{Breaker, BreakerLimits};
use tokio_util::task::TaskTracker;

use crate::body::{HeadWait, RequestBody};
use crate::config::{Origin, Protocol, UpstreamConfig};
use crate::connect::{self, Spoken};
use crate::failure::Failure;
use crate::h1::{self, Broken};
use crate::h2;
use crate::health::Checks;
use crate::pool::Pool;

/// Failures in a row after which a server is left alone.
const FAILURES: u32 = 3;
/// Time until it is tried again.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The same after many tries, if there are other servers.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Idle connections that are tried before a new one is made. A server that closes many at once would cost a try each.
const STALE_TRIES: usize = 2;

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) origin: Origin,
    pub(crate) breaker: Breaker,
    pub(crate) pool: Pool,
    pub(crate) checks: Checks,
    protocol: Protocol,
    connect_timeout: Duration,
    max_under_way: usize,
    under_way: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
    shared: Mutex<Option<h2::Link>>,
    /// One at a time makes the shared connection.
    opening: tokio::sync::Mutex<()>,
    /// What was agreed on last: whether to look for a shared connection first.
    speaks_http2: AtomicBool,
}

/// How a server does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReport {
    /// Name of the upstream.
    pub upstream: String,
    /// Origin of the server.
    pub server: String,
    /// Whether requests are sent there.
    pub is_up: bool,
    /// Requests under way, without tunnels.
    pub under_way: usize,
    /// Requests sent since the start.
    pub requests: u64,
    /// Of these, those that failed in a way that speaks against the server.
    pub failures: u64,
    /// Why it is down, if it is.
    pub reason: Option<String>,
}

/// One of the requests that may be under way. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place(Arc<Server>);

impl Place {
    pub(crate) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer and the way it came.
pub(crate) struct Answered {
    pub(crate) answer: http::Response<hyper::body::Incoming>,
    /// The connection, if it speaks HTTP/1.1.
    pub(crate) link: Option<Box<h1::Link>>,
}

/// How a request is to be sent.
pub(crate) struct Sending<'a> {
    pub(crate) now: Duration,
    pub(crate) for_upgrade: bool,
    pub(crate) keep_host: bool,
    /// Whether connections are no longer kept for others.
    pub(crate) is_closing: bool,
    pub(crate) tasks: &'a TaskTracker,
}

/// A request that got no answer.
pub(crate) struct Lost {
    pub(crate) failure: Failure,
    pub(crate) unsent: Option<Box<Request<RequestBody>>>,
    /// The connection was used before, so the server may have closed it for its age.
    pub(crate) reused: bool,
}

impl Server {
    pub(crate) fn new(origin: Origin, config: &UpstreamConfig) -> Self {
        // Sparing the only server would lengthen every restart of the application.
        let max_pause = if config.servers.len() > 1 { MAX_PAUSE } else { MIN_PAUSE };
        Self {
            origin,
            breaker: Breaker::new(BreakerLimits { failures: FAILURES, min_pause: MIN_PAUSE, max_pause }),
            pool: Pool::default(),
            checks: Checks::default(),
            protocol: config.protocol,
            connect_timeout: config.connect_timeout,
            max_under_way: config.max_connections,
            under_way: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            last_failure: Mutex::new(None),
            shared: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            speaks_http2: AtomicBool::new(config.protocol == Protocol::Http2),
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Whether only HTTP/2 is spoken, in which there are no upgrades.
    pub(crate) fn is_http2_only(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// A place, if there is room.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.max_under_way).then_some(place)
    }

    pub(crate) fn note(&self, failure: Failure) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    pub(crate) fn report(&self, upstream: &str) -> ServerReport {
        let checked = self.checks.is_up();
        let is_up = checked && self.breaker.is_closed();
        let last = *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = match (is_up, checked) {
            (true, _) => None,
            (false, false) => Some("the health check fails".to_owned()),
            (false, true) => last.map(Failure::reason),
        };
        ServerReport {
            upstream: upstream.to_owned(),
            server: self.origin.server.to_string(),
            is_up,
            under_way: self.under_way(),
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            reason,
        }
    }

    /// Sends a request over a connection that is there, or a new one.
    pub(crate) async fn send(
        &self,
        mut request: Request<RequestBody>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
    ) -> Result<Answered, Lost> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.speaks_http2.load(Ordering::Relaxed) && !sending.for_upgrade {
            if let Some(link) = self.shared() {
                match Box::pin(self.send_shared(link, request, sending, wait, true)).await {
                    Err(Lost { unsent: Some(unsent), .. }) => {
                        // It takes no more requests, though it may still answer others.
                        self.forget_shared();
                        request = *unsent;
                    }
                    other => return other,
                }
            }
        } else {
            for _ in 0..STALE_TRIES {
                let Some(link) = self.pool.take(sending.now) else { break };
                match self.send_alone(link, request, sending, wait, true).await {
                    Err(Lost { unsent: Some(unsent), .. }) => request = *unsent,
                    other => return other,
                }
            }
        }
        // Boxed: nearly every request finds a connection, and would carry the room for opening one with it.
        Box::pin(self.send_anew(request, sending, wait)).await
    }

    async fn send_anew(
        &self,
        request: Request<RequestBody>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
    ) -> Result<Answered, Lost> {
        let lost = |failure, request| Lost { failure, unsent: Some(Box::new(request)), reused: false };
        let one = if self.speaks_http2.load(Ordering::Relaxed) && !sending.for_upgrade {
            let Ok(one) = tokio::time::timeout(self.connect_timeout, self.opening.lock()).await else {
                return Err(lost(Failure::ConnectTimeout, request));
            };
            // Somebody else may have made it meanwhile.
            if let Some(link) = self.shared() {
                drop(one);
                return self.send_shared(link, request, sending, wait, true).await;
            }
            Some(one)
        } else {
            None
        };
        let opened =
            connect::connect(&self.origin, self.protocol, sending.for_upgrade, self.connect_timeout).await;
        let (stream, spoken) = match opened {
            Ok(opened) => opened,
            Err(failure) => return Err(lost(failure, request)),
        };
        if spoken == Spoken::Http1 {
            if !sending.for_upgrade {
                self.speaks_http2.store(false, Ordering::Relaxed);
            }
            drop(one);
            return match h1::open(stream).await {
                Ok(link) => self.send_alone(link, request, sending, wait, false).await,
                Err(failure) => Err(lost(failure, request)),
            };
        }
        let link = match h2::open(stream, sending.tasks).await {
            Ok(link) => link,
            Err(failure) => return Err(lost(failure, request)),
        };
        self.speaks_http2.store(true, Ordering::Relaxed);
        if !sending.is_closing {
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        }
        drop(one);
        self.send_shared(link, request, sending, wait, false).await
    }

    /// Closes connections that are idle; the shared one when its last exchange ends.
    pub(crate) fn close(&self) {
        self.pool.clear();
        self.forget_shared();
    }

    fn forget_shared(&self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn shared(&self) -> Option<h2::Link> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.as_ref().is_some_and(h2::Link::is_closed) {
            *shared = None;
        }
        shared.clone()
    }

    async fn send_shared(
        &self,
        mut link: h2::Link,
        mut request: Request<RequestBody>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        reused: bool,
    ) -> Result<Answered, Lost> {
        crate::forward::address_http2(&mut request, &self.origin, sending.keep_host);
        match h2::send(&mut link, request, wait).await {
            Ok(answer) => Ok(Answered { answer, link: None }),
            Err(Broken { failure, unsent }) => Err(Lost { failure, unsent, reused }),
        }
    }

    async fn send_alone(
        &self,
        mut link: Box<h1::Link>,
        mut request: Request<RequestBody>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        reused: bool,
    ) -> Result<Answered, Lost> {
        crate::forward::address_http1(&mut request, &self.origin, sending.keep_host);
        match link.send(request, wait).await {
            Ok(answer) => Ok(Answered { answer, link: Some(link) }),
            Err(Broken { failure, unsent }) => Err(Lost { failure, unsent, reused }),
        }
    }
}
