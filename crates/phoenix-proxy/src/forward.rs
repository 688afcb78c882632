//! One request on its way: prepared, sent to a server, tried again where that is safe, its answer prepared.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::{Answer, AnswerBody, Stream};
use crate::config::{ConfigError, Parts, UpstreamConfig};
use crate::failure::Failure;
use crate::hygiene::{self, Via, Way};
use crate::outbound::{Outbound, origin_form};
use crate::request_body::{HeadWait, Progress, RequestBody};
use crate::server::{Answered, Lost, Place, Sending, Server, ServerReport, Source};
use crate::tunnel::{self, Tunnels};
use crate::upstream::Upstream;
use crate::{h1, h2, pool, request_body, upgrade};

/// Most servers that are asked for one request.
const TRIES: usize = 3;
/// Longest wait for the client's side of an upgrade, once the server has agreed.
const CLIENT_UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is given up this long before the server said that it will be.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// Says how long a server keeps an idle connection (RFC 2068 section 19.7.1.1; Node.js and others send it).
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Passes requests on to applications. A clone is the same proxy.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) parts: Parts,
    via: Via,
    tunnels: Tunnels,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("upstreams", &self.0.upstreams).finish_non_exhaustive()
    }
}

/// What is known of one request, and its bounds.
pub struct Options {
    /// Fields that the request is given besides: lines of a head (RFC 9112 section 5), each with its end, names in lower
    /// case. What the client wrote under these names must be gone.
    pub fields: Bytes,
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client used https.
    pub is_https: bool,
    /// Largest body in bytes.
    pub max_body: u64,
    /// The head of the answer must be there this long after the last byte of the request was passed on.
    pub deadline: Duration,
    /// Longest pause within the request, the answer, or a tunnel; it may last a quarter longer. While it is the client
    /// that is waited for, a minute is the longest, but for its requests once the head of the answer is there.
    pub idle: Duration,
    /// Longest pause of the client within its request until the head of the answer is there, at whatever speed it sends.
    /// Without one that is `idle`, a minute at most, and 240 bytes for each second of waiting are asked for.
    pub client_pause: Option<Duration>,
    /// Whether the application sees the host that the client asked for, or its own.
    pub keep_host: bool,
    /// When the request came, on the clock of [`Parts`].
    pub now: Duration,
    /// Kept until a tunnel ends, if the request becomes one.
    pub hold: Option<Box<dyn Send + Sync>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Proxy {
    /// A proxy to these applications.
    ///
    /// # Errors
    /// When an upstream has no servers, or one that cannot be spoken to, or the pseudonym is no token.
    pub fn new(upstreams: &[UpstreamConfig], parts: Parts) -> Result<Self, ConfigError> {
        let via = Via::new(&parts.via).ok_or_else(|| ConfigError::Via(parts.via.clone()))?;
        let upstreams = upstreams.iter().map(Upstream::new).collect::<Result<_, _>>()?;
        let tunnels = Tunnels::new(parts.max_tunnels);
        Ok(Self(Arc::new(Inner { upstreams, parts, via, tunnels })))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Whether the request has come through this installation before.
    #[must_use]
    pub fn is_loop(&self, headers: &HeaderMap) -> bool {
        self.0.via.is_in(headers)
    }

    /// How the servers do, in the order of the configuration.
    #[must_use]
    pub fn report(&self) -> Vec<ServerReport> {
        let servers = self
            .0
            .upstreams
            .iter()
            .flat_map(|upstream| upstream.servers.iter().map(|server| server.report(&upstream.name)));
        servers.collect()
    }

    /// How many tunnels there are.
    #[must_use]
    pub fn tunnels(&self) -> usize {
        self.0.tunnels.open()
    }

    /// Sends a request to the upstream with this index, and returns its answer as it comes. A 101 becomes a tunnel.
    ///
    /// Dropping the future, or the body of the answer, ends the exchange.
    ///
    /// # Errors
    /// Why there is no answer. A status is no error, whatever it says.
    pub async fn forward(
        &self,
        upstream: usize,
        mut request: Request<Incoming>,
        options: Options,
    ) -> Result<Response<AnswerBody>, Failure> {
        let inner = &*self.0;
        let upstream = inner.upstreams.get(upstream).ok_or(Failure::NoneUp)?;
        let wanted = upgrade::wanted(&request)?;
        let client = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
        let version = request.version();
        request_body::emptied(request.body_mut(), &options).await?;
        let (request, progress) = inner.prepare(request, wanted.as_ref(), &options)?;
        let (answered, place) =
            inner.ask(upstream, request, progress.clone(), wanted.is_some(), &options).await?;
        if answered.parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(wanted), Some(client)) = (wanted, client) else {
                return Err(Failure::Garbage);
            };
            return inner.tunnel(answered, &wanted, client, options);
        }
        inner.answer(answered, place, progress, version, &options)
    }
}

