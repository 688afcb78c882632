//! What happens to a request, in order. This file is the whole answer.
//!
//! One fused service on our own accept loop: the steps are called in turn, `GET /api/auth/me` of a session in
//! memory is answered without leaving this file, and everything else goes on to the routes or to the application
//! behind us.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::Guard;
use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use foldhash::quality::RandomState;
use futures_util::FutureExt;
use http::header::{ACCEPT_LANGUAGE, HeaderName, ORIGIN, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use phoenix_auth::model::{TokenHash, UserAgent};
use phoenix_auth::ops::{Authenticated, ClientInfo, Credential, Rejection, Verdict};
use tower::ServiceExt;
use tracing::{Instrument, Level, Span};

use crate::answer::{Answer, AnswerHeaders, Trace};
use crate::body::{Body, full};
use crate::client_ip::{ClientIp, Peer, speaks_for_others};
use crate::cookie::{CookieForm, is_loopback, requested_host};
use crate::cors::{self, Cors, is_preflight};
use crate::credentials::{Carrier, Kept, Presented, sender};
use crate::device;
use crate::extract::{Identity, RequestContext};
use crate::forward_auth::{Asks, Described};
use crate::gateway::path::check_query;
use crate::gateway::{self, Access, ClassOf, CorsRule, Forward, Owner, PathError, Route};
use crate::header_values::{RequestIds, X_REQUEST_ID};
use crate::json;
use crate::limits::{Asked, AtOnce, Gate, Limited, Sender, Told, tell};
use crate::origin;
use crate::problem::{Kind, Problem};
use crate::routes;
use crate::settings::HttpParts;

/// Headers that tell devices apart, besides the address.
const ENVIRONMENT_HEADERS: [HeaderName; 4] = [
    USER_AGENT,
    HeaderName::from_static("sec-ch-ua"),
    HeaderName::from_static("sec-ch-ua-platform"),
    ACCEPT_LANGUAGE,
];

/// Answers requests. Cheap to clone: all state is shared.
#[derive(Clone)]
pub struct Stack {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) parts: HttpParts,
    ids: RequestIds,
    router: Router,
    headers: AnswerHeaders,
    environments: RandomState,
}

impl Stack {
    /// Builds the routes once.
    #[must_use]
    pub fn new(parts: HttpParts) -> Self {
        let shared = Shared {
            ids: RequestIds::new(parts.settings.instance),
            router: routes::router(parts.clone()),
            headers: AnswerHeaders::new(parts.settings.version, parts.settings.hsts.clone()),
            environments: RandomState::default(),
            parts,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether a connection from this address is a configured proxy's: it may speak the PROXY protocol.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.shared.parts.settings.client_address.trusts(peer)
    }

    /// Answers one request: at once if it can, so that the hot path is a plain function call.
    pub fn handle(&self, peer: Peer, mut request: Request<Incoming>) -> Answer {
        // 1. Request id and clock, first: everything after can be told apart and timed. Read once, passed down.
        let shared = &self.shared;
        let trace = Trace { pins_https: peer.is_https() && shared.may_pin(&request), ..shared.trace() };
        // A proxy that asks about a request of its own client: the steps are for that request. By the path as it came,
        // because behind Envoy a part of it is the client's.
        if let Some(asks) = Asks::of(request.uri()) {
            return shared.answer_later(trace, |shared, mut trace| async move {
                let answer = shared.answer_proxy(asks, peer, request, &mut trace).await;
                let answer = shared.finish(answer, &trace);
                let elapsed = shared.parts.clock.mono().saturating_sub(trace.started.mono);
                let level = level(&Method::GET, answer.status(), false);
                log(level, &Method::GET, asks.as_str(), answer.status().as_u16(), elapsed);
                answer
            });
        }
        // 2. Panics end here, outside every other step: one request fails, with its id, and the process goes on.
        match catch_unwind(AssertUnwindSafe(|| shared.first_steps(peer, &mut request, trace))) {
            Ok(FirstSteps::Answered(response)) => Answer::Now(Some(response)),
            Ok(FirstSteps::GoOn(cold)) => shared.answer_later(trace, |shared, trace| async move {
                shared.cold(peer, request, cold, trace).await
            }),
            Err(_panic) => Answer::Now(Some(shared.panicked(&trace))),
        }
    }
}

impl Stack {
    /// Whether a request that another proxy asks about, in a protocol that is not HTTP, may go on to the application: 200
    /// with what the application is to be told of the caller, or the answer that the client is to get instead.
    pub async fn judge(&self, asker: Peer, described: Described<'_>) -> Response<Bytes> {
        let shared = &self.shared;
        let mut trace = shared.trace();
        let id = trace.id;
        let judging = AssertUnwindSafe(shared.judge_described(asker, described, &mut trace)).catch_unwind();
        judging.await.unwrap_or_else(|_panic| {
            tracing::error!(request_id = id.as_str(), "a request panicked");
            Problem::from(Kind::Internal).rendered()
        })
    }

