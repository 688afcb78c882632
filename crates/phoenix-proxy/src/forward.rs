//! One request on its way: prepared, sent to a server, tried again where that is safe, its answer prepared.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::{Answer, AnswerBody, HeadWait, Progress, RequestBody};
use crate::config::{ConfigError, Origin, Parts, UpstreamConfig};
use crate::failure::Failure;
use crate::hygiene::{self, Via, Way};
use crate::server::{Answered, Lost, Place, Sending, Server, ServerReport};
use crate::tunnel::{self, Tunnels};
use crate::upstream::Upstream;
use crate::{body, h1, h2, pool, upgrade};

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
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client used https.
    pub is_https: bool,
    /// Largest body in bytes.
    pub max_body: u64,
    /// The head of the answer must be there this long after the last byte of the request was passed on.
    pub deadline: Duration,
    /// Longest pause within the request, the answer, or a tunnel; it may last a quarter longer.
    pub idle: Duration,
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

/// What is needed to send a request without a body again.
struct Replay {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
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
        body::emptied(request.body_mut(), options.idle).await?;
        let (request, progress) = inner.prepare(request, wanted.as_ref(), &options)?;
        let (answered, place) =
            inner.ask(upstream, request, progress.clone(), wanted.is_some(), &options).await?;
        let status = answered.answer.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(wanted), Some(client)) = (wanted, client) else {
                return Err(Failure::Garbage);
            };
            return Box::pin(inner.tunnel(answered, &wanted, client, options)).await;
        }
        inner.answer(answered, place, progress, version, &options).await
    }
}

