//! One server of an application: what is under way there, its idle connections, and whether it is well.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use phoenix_resilience::{Breaker, BreakerLimits, Call};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Stream;
use crate::config::{Origin, Protocol, UpstreamConfig};
use crate::connect::{self, Spoken};
use crate::failure::{Failure, Refusal};
use crate::h1::{self, Broken, Head};
use crate::h2;
use crate::health::Checks;
use crate::outbound::Outbound;
use crate::pool::Pool;
use crate::request_body::HeadWait;
use crate::stalls::Stalls;

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
    pub(crate) stalls: Stalls<Stream>,
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
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The head of an answer, and where its body comes from.
pub(crate) struct Answered {
    pub(crate) parts: http::response::Parts,
    pub(crate) source: Source,
}

/// Where the body of an answer comes from.
pub(crate) enum Source {
    Http1(Box<h1::Link>, h1::Length),
    Http2(Incoming),
}

/// How a request is to be sent.
pub(crate) struct Sending<'a> {
    pub(crate) now: Duration,
    pub(crate) for_upgrade: bool,
    pub(crate) keep_host: bool,
    /// When cancelled, connections are no longer kept for others.
    pub(crate) drain: &'a CancellationToken,
    /// For a connection of HTTP/2.
    pub(crate) tasks: &'a TaskTracker,
}

/// A request that got no answer.
pub(crate) struct Lost {
    pub(crate) failure: Failure,
    /// It is as it was, and the server did nothing with it.
    pub(crate) is_unsent: bool,
    /// The connection was used before, so the server may have closed it for its age.
    pub(crate) reused: bool,
    /// How the server said that it did nothing with it, if it did.
    pub(crate) refusal: Option<Refusal>,
}

impl Lost {
    fn new(broken: Broken, reused: bool) -> Self {
        let Broken { failure, is_unsent, refusal } = broken;
        Self { failure, is_unsent, reused, refusal }
    }
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
            stalls: Stalls::default(),
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

    /// Sends a request over a connection that is there, or a new one. A call that probes is told as soon as there is a
    /// new connection: others must not wait for an answer that may take long.
    pub(crate) async fn send(
        &self,
        request: &mut Outbound<'_>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        call: &mut Option<Call<'_>>,
    ) -> Result<Answered, Lost> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.speaks_http2.load(Ordering::Relaxed) && !sending.for_upgrade {
            if let Some(link) = self.shared() {
                match Box::pin(self.send_shared(link.clone(), request, sending, wait, true)).await {
                    // The connection is well. A server that refuses is asked again at the cost of retries, if at all.
                    Err(lost) if lost.refusal == Some(Refusal::Stream) => return Err(lost),
                    // It takes no more requests, though it may still answer others.
                    Err(Lost { is_unsent: true, .. }) => self.forget(&link),
                    other => return other,
                }
            }
        } else {
            for _ in 0..STALE_TRIES {
                let Some(link) = self.pool.take(sending.now) else { break };
                match self.send_alone(link, request, sending, wait, true).await {
                    Err(Lost { is_unsent: true, .. }) => {}
                    other => return other,
                }
            }
        }
        // Boxed: nearly every request finds a connection, and would carry the room for opening one with it.
        Box::pin(self.send_anew(request, sending, wait, call)).await
    }

    async fn send_anew(
        &self,
        request: &mut Outbound<'_>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        call: &mut Option<Call<'_>>,
    ) -> Result<Answered, Lost> {
        let lost = |failure| Lost { failure, is_unsent: true, reused: false, refusal: None };
        let one = if self.speaks_http2.load(Ordering::Relaxed) && !sending.for_upgrade {
            let one = tokio::time::timeout(self.connect_timeout, self.opening.lock()).await;
            let one = one.map_err(|_elapsed| lost(Failure::ConnectTimeout))?;
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
        let (stream, spoken) = opened.map_err(lost)?;
        if let Some(probe) = call.take_if(|call| call.is_probe()) {
            probe.succeeded();
        }
        if spoken == Spoken::Http1 {
            if !sending.for_upgrade {
                self.speaks_http2.store(false, Ordering::Relaxed);
            }
            drop(one);
            return self.send_alone(h1::Link::new(stream), request, sending, wait, false).await;
        }
        let link = h2::open(stream, sending.tasks).await.map_err(lost)?;
        self.speaks_http2.store(true, Ordering::Relaxed);
        if !sending.drain.is_cancelled() {
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.clone());
        }
        drop(one);
        self.send_shared(link, request, sending, wait, false).await
    }

    /// Sends a request over a connection of its own, which is of no other use: requests lose none to it, and it is not one
    /// of them. Says with what status it was answered.
    pub(crate) async fn ask_apart(
        &self,
        request: &mut Outbound<'_>,
        tasks: &TaskTracker,
        wait: &mut HeadWait,
    ) -> Result<StatusCode, Failure> {
        let (stream, spoken) =
            connect::connect(&self.origin, self.protocol, false, self.connect_timeout).await?;
        match spoken {
            Spoken::Http1 => {
                let head = h1::Link::new(stream).send(request, &self.origin, true, wait).await;
                head.map(|head| head.parts.status)
            }
            Spoken::Http2 => {
                let mut link = h2::open(stream, tasks).await?;
                let answer = h2::send(&mut link, request, &self.origin, true, wait).await;
                answer.map(|answer| answer.status())
            }
        }
        .map_err(|broken| broken.failure)
    }

    /// Closes connections that are idle; the shared one when its last exchange ends.
    pub(crate) fn close(&self) {
        self.pool.clear();
        self.forget_shared();
    }

    fn forget_shared(&self) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Others may have made another connection meanwhile, which is kept.
    fn forget(&self, link: &h2::Link) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.take_if(|shared| shared.is_same(link));
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
        request: &mut Outbound<'_>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        reused: bool,
    ) -> Result<Answered, Lost> {
        match h2::send(&mut link, request, &self.origin, sending.keep_host, wait).await {
            Ok(answer) => {
                let (parts, incoming) = answer.into_parts();
                Ok(Answered { parts, source: Source::Http2(incoming) })
            }
            Err(broken) => Err(Lost::new(broken, reused)),
        }
    }

    async fn send_alone(
        &self,
        mut link: Box<h1::Link>,
        request: &mut Outbound<'_>,
        sending: &Sending<'_>,
        wait: &mut HeadWait,
        reused: bool,
    ) -> Result<Answered, Lost> {
        match link.send(request, &self.origin, sending.keep_host, wait).await {
            Ok(Head { parts, length }) => Ok(Answered { parts, source: Source::Http1(link, length) }),
            Err(broken) => Err(Lost::new(broken, reused)),
        }
    }
}