    /// Whether this peer is a proxy that may ask about requests of others.
    #[must_use]
    pub fn speaks_for_others(&self, peer: Peer) -> bool {
        speaks_for_others(&self.shared.parts.settings.client_address, peer)
    }
}

/// What the steps that need no waiting came to.
pub(crate) enum FirstSteps {
    Answered(Response<Body>),
    GoOn(Box<Cold>),
}

/// Who answers a request.
pub(crate) enum Place {
    /// A route of ours, or nobody.
    Ours,
    /// The application behind us.
    App(Arc<Route>),
}

impl Place {
    fn class(&self) -> &ClassOf {
        match self {
            Self::Ours => &ClassOf::ByPath,
            Self::App(route) => &route.class,
        }
    }

    /// Other origins whose pages may use it with cookies.
    fn origins(&self) -> &[String] {
        match self {
            Self::App(route) => route.cors.origins(),
            Self::Ours => &[],
        }
    }

    /// Whether it matters who the caller is. Browsers send preflights without saying so.
    pub(crate) fn asks_who<B>(&self, request: &Request<B>) -> bool {
        match self {
            Self::Ours => true,
            Self::App(route) => {
                let passes =
                    route.cors == CorsRule::Application && is_preflight(request.method(), request.headers());
                route.access != Access::Open && !passes
            }
        }
    }
}

impl Shared {
    fn trace(&self) -> Trace {
        Trace {
            id: self.ids.next(),
            started: self.parts.clock.now(),
            auth_time: Duration::ZERO,
            tier: None,
            pins_https: false,
        }
    }

    /// Answers in a future of its own. Step 2 holds there, too.
    fn answer_later<F>(self: &Arc<Self>, trace: Trace, answer: impl FnOnce(Arc<Self>, Trace) -> F) -> Answer
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let shared = Arc::clone(self);
        // Not an async block, which would have room for the future twice: as captured, and as awaited.
        let answering = AssertUnwindSafe(answer(Arc::clone(self), trace)).catch_unwind();
        let answer = move |answer: Result<_, _>| answer.unwrap_or_else(|_panic| shared.panicked(&trace));
        Answer::Later(Box::pin(answering.map(answer)))
    }

    fn first_steps(&self, peer: Peer, request: &mut Request<Incoming>, trace: Trace) -> FirstSteps {
        // 3. Limits that need no body, the one form of the path that all the rest reads, and whose the request is.
        // Header size and time, and connections, are bounded by the accept loop.
        let steps = self.place(request).and_then(|place| self.steps_from_memory(peer, request, place, trace));
        steps.unwrap_or_else(|problem| {
            let mut response = self.finish(problem.into_response().map(Body::Routed), &trace);
            // Seldom, so the route is looked for again: pages that may read answers may read that they must wait.
            if request.headers().contains_key(ORIGIN)
                && let Ok(place) = self.place(request)
            {
                self.cors(&place, request.headers()).put(response.headers_mut());
            }
            FirstSteps::Answered(response)
        })
    }