impl Inner {
    /// The request as the application is to see it, in origin form.
    fn prepare(
        &self,
        request: Request<Incoming>,
        wanted: Option<&HeaderValue>,
        options: &Options,
    ) -> Result<(Request<RequestBody>, Option<Arc<Progress>>), Failure> {
        let (parts, incoming) = request.into_parts();
        let (body, progress) = RequestBody::new(incoming, options.max_body)?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method;
        *request.headers_mut() = parts.headers;
        if let Some(authority) = parts.uri.authority()
            && !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(HOST, host);
        }
        *request.uri_mut() = origin_form(parts.uri);
        let way = Way { client: options.client, is_https: options.is_https, via: &self.via };
        hygiene::request(request.headers_mut(), parts.version, way);
        if let Some(wanted) = wanted {
            upgrade::name(request.headers_mut(), wanted);
        }
        Ok((request, progress))
    }

    /// Asks servers until one answers.
    async fn ask(
        &self,
        upstream: &Upstream,
        mut request: Request<RequestBody>,
        progress: Option<Arc<Progress>>,
        for_upgrade: bool,
        options: &Options,
    ) -> Result<(Answered, Place), Failure> {
        let Options { keep_host, now, .. } = *options;
        let is_closing = self.parts.drain.is_cancelled();
        let sending = Sending { now, for_upgrade, keep_host, is_closing, tasks: &self.parts.tasks };
        let mut replay = Replay::of(&request, for_upgrade);
        let mut avoid: Option<Arc<Server>> = None;
        let mut lost = Failure::NoneUp;
        for _ in 0..TRIES {
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
            let mut wait = HeadWait::new(progress.clone(), options.deadline, options.idle);
            let (failure, unsent, reused) = match chosen.server.send(request, &sending, &mut wait).await {
                Ok(answered) => {
                    chosen.call.succeeded();
                    upstream.retries.succeeded();
                    return Ok((answered, chosen.place));
                }
                Err(Lost { failure, unsent, reused }) => (failure, unsent, reused),
            };
            // A server may close a connection for its age at any moment.
            let is_aged = reused && failure == Failure::Closed;
            // One path may end connections, and anybody may ask for it: a server that is alone is left alone only if it
            // cannot be reached.
            let is_alone = upstream.servers.len() == 1 && !failure.is_before_connection();
            if failure.speaks_against_server() && !is_aged && !is_alone {
                chosen.server.note(failure);
                chosen.call.failed((self.parts.clock)().saturating_add(self.spread()));
            }
            lost = failure;
            avoid = Some(Arc::clone(chosen.server));
            request = match unsent {
                Some(unsent) => *unsent,
                None if failure == Failure::Closed && replay.is_some() && upstream.retries.try_retry() => {
                    replay.take().ok_or(failure)?.into_request()
                }
                None => return Err(failure),
            };
        }
        Err(lost)
    }

    /// A random time below a quarter of a second: nodes must not all try a server at the same moment.
    fn spread(&self) -> Duration {
        Duration::from_millis((self.parts.random)() % 250)
    }

    /// The answer as the client is to see it.
    async fn answer(
        &self,
        answered: Answered,
        place: Place,
        progress: Option<Arc<Progress>>,
        version: Version,
        options: &Options,
    ) -> Result<Response<AnswerBody>, Failure> {
        let (mut parts, incoming) = answered.answer.into_parts();
        let is_odd = is_odd(&parts.headers)?;
        let usable_until = (!is_odd && !self.parts.drain.is_cancelled())
            .then(|| usable_until(&parts.headers, options.now))
            .flatten();
        hygiene::answer(&mut parts.headers, parts.version, &self.via);
        // hyper's server writes the version that its client speaks; of ours it must know only that it has chunks.
        parts.version = if version == Version::HTTP_2 { version } else { Version::HTTP_11 };
        let idle = options.idle;
        let body = match answered.link {
            Some(link) => {
                let rest = h1::Rest { link, place, progress, idle, usable_until };
                h1::answer(incoming, rest, &self.parts.tasks).await?
            }
            None => AnswerBody(Answer::Http2(Box::new(h2::Answer::new(incoming, idle, progress, place)))),
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Makes a tunnel of an exchange to which the server has agreed.
    async fn tunnel(
        &self,
        answered: Answered,
        wanted: &HeaderValue,
        client: OnUpgrade,
        options: Options,
    ) -> Result<Response<AnswerBody>, Failure> {
        let (mut parts, _) = answered.answer.into_parts();
        if !upgrade::is_agreed(&parts.headers, wanted) {
            return Err(Failure::Garbage);
        }
        let place = self.tunnels.enter().ok_or(Failure::Full)?;
        let (server, early) = answered.link.ok_or(Failure::Garbage)?.into_stream().await?;
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

impl Replay {
    /// What is needed to send the request again, if that is safe though the server may have acted on it: safe methods
    /// (RFC 9110 section 9.2.1) without a body.
    fn of(request: &Request<RequestBody>, for_upgrade: bool) -> Option<Self> {
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_empty = matches!(request.body(), RequestBody::Empty);
        (is_safe && is_empty && !for_upgrade).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// The target without scheme and host (RFC 9112 section 3.2.1).
fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() && uri.scheme().is_none() {
        return uri;
    }
    let path = uri.into_parts().path_and_query.filter(|path| !path.as_str().is_empty());
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// The form of a request for HTTP/1.1. Undoes [`address_http2`].
pub(crate) fn address_http1(request: &mut Request<RequestBody>, origin: &Origin, keep_host: bool) {
    let host = host(request, origin, keep_host);
    let uri = std::mem::take(request.uri_mut());
    *request.uri_mut() = origin_form(uri);
    *request.version_mut() = Version::HTTP_11;
    let has_length = request.headers().contains_key(CONTENT_LENGTH);
    let is_chunked = matches!(request.body(), RequestBody::Upload(_)) && !has_length;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    if headers.contains_key(TE) {
        // RFC 9110 section 10.1.4. An upgrade has no trailers.
        headers.entry(CONNECTION).or_insert(HeaderValue::from_static("TE"));
    }
    if is_chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The form of a request for HTTP/2: host and scheme stand in the target, and frames have their own lengths.
pub(crate) fn address_http2(request: &mut Request<RequestBody>, origin: &Origin, keep_host: bool) {
    let host = host(request, origin, keep_host);
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().remove(CONNECTION);
    *request.version_mut() = Version::HTTP_2;
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if origin.server.https { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The host that a server is asked for.
fn host(request: &Request<RequestBody>, origin: &Origin, keep_host: bool) -> HeaderValue {
    let kept = || {
        let named = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        request.headers().get(HOST).cloned().or(named)
    };
    keep_host.then(kept).flatten().unwrap_or_else(|| origin.authority.clone())
}

/// Whether an answer has two lengths, so that its connection is not used again (RFC 9112 section 6.3). What hyper would
/// read until the end of the connection though it has another coding is garbage to us.
fn is_odd(headers: &HeaderMap) -> Result<bool, Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Failure::Garbage);
    }
    Ok(headers.contains_key(CONTENT_LENGTH))
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
