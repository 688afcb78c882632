//! What happens to a request, in order. This file is the whole answer.
//!
//! One fused service on our own accept loop: the steps are called in turn, `GET /api/auth/me` of a session in
//! memory is answered without leaving this file, and everything else goes on to the routes or to the application
//! behind us.

use std::borrow::Cow;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::Guard;
use axum::Router;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ORIGIN, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Version};
use hyper::body::{Body as HttpBody, Incoming};
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
use crate::gateway::{
    self, Forward, ForwardFailure, Forwarded, Forwarding, Names, Owner, PathError, Route, Telling,
};
use crate::header_values::{RequestIds, X_REQUEST_ID};
use crate::json;
use crate::limits::{Asked, AtOnce, Gate, Limited, Sender, Told, tell};
use crate::origin;
use crate::problem::{Kind, Overload, Problem};
use crate::request_log::{self, span};
use crate::routes;
use crate::settings::HttpParts;
use crate::steps::{Cold, Environments, FirstSteps, Place, Steps, preflight_of_app};

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
    tellings: gateway::Tellings,
    environments: Environments,
}

impl Stack {
    /// Builds the routes once.
    #[must_use]
    pub fn new(parts: HttpParts) -> Self {
        let shared = Shared {
            ids: RequestIds::new(parts.settings.instance),
            router: routes::router(parts.clone()),
            headers: AnswerHeaders::new(parts.settings.version, parts.settings.hsts.clone()),
            tellings: gateway::Tellings::default(),
            environments: Environments::default(),
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
    pub fn handle(&self, peer: Peer, request: Request<Incoming>) -> Answer {
        // 1. Request id and clock, first: everything after can be told apart and timed. Read once, passed down.
        let shared = &self.shared;
        let trace = Trace { pins_https: peer.is_https() && shared.may_pin(&request), ..shared.trace() };
        // A proxy that asks about a request of its own client: the steps are for that request. By the path as it came,
        // because behind Envoy a part of it is the client's.
        if let Some(asks) = Asks::of(request.uri()) {
            return shared.answer_later(trace, |shared, mut trace| async move {
                let answer = shared.answer_proxy(asks, peer, request, &mut trace).await;
                let answer = shared.finish(answer, &trace);
                shared.log(&Method::GET, asks.as_str(), &answer, &trace, Some(Span::none()));
                answer
            });
        }
        // 2. Panics end here, outside every other step: one request fails, with its id, and the process goes on.
        let answer = catch_unwind(AssertUnwindSafe(|| shared.first_steps(peer, request, trace)));
        answer.unwrap_or_else(|_panic| Answer::Now(Some(shared.panicked(&trace))))
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

    /// Whether there are applications behind, whose answers may be large.
    #[must_use]
    pub fn has_applications(&self) -> bool {
        self.shared.parts.upstreams.is_some()
    }

    /// Whether this peer is a proxy that may ask about requests of others.
    #[must_use]
    pub fn speaks_for_others(&self, peer: Peer) -> bool {
        speaks_for_others(&self.shared.parts.settings.client_address, peer)
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

    fn first_steps(self: &Arc<Self>, peer: Peer, mut request: Request<Incoming>, trace: Trace) -> Answer {
        // 3. Limits that need no body, the one form of the path that all the rest reads, and whose the request is.
        // Header size and time, and connections, are bounded by the accept loop.
        let place = self.place(&mut request);
        match place.and_then(|place| self.steps_from_memory(peer, &request, place, trace)) {
            Ok(FirstSteps::Answered(response)) => Answer::Now(Some(response)),
            Ok(FirstSteps::GoOn(cold)) => match &cold.place {
                Place::App(route) if cold.is_known() => {
                    let route = Arc::clone(route);
                    self.ask_at_once(peer, request, route, cold, trace)
                }
                Place::App(_) | Place::Ours => self.answer_later(trace, |shared, trace| async move {
                    shared.cold(peer, request, cold, trace).await
                }),
            },
            Err(problem) => {
                let is_malformed = problem.kind() == Kind::MalformedRequest;
                let mut response = self.finish(problem.into_response().map(Body::Routed), &trace);
                if is_malformed {
                    gateway::end_connection(&mut response, request.version());
                }
                // Seldom, so the route is looked for again: pages that may read answers may read that they must wait.
                if request.headers().contains_key(ORIGIN)
                    && let Ok(place) = self.place(&mut request)
                {
                    self.cors(&place, request.headers()).put(response.headers_mut());
                }
                Answer::Now(Some(response))
            }
        }
    }

    /// Steps 4 to 8 as far as they need no waiting.
    pub(crate) fn steps_from_memory<B: HttpBody>(
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
        let asks_who = place.asks_who(request);
        let form = if asks_who {
            CookieForm::of_request(settings, peer, request.uri(), request.headers())
        } else {
            CookieForm::HostPrefixed
        };
        let presented = if asks_who {
            Presented::find(request.headers(), form, settings.provider.as_ref())
        } else {
            Presented::None
        };
        let credential = match &presented {
            Presented::Token(text, carrier) => self.credential(text, *carrier).zip(Some(*carrier)),
            Presented::None | Presented::Malformed | Presented::Ambiguous => None,
        };
        let environment = credential.map_or(0, |_| self.environments.of(ip, request.headers()));
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
        // "http://host?query" has no path, and reads here as if it had one.
        let has_path = request.uri().path_and_query().is_some_and(|target| target.as_str().starts_with('/'));
        match gateway::normalise(request.uri().path()).map_err(malformed)? {
            Cow::Borrowed(_) if has_path => {}
            path => {
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
        let host = gateway::asked_for(request)?;
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

    /// What must wait for more than an application.
    async fn cold(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        mut cold: Box<Cold>,
        mut trace: Trace,
    ) -> Response<Body> {
        // What is logged on the way carries the request's id.
        let span = span(&trace);
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
        self.log(&method, name, &response, &trace, Some(span));
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

    /// A request to the application behind us, of which more is to be found out.
    async fn app(
        &self,
        peer: Peer,
        request: Request<Incoming>,
        mut cold: Box<Cold>,
        route: &Route,
        cors: &Cors,
        trace: &mut Trace,
    ) -> Response<Body> {
        if let Some(answer) = preflight_of_app(&request, route, cors) {
            return self.finish(answer, trace);
        }
        let version = request.version();
        let judged = self.judge_for_app(&request, &mut cold, route, trace).await;
        let asked = judged.and_then(|caller| self.ask(peer, request, cold.ip, route, caller.as_ref(), trace));
        let mut response = match asked {
            Ok(answer) => self.answered(answer.await, route, version, trace),
            Err(problem) => self.finish(problem.into_response().map(Body::Routed), trace),
        };
        // 12. What was reserved is counted or taken back, as for routes of ours.
        tell(cold.gate.settle(response.status(), true).await, &mut response);
        response
    }

    /// A request to the application of which nothing is left to be found out: no future is made but the application's.
    fn ask_at_once(
        self: &Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
        route: Arc<Route>,
        mut cold: Box<Cold>,
        mut trace: Trace,
    ) -> Answer {
        let (method, version) = (request.method().clone(), request.version());
        let preflight = preflight_of_app(&request, &route, &cold.cors);
        let asked = if let Some(answer) = preflight {
            cold.gate.take_told();
            Err(answer)
        } else {
            let steps = Steps::of_app(&request, &cold.place, &route);
            let judged = self.judge_known(&request, &mut cold, steps, &mut trace);
            let caller = judged.and_then(|identity| steps.admit(&route, identity));
            let asked =
                caller.and_then(|caller| self.ask(peer, request, cold.ip, &route, caller.as_ref(), &trace));
            asked.map_err(|problem| problem.into_response().map(Body::Routed))
        };
        let mut asking = AskedApp { shared: Arc::clone(self), route, cold, method, version, trace };
        match asked {
            Ok(answer) => Answer::Asked(answer, asking),
            Err(answer) => Answer::Now(Some(asking.conclude(self.finish(answer, &trace)))),
        }
    }

    /// Steps 4 to 9 of a request to the application as far as they could not be done at once, and what its route asks of
    /// callers: whether it may go on, and whom the application is told about.
    pub(crate) async fn judge_for_app<B: HttpBody>(
        &self,
        request: &Request<B>,
        cold: &mut Cold,
        route: &Route,
        trace: &mut Trace,
    ) -> Result<Option<Authenticated>, Problem> {
        let steps = Steps::of_app(request, &cold.place, route);
        let identity = self.judge(request, cold, steps, trace).await?;
        steps.admit(route, identity)
    }

    /// Steps 4 to 9 as far as they could not be done at once: whether the request may go on, and who sent it.
    async fn judge<B>(
        &self,
        request: &Request<B>,
        cold: &mut Cold,
        steps: Steps,
        trace: &mut Trace,
    ) -> Result<Identity, Problem> {
        if cold.is_known() {
            return self.judge_known(request, cold, steps, trace);
        }
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
        let identity = if !steps.uses_sessions && !gate.asks_who() {
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
        let identity = if steps.uses_sessions { identity } else { Identity::Anonymous };
        self.judge_identity(request, cold, steps, identity)
    }

    /// The same where nothing is left to be asked of Redis or the database.
    fn judge_known<B>(
        &self,
        request: &Request<B>,
        cold: &mut Cold,
        steps: Steps,
        trace: &mut Trace,
    ) -> Result<Identity, Problem> {
        let identity = if !steps.uses_sessions {
            Identity::Anonymous
        } else if cold.malformed {
            Identity::Rejected(Rejection::Malformed)
        } else {
            let known = cold.known.take().zip(cold.credential.take());
            known
                .map_or(Identity::Anonymous, |(verdict, (_, carrier))| self.identity(verdict, carrier, trace))
        };
        self.judge_identity(request, cold, steps, identity)
    }

    fn judge_identity<B>(
        &self,
        request: &Request<B>,
        cold: &Cold,
        steps: Steps,
        mut identity: Identity,
    ) -> Result<Identity, Problem> {
        if cold.ambiguous && steps.is_strict {
            return Err(Kind::AmbiguousCredentials.into());
        }
        // 9. Same origin, after authentication, because it protects cookie sessions only.
        if steps.same_origin {
            let opens_sessions = steps.route.is_some_and(routes::Template::opens_sessions);
            origin::check(
                &self.parts.settings,
                cold.place.origins(),
                request,
                opens_sessions,
                &mut identity,
            )?;
        }
        Ok(identity)
    }

    /// 10. Trust, and 11. the application, under the deadline of its route.
    fn ask(
        &self,
        peer: Peer,
        mut request: Request<Incoming>,
        ip: ClientIp,
        route: &Route,
        caller: Option<&Authenticated>,
        trace: &Trace,
    ) -> Result<Forwarding, Problem> {
        let Some((upstreams, upstream)) = self.parts.upstreams.as_ref().zip(route.upstream) else {
            return Err(Kind::NotFound.into());
        };
        let names = Names::of(request.headers());
        if names.via && upstreams.is_loop(request.headers()) {
            return Err(Kind::LoopDetected.into());
        }
        let is_https = self.is_https(peer, request.headers());
        let headers = request.headers_mut();
        if names.identity {
            gateway::strip(headers);
        }
        if names.credentials && !route.keep_credentials {
            gateway::hide_credentials(headers);
        }
        headers.insert(X_REQUEST_ID, trace.id.value());
        route.request_headers.apply(headers);
        let forward = Forward {
            upstream,
            identity: caller.map_or(Bytes::new(), |caller| self.told(caller, route, trace).lines()),
            client: ip.address(),
            is_https,
            keep_host: route.keep_host,
            max_body: route.max_body,
            deadline: route.deadline,
            idle: route.idle,
            client_pause: route.client_pause,
            now: trace.started.mono,
        };
        Ok(upstreams.forward(request, forward))
    }

    /// 13. The application's answer as the client is to see it, or one in its place.
    fn answered(
        &self,
        answer: Result<Forwarded, ForwardFailure>,
        route: &Route,
        version: Version,
        trace: &Trace,
    ) -> Response<Body> {
        match answer {
            Ok(answer) => {
                let mut response = answer.map(Body::Forwarded);
                let headers = response.headers_mut();
                if route.cors.is_ours() {
                    cors::remove(headers);
                }
                route.response_headers.apply(headers);
                let now = self.parts.clock.mono();
                let status = self.parts.introspection.system_status();
                self.headers.put_on_forwarded(headers, trace, now, status);
                response
            }
            Err(failure) => {
                let (request_id, route) = (trace.id.as_str(), &*route.name);
                tracing::warn!(request_id, route, ?failure, "the application gave no answer");
                self.finish(gateway::failure_answer(failure, version), trace)
            }
        }
    }

    pub(crate) fn told(&self, caller: &Authenticated, route: &Route, trace: &Trace) -> Arc<Telling> {
        let now = UNIX_EPOCH + trace.started.wall.since(phoenix_auth::model::Timestamp::default());
        self.tellings.told(&caller.active, self.parts.assertions.as_deref(), &route.audience, now)
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
                let (auth, client) = (self.parts.auth.clone(), client());
                let asking = async move { auth.authenticate(&credential.borrow(), &client, started).await };
                let in_vain =
                    |verdict: &_| matches!(verdict, Ok(Err(Rejection::Unknown | Rejection::Malformed)));
                Ok::<_, Problem>(look_up.finish(asking, in_vain).await)
            });
            asked.await?
        };
        Ok(self.identity(verdict?, carrier, trace))
    }

    fn identity(&self, verdict: Verdict, carrier: Carrier, trace: &mut Trace) -> Identity {
        trace.auth_time = self.parts.clock.mono().saturating_sub(trace.started.mono);
        let identity = match verdict {
            Ok(caller) => Identity::Known(caller, carrier),
            Err(rejection) => Identity::Rejected(rejection),
        };
        trace.tier = identity.tier();
        identity
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

    /// 13. One line a request, in its span, which is made now if it was not.
    fn log(&self, method: &Method, route: &str, answer: &Response<Body>, trace: &Trace, span: Option<Span>) {
        let is_no_defect =
            matches!(answer.body(), Body::Forwarded(_)) || answer.extensions().get::<Overload>().is_some();
        let level = request_log::level(method, answer.status(), is_no_defect);
        if level <= Level::INFO || tracing::enabled!(Level::DEBUG) {
            let elapsed = self.parts.clock.mono().saturating_sub(trace.started.mono);
            let span = span.unwrap_or_else(|| self::span(trace));
            let _entered = span.enter();
            request_log::write(level, method, route, answer.status(), elapsed);
        }
    }
}

/// A request that an application has been asked to answer without anything to be waited for before.
pub struct AskedApp {
    shared: Arc<Shared>,
    route: Arc<Route>,
    cold: Box<Cold>,
    method: Method,
    version: Version,
    trace: Trace,
}

impl AskedApp {
    /// Waits for the application. Step 2 holds here, too.
    pub(crate) fn poll(
        &mut self,
        answer: &mut Forwarding,
        context: &mut Context<'_>,
    ) -> Poll<Response<Body>> {
        let polled = AssertUnwindSafe(|| {
            answer.as_mut().poll(context).map(|answer| {
                let response = self.shared.answered(answer, &self.route, self.version, &self.trace);
                self.conclude(response)
            })
        });
        catch_unwind(polled).unwrap_or_else(|_panic| Poll::Ready(self.shared.panicked(&self.trace)))
    }

    /// 12. Nothing was reserved. 13. What is told of the limit, and to pages of other origins, and one log line.
    fn conclude(&mut self, mut response: Response<Body>) -> Response<Body> {
        tell(self.cold.gate.take_told(), &mut response);
        std::mem::take(&mut self.cold.cors).put(response.headers_mut());
        self.shared.log(&self.method, &self.route.name, &response, &self.trace, None);
        response
    }
}