    /// Steps 4 to 8 as far as they need no waiting.
    pub(crate) fn steps_from_memory<B>(
        &self,
        peer: Peer,
        request: &Request<B>,
        place: Place,
        mut trace: Trace,
    ) -> Result<FirstSteps, Problem> {
        let settings = &self.parts.settings;
        // 4. The client's address, then its limit where the address alone decides: before anything is done for the
        // request.
        let ip = ClientIp::of_request(&settings.client_address, peer, request.headers());
        let limits = &self.parts.limits;
        let rules = limits.rules().load();
        let asked = Asked { class: place.class(), method: request.method(), path: request.uri().path() };
        let limited = Limited::of(&rules, asked, ip.address());
        let mut decided = match &limited {
            None => AtOnce::Passed(None),
            Some(limited) if limited.by_address_alone() => {
                limits.at_once(limited, Sender::Stranger, trace.started.mono)
            }
            Some(_) => AtOnce::Later,
        };
        if let AtOnce::Refused(problem) = decided {
            return Err(problem);
        }
        // 5. Authentication, from memory if it can be: no I/O, and nothing is built that the answer does not need.
        let form = CookieForm::of_request(settings, peer, request.uri(), request.headers());
        let presented = if place.asks_who(request) {
            Presented::find(request.headers(), form, settings.provider.as_ref())
        } else {
            Presented::None
        };
        let credential = match &presented {
            Presented::Token(text, carrier) => self.credential(text, *carrier).zip(Some(*carrier)),
            Presented::None | Presented::Malformed | Presented::Ambiguous => None,
        };
        let environment = credential.map_or(0, |_| self.environment(ip, request.headers()));
        let known = credential.and_then(|(credential, _)| {
            self.parts.auth.authenticate_from_memory(&credential, environment, trace.started)
        });
        // 6. The limit of the principal, after it is known who that is: users are limited as such wherever they are.
        if let (AtOnce::Later, Some(limited)) = (&decided, &limited) {
            decided =
                limits.at_once(limited, sender(credential.is_some(), known.as_ref()), trace.started.mono);
        }
        let (told, is_decided) = match decided {
            AtOnce::Passed(told) => (told, true),
            AtOnce::Later => (None, false),
            AtOnce::Refused(problem) => return Err(problem),
        };
        let cors = self.cors(&place, request.headers());
        // 7. The hot path: who am I, asked by a session in memory.
        if let Some(Ok(caller)) = &known
            && request.method() == Method::GET
            && request.uri().path() == routes::ME
            && is_decided
        {
            trace.tier = Some(caller.tier);
            return Ok(FirstSteps::Answered(self.me(caller, told, cors, &mut trace)));
        }
        Ok(FirstSteps::GoOn(Box::new(Cold {
            known,
            malformed: presented != Presented::None && credential.is_none(),
            ambiguous: presented == Presented::Ambiguous,
            credential: credential.map(|(credential, carrier)| (Kept::of(credential), carrier)),
            cookie_form: form,
            environment,
            ip,
            gate: Gate::new(Guard::into_inner(rules), ip.address(), told, is_decided),
            cors,
            place,
        })))
    }

    /// Puts the one form of the path in the place of what was sent.
    pub(crate) fn normalise<B>(&self, request: &mut Request<B>) -> Result<(), Problem> {
        if request.uri().path_and_query().map_or(0, |p| p.as_str().len()) > self.parts.settings.max_uri_bytes
        {
            return Err(Kind::UriTooLong.into());
        }
        let malformed = |error: PathError| {
            Problem::new(Kind::MalformedPath).detail(format!("The path is refused: {error}."))
        };
        match gateway::normalise(request.uri().path()).map_err(malformed)? {
            Cow::Borrowed(_) => {}
            Cow::Owned(path) => {
                let uri = gateway::with_path(request.uri(), &path).ok_or(Kind::MalformedPath)?;
                *request.uri_mut() = uri;
            }
        }
        check_query(request.uri().query().unwrap_or_default()).map_err(malformed)
    }

    /// Whose a request is, by its path in the one form.
    fn place(&self, request: &mut Request<Incoming>) -> Result<Place, Problem> {
        self.normalise(request)?;
        let path = request.uri().path();
        if self.parts.upstreams.is_none() || path == routes::ME {
            return Ok(Place::Ours);
        }
        Ok(self.route(request)?.map_or(Place::Ours, Place::App))
    }

    /// The application's route that a request belongs to; `None` when Phoenix answers it.
    pub(crate) fn route<B>(&self, request: &Request<B>) -> Result<Option<Arc<Route>>, Problem> {
        let path = request.uri().path();
        let ambiguous = || {
            Problem::new(Kind::AmbiguousPath)
                .detail("Applications may take this path for another one, to which other rules apply.")
        };
        let table = self.parts.routes.load();
        match table.owner(path) {
            Owner::Phoenix => return Ok(None),
            Owner::Unclear => return Err(ambiguous()),
            Owner::Application => {}
        }
        let host = requested_host(request.uri(), request.headers());
        let found = table.find(host, request.method(), path).map_err(|_| ambiguous())?;
        Ok(Some(Arc::clone(found)))
    }