impl Inner {
    /// The request as the application is to see it.
    fn prepare<'a>(
        &'a self,
        request: Request<Incoming>,
        wanted: Option<&HeaderValue>,
        options: &'a Options,
    ) -> Result<(Outbound<'a>, Option<Arc<Progress>>), Failure> {
        let (parts, incoming) = request.into_parts();
        let (body, progress) = RequestBody::new(incoming, parts.version, options, &self.parts.clock)?;
        let request::Parts { method, uri, mut headers, version, .. } = parts;
        if let Some(authority) = uri.authority()
            && !headers.contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, host);
        }
        hygiene::request(&mut headers);
        if let Some(wanted) = wanted {
            upgrade::name(&mut headers, wanted);
        }
        let Options { client, is_https, ref fields, .. } = *options;
        let way = Some(Way { client, is_https, version, via: &self.via, fields });
        Ok((Outbound { method, uri: origin_form(uri), headers, body, way }, progress))
    }

    /// Asks servers until one answers.
    async fn ask(
        &self,
        upstream: &Upstream,
        mut request: Outbound<'_>,
        progress: Option<Arc<Progress>>,
        for_upgrade: bool,
        options: &Options,
    ) -> Result<(Answered, Place), Failure> {
        let Options { keep_host, now, deadline, idle, client_pause, .. } = *options;
        let Parts { drain, connections: tasks, .. } = &self.parts;
        let sending = Sending { now, for_upgrade, keep_host, drain, tasks };
        let mut may_repeat = request.is_repeatable() && !for_upgrade;
        let mut avoid: Option<Arc<Server>> = None;
        let mut lost = Failure::NoneUp;
        for left in (0..TRIES).rev() {
            let chosen = match upstream.choose(now, avoid.as_ref()) {
                Ok(chosen) => chosen,
                // Nobody else is left: the first failure says more.
                Err(failure) => return Err(if avoid.is_some() { lost } else { failure }),
            };
            if avoid.as_ref().is_some_and(|avoid| Arc::ptr_eq(avoid, chosen.server))
                && lost.is_before_connection()
            {
                return Err(lost);
            }
            if for_upgrade && chosen.server.is_http2_only() {
                return Err(Failure::BadUpgrade);
            }
            let mut wait = HeadWait::new(progress.clone(), deadline, idle, client_pause);
            let mut call = Some(chosen.call);
            let sent = chosen.server.send(&mut request, &sending, &mut wait, &mut call).await;
            let Lost { failure, is_unsent, reused, refusal } = match sent {
                Ok(answered) => {
                    if let Some(call) = call {
                        call.succeeded();
                    }
                    upstream.retries.succeeded();
                    return Ok((answered, chosen.place));
                }
                Err(lost) => lost,
            };
            // A server may close a connection for its age at any moment, and go away in order.
            let is_excused = (reused || refusal.is_some()) && failure == Failure::Closed;
            // One path may end connections, and anybody may ask for it: the last server that is well is left alone only
            // if it cannot be reached.
            let is_last = !failure.is_before_connection() && !upstream.has_another(chosen.server);
            if failure.speaks_against_server() && !is_excused && !is_last {
                chosen.server.note(failure);
                if let Some(call) = call.or_else(|| chosen.server.breaker.admit_if_closed()) {
                    call.failed((self.parts.clock)().saturating_add(self.spread()));
                }
            }
            lost = failure;
            if left == 0 {
                // No retry is taken for a try that there will not be.
                break;
            }
            avoid = Some(Arc::clone(chosen.server));
            // A server that refuses everything is not pressed.
            if refusal.is_some() && is_unsent && !upstream.retries.try_retry() {
                return Err(failure);
            }
            if !is_unsent {
                if failure != Failure::Closed || !may_repeat || !upstream.retries.try_retry() {
                    return Err(failure);
                }
                may_repeat = false;
            }
        }
        Err(lost)
    }

    /// A random time below a quarter of a second: nodes must not all try a server at the same moment.
    fn spread(&self) -> Duration {
        Duration::from_millis((self.parts.random)() % 250)
    }

    /// The answer as the client is to see it.
    fn answer(
        &self,
        answered: Answered,
        place: Place,
        progress: Option<Arc<Progress>>,
        version: Version,
        options: &Options,
    ) -> Result<Response<AnswerBody>, Failure> {
        let Answered { mut parts, source } = answered;
        if let Some(progress) = &progress {
            progress.answered();
        }
        let usable_until =
            (!self.parts.drain.is_cancelled()).then(|| usable_until(&parts.headers, options.now)).flatten();
        hygiene::answer(&mut parts.headers, parts.version, &self.via);
        // hyper's server writes the version that its client speaks; of ours it must know only that it has chunks.
        parts.version = if version == Version::HTTP_2 { version } else { Version::HTTP_11 };
        let idle = options.idle;
        let body = match source {
            Source::Http1(link, length) => {
                let rest = h1::Rest { link, place, progress, idle, usable_until };
                h1::answer(length, rest, &self.parts.tasks)?
            }
            Source::Http2(incoming) => {
                let server = Arc::clone(place.server());
                let answer = Stream::Http2(h2::Answer::new(incoming, idle, progress, place));
                AnswerBody(Answer::Stream(server.stalls.watch(answer, idle)))
            }
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Makes a tunnel of an exchange to which the server has agreed.
    fn tunnel(
        &self,
        answered: Answered,
        wanted: &HeaderValue,
        client: OnUpgrade,
        options: Options,
    ) -> Result<Response<AnswerBody>, Failure> {
        let Answered { mut parts, source: Source::Http1(link, _) } = answered else {
            return Err(Failure::Garbage);
        };
        if !upgrade::is_agreed(&parts.headers, wanted) {
            return Err(Failure::Garbage);
        }
        let place = self.tunnels.enter().ok_or(Failure::Full)?;
        let (server, early) = link.into_stream();
        let stop = self.parts.drain.clone();
        let Options { idle, hold, .. } = options;
        self.parts.tasks.spawn(async move {
            let _held = (place, hold);
            if let Ok(Ok(client)) = tokio::time::timeout(CLIENT_UPGRADE_TIMEOUT, client).await {
                tunnel::carry(TokioIo::new(client), server, early, idle, &stop).await;
            }
        });
        hygiene::answer(&mut parts.headers, parts.version, &self.via);
        upgrade::name(&mut parts.headers, wanted);
        parts.extensions.clear();
        Ok(Response::from_parts(parts, AnswerBody::EMPTY))
    }
}

/// Until when the connection of an answer may be used again, seen from the start of its request: an exchange that took
/// longer says nothing about the connection.
fn usable_until(headers: &HeaderMap, now: Duration) -> Option<Duration> {
    let Some(hint) = headers.get(KEEP_ALIVE) else { return Some(now.saturating_add(pool::IDLE_TIMEOUT)) };
    let mut options = hint.to_str().ok()?.split(',').map(str::trim);
    let Some(seconds) = options.find_map(|option| option.strip_prefix("timeout=")) else {
        return Some(now.saturating_add(pool::IDLE_TIMEOUT));
    };
    let kept = Duration::from_secs(seconds.parse().ok()?).saturating_sub(KEEP_ALIVE_MARGIN);
    (!kept.is_zero()).then(|| now.saturating_add(kept.min(pool::IDLE_TIMEOUT)))
}