    /// What the answer tells pages of other origins.
    fn cors(&self, place: &Place, headers: &HeaderMap) -> Cors {
        match place {
            Place::Ours => {
                Cors::of(headers, self.parts.settings.allowed_origins.iter().map(|origin| origin.0.as_str()))
            }
            Place::App(route) => Cors::of(headers, route.cors.origins().iter().map(String::as_str)),
        }
    }

    /// A token of ours, or one of an identity provider whose tokens are accepted. Ours counts only where we put it:
    /// a neighbouring site can set the provider's cookies, and so would sign its visitors in as somebody else.
    fn credential<'a>(&self, text: &'a str, carrier: Carrier) -> Option<Credential<'a>> {
        let auth = &self.parts.auth;
        if carrier.is_ours()
            && let Some(hash) = TokenHash::of_presented(text, auth.keys())
        {
            return Some(Credential::Own(hash));
        }
        auth.takes_external(text)
            .then(|| Credential::External { hash: TokenHash::of_external_token(text, auth.keys()), text })
    }

    /// A hash of what tells devices and places apart, with a key of this process, so that nobody can look for two
    /// that collide. Never zero.
    fn environment(&self, ip: ClientIp, headers: &HeaderMap) -> u64 {
        let mut state = self.environments.build_hasher();
        ip.address().hash(&mut state);
        for name in &ENVIRONMENT_HEADERS {
            headers.get(name).map(HeaderValue::as_bytes).hash(&mut state);
        }
        state.finish() | 1
    }

    fn panicked(&self, trace: &Trace) -> Response<Body> {
        tracing::error!(request_id = trace.id.as_str(), "a request panicked");
        self.finish(Problem::from(Kind::Internal).into_response().map(Body::Routed), trace)
    }

    fn me(
        &self,
        caller: &Authenticated,
        told: Option<Told>,
        cors: Cors,
        trace: &mut Trace,
    ) -> Response<Body> {
        let body = json::me(&caller.active, self.parts.auth.policy().sessions.of(&caller.active.user.role));
        let mut response = Response::new(full(body));
        let now = self.parts.clock.mono();
        trace.auth_time = now.saturating_sub(trace.started.mono);
        let status = self.parts.introspection.system_status();
        *response.headers_mut() = self.headers.of_me(told, trace, now, status);
        cors.put(response.headers_mut());
        response
    }

    /// Whether browsers may be told to use HTTPS for this name only: one's own machine has other servers, too.
    fn may_pin(&self, request: &Request<Incoming>) -> bool {
        self.parts.settings.hsts.is_some()
            && requested_host(request.uri(), request.headers()).is_some_and(|host| !is_loopback(host))
    }

    async fn cold(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        mut cold: Box<Cold>,
        mut trace: Trace,
    ) -> Response<Body> {
        // A span is made for what may log on the way: not for what the application is asked at once.
        let is_plain = matches!(cold.place, Place::App(_)) && cold.is_known();
        let mut span = if is_plain { Span::none() } else { span(&trace) };
        let method = request.method().clone();
        let cors = std::mem::take(&mut cold.cors);
        let route = match &cold.place {
            Place::Ours => None,
            Place::App(route) => Some(Arc::clone(route)),
        };
        let (mut response, name) = match &route {
            None => {
                let path = routes::template(request.uri().path());
                // Boxed, so that requests to applications have no room for what only our routes need.
                let answer = Box::pin(self.ours(peer, request, cold, path, &cors, &mut trace));
                let response = answer.instrument(span.clone()).await.map(Body::Routed);
                (self.finish(response, &trace), path.as_str())
            }
            Some(route) => {
                let answer = self.app(peer, request, cold, route, &cors, &mut trace);
                (answer.instrument(span.clone()).await, &*route.name)
            }
        };
        cors.put(response.headers_mut());
        let is_forwarded = matches!(response.body(), Body::Forwarded(_));
        let level = level(&method, response.status(), is_forwarded);
        if level <= Level::INFO || tracing::enabled!(Level::DEBUG) {
            if span.is_none() {
                span = self::span(&trace);
            }
            let elapsed = self.parts.clock.mono().saturating_sub(trace.started.mono);
            let _entered = span.enter();
            log(level, &method, name, response.status().as_u16(), elapsed);
        }
        response
    }

    /// A request to Phoenix itself.
    async fn ours(
        &self,
        peer: Peer,
        mut request: Request<Incoming>,
        mut cold: Box<Cold>,
        path: routes::Template,
        cors: &Cors,
        trace: &mut Trace,
    ) -> axum::response::Response {
        let method = request.method();
        if is_preflight(method, request.headers())
            && let Some(answer) = cors.preflight(request.headers())
        {
            return answer;
        }
        let steps = Steps {
            route: Some(path),
            uses_sessions: path.uses_sessions(),
            same_origin: !method.is_safe(),
            is_strict: true,
        };
        let identity = match self.judge(&request, &mut cold, steps, trace).await {
            Ok(identity) => identity,
            Err(problem) => return self.settled(cold.gate, problem.into_response()).await,
        };
        // 10. Trust: identity headers from outside are removed, before a route reads them. The client's address was
        // decided in step 4.
        gateway::strip(request.headers_mut());
        let Cold { cookie_form, environment, ip, gate, .. } = *cold;
        let client = self.client_info(ip, request.headers(), environment);
        let mark = path.opens_sessions().then(|| cookie_form.find_device(request.headers())).flatten();
        let device_mark = mark.map(str::to_owned);
        let context = RequestContext { client, cookie_form, client_ip: ip, peer, device_mark };
        request.extensions_mut().insert(identity);
        request.extensions_mut().insert(context);
        // 11. The route, under the deadline of the whole request.
        let routed = self.router.clone().oneshot(request);
        let response = match tokio::time::timeout(self.parts.settings.request_timeout, routed).await {
            Ok(Ok(response)) => response,
            Err(_elapsed) => Problem::busy().into_response(),
        };
        self.settled(gate, response).await
    }

    /// A request to the application behind us.
    async fn app(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        mut cold: Box<Cold>,
        route: &Route,
        cors: &Cors,
        trace: &mut Trace,
    ) -> Response<Body> {
        if route.cors != CorsRule::Application && is_preflight(request.method(), request.headers()) {
            let answer = cors.preflight(request.headers());
            return self.finish(
                answer.unwrap_or_else(|| Problem::from(Kind::CrossOrigin).into_response()).map(Body::Routed),
                trace,
            );
        }
        let caller = match self.judge_for_app(&request, &mut cold, route, trace).await {
            Ok(caller) => caller,
            Err(problem) => {
                let response = self.settled(cold.gate, problem.into_response()).await;
                return self.finish(response.map(Body::Routed), trace);
            }
        };
        let Cold { ip, gate, .. } = *cold;
        let answer = self.forward(peer, request, ip, route, caller.as_ref(), trace).await;
        let mut response = match answer {
            Ok(mut response) => {
                let now = self.parts.clock.mono();
                let status = self.parts.introspection.system_status();
                self.headers.put_on_forwarded(response.headers_mut(), trace, now, status);
                response
            }
            Err(response) => self.finish(response, trace),
        };
        // 12. What was reserved is counted or taken back, as for routes of ours.
        tell(gate.settle(response.status(), true).await, &mut response);
        response
    }

    /// Steps 4 to 9 of a request to the application as far as they could not be done at once, and what its route asks of
    /// callers: whether it may go on, and whom the application is told about.
    pub(crate) async fn judge_for_app<B>(
        &self,
        request: &Request<B>,
        cold: &mut Cold,
        route: &Route,
        trace: &mut Trace,
    ) -> Result<Option<Authenticated>, Problem> {
        let asks_who = cold.place.asks_who(request);
        let steps = Steps {
            route: None,
            uses_sessions: asks_who,
            // An upgrade goes past what browsers ask before they let a page read.
            same_origin: route.same_origin
                && (!request.method().is_safe() || request.headers().contains_key(UPGRADE)),
            is_strict: asks_who && matches!(route.access, Access::Required(_)),
        };
        let identity = self.judge(request, cold, steps, trace).await?;
        if asks_who { route.access.admit(identity) } else { Ok(None) }
    }

    /// Steps 4 to 9 as far as they could not be done at once: whether the request may go on, and who sent it.
    async fn judge<B>(
        &self,
        request: &Request<B>,
        cold: &mut Cold,
        steps: Steps,
        trace: &mut Trace,
    ) -> Result<Identity, Problem> {
        let limits = &self.parts.limits;
        let Cold { gate, place, .. } = cold;
        let asked = Asked { class: place.class(), method: request.method(), path: request.uri().path() };
        // 4 and 6 continued: what could not be decided at once. The routes that look at a password count for
        // themselves, because only they know whose.
        gate.before_authentication(
            limits,
            asked,
            steps.route.is_some_and(routes::Template::looks_at_passwords),
        )
        .await?;
        // 5 continued: what memory did not know is asked of Redis and the database, if a route uses sessions or a limit
        // counts by user: else a user would be counted by user or by address as memory has it.
        let mut identity = if !steps.uses_sessions && !gate.asks_who() {
            Identity::Anonymous
        } else if cold.malformed {
            Identity::Rejected(Rejection::Malformed)
        } else {
            let credential = cold.credential.take();
            let client = || self.client_info(cold.ip, request.headers(), cold.environment);
            self.identify(credential, cold.known.take(), client, gate, trace).await?
        };
        // 6 continued.
        gate.after_authentication(limits, asked, identity.user()).await?;
        if !steps.uses_sessions {
            identity = Identity::Anonymous;
        }
        if cold.ambiguous && steps.is_strict {
            return Err(Kind::AmbiguousCredentials.into());
        }
        // 9. Same origin, after authentication, because it protects cookie sessions only.
        if steps.same_origin {
            let opens_sessions = steps.route.is_some_and(routes::Template::opens_sessions);
            origin::check(&self.parts.settings, place.origins(), request, opens_sessions, &mut identity)?;
        }
        Ok(identity)
    }

    /// 10. Trust, and 11. the application, under the deadline of its route. An `Err` is an answer of ours.
    async fn forward(
        &self,
        peer: Peer,
        mut request: Request<Incoming>,
        ip: ClientIp,
        route: &Route,
        caller: Option<&Authenticated>,
        trace: &Trace,
    ) -> Result<Response<Body>, Response<Body>> {
        let ours = |kind: Kind| Problem::from(kind).into_response().map(Body::Routed);
        let Some((upstreams, upstream)) = self.parts.upstreams.as_ref().zip(route.upstream) else {
            return Err(ours(Kind::NotFound));
        };
        if upstreams.is_loop(request.headers()) {
            return Err(ours(Kind::LoopDetected));
        }
        let is_https = self.is_https(peer, request.headers());
        let version = request.version();
        let headers = request.headers_mut();
        gateway::strip(headers);
        if !route.keep_credentials {
            gateway::hide_credentials(headers);
        }
        if let Ok(id) = HeaderValue::from_str(trace.id.as_str()) {
            headers.insert(X_REQUEST_ID, id);
        }
        route.request_headers.apply(headers);
        if let Some(caller) = caller {
            headers.extend(self.told(caller, route, trace));
        }
        let forward = Forward {
            upstream,
            client: ip.address(),
            is_https,
            keep_host: route.keep_host,
            max_body: route.max_body,
            deadline: route.deadline,
            idle: route.idle,
        };
        match upstreams.forward(request, forward).await {
            Ok(answer) => {
                let mut response = answer.map(Body::Forwarded);
                if route.cors != CorsRule::Application {
                    cors::remove(response.headers_mut());
                }
                route.response_headers.apply(response.headers_mut());
                Ok(response)
            }
            Err(failure) => {
                let (request_id, route) = (trace.id.as_str(), &*route.name);
                tracing::warn!(request_id, route, ?failure, "the application gave no answer");
                Err(gateway::failure_answer(failure, version))
            }
        }
    }

    pub(crate) fn told(
        &self,
        caller: &Authenticated,
        route: &Route,
        trace: &Trace,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let now = UNIX_EPOCH + trace.started.wall.since(phoenix_auth::model::Timestamp::default());
        gateway::told(&caller.active, self.parts.assertions.as_deref(), &route.audience, now)
    }

    /// Whether the client came over https, as far as Phoenix knows.
    fn is_https(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let settings = &self.parts.settings;
        peer.is_https()
            || settings.client_address.says_https(peer, headers)
            || self
                .parts
                .settings
                .public_origin
                .as_ref()
                .is_some_and(|origin| origin.0.starts_with("https://"))
    }

    /// 12. What was reserved is counted or taken back, now that the outcome is known, and the answer tells of the limit.
    async fn settled(&self, gate: Gate, mut response: axum::response::Response) -> axum::response::Response {
        let is_routed = response.extensions().get::<routes::NoRoute>().is_none();
        tell(gate.settle(response.status(), is_routed).await, &mut response);
        response
    }

    async fn identify(
        &self,
        credential: Option<(Kept, Carrier)>,
        known: Option<Verdict>,
        client: impl FnOnce() -> ClientInfo,
        gate: &Gate,
        trace: &mut Trace,
    ) -> Result<Identity, Problem> {
        let Some((credential, carrier)) = credential else { return Ok(Identity::Anonymous) };
        let verdict = if let Some(verdict) = known {
            Ok(verdict)
        } else {
            let started = trace.started;
            // Boxed: most callers are known to memory, and their requests need no room for this.
            let asked = Box::pin(async {
                // A credential may be made up. Whoever makes up many is refused before anybody is asked.
                let look_up = gate.reserve_look_up(&self.parts.limits).await?;
                let verdict = self.parts.auth.authenticate(&credential.borrow(), &client(), started).await;
                let in_vain = matches!(verdict, Ok(Err(Rejection::Unknown | Rejection::Malformed)));
                look_up.settle(in_vain).await;
                Ok::<_, Problem>(verdict)
            });
            asked.await?
        };
        trace.auth_time = self.parts.clock.mono().saturating_sub(trace.started.mono);
        let identity = match verdict? {
            Ok(caller) => Identity::Known(caller, carrier),
            Err(rejection) => Identity::Rejected(rejection),
        };
        trace.tier = identity.tier();
        Ok(identity)
    }

    fn client_info(&self, ip: ClientIp, headers: &HeaderMap, environment: u64) -> ClientInfo {
        let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        ClientInfo {
            ip: Some(ip.address()),
            user_agent: UserAgent::new(agent.as_deref().unwrap_or_default()),
            fingerprint: Some(device::fingerprint(headers, self.parts.auth.keys())),
            environment,
        }
    }

    /// 13. The headers of every answer of ours.
    fn finish(&self, mut response: Response<Body>, trace: &Trace) -> Response<Body> {
        let now = self.parts.clock.mono();
        self.headers.put(response.headers_mut(), trace, now, self.parts.introspection.system_status());
        response
    }
}

/// Which of the steps that may wait a request goes through, and how.
#[derive(Clone, Copy)]
struct Steps {
    /// The route of ours, if it is one.
    route: Option<routes::Template>,
    uses_sessions: bool,
    same_origin: bool,
    /// Refuses two credentials of one kind; else they are as good as none.
    is_strict: bool,
}

/// What the first steps found out, for the steps that only some requests need.
pub(crate) struct Cold {
    credential: Option<(Kept, Carrier)>,
    known: Option<Verdict>,
    malformed: bool,
    ambiguous: bool,
    cookie_form: CookieForm,
    environment: u64,
    ip: ClientIp,
    pub(crate) gate: Gate,
    cors: Cors,
    place: Place,
}

impl Cold {
    /// Whether nothing is left to be asked of Redis or the database.
    fn is_known(&self) -> bool {
        !self.gate.asks_who() && (self.credential.is_none() || self.known.is_some())
    }
}

/// What is logged about a request carries its id.
fn span(trace: &Trace) -> Span {
    tracing::info_span!("request", id = trace.id.as_str())
}

/// Routine reads at debug, changes at info, our own failures at error, an application's at warn.
fn level(method: &Method, status: StatusCode, is_forwarded: bool) -> Level {
    let is_the_applications =
        is_forwarded || matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
    match (status.is_server_error(), method.is_safe()) {
        (true, _) if is_the_applications => Level::WARN,
        (true, _) => Level::ERROR,
        (false, true) => Level::DEBUG,
        (false, false) => Level::INFO,
    }
}

/// One line a request.
fn log(level: Level, method: &Method, route: &str, status: u16, elapsed: Duration) {
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    match level {
        Level::ERROR => tracing::error!(%method, route, status, elapsed_us, "request"),
        Level::WARN => tracing::warn!(%method, route, status, elapsed_us, "request"),
        Level::INFO => tracing::info!(%method, route, status, elapsed_us, "request"),
        _ => tracing::debug!(%method, route, status, elapsed_us, "request"),
    }
}
