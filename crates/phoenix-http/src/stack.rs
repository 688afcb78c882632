//! What happens to a request, in order. This file is the whole answer.
//!
//! One fused service on our own accept loop: the steps are called in turn, `GET /api/auth/me` of a session in
//! memory is answered without leaving this file, and everything else goes on to the routes.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::Guard;
use axum::Router;
use axum::response::IntoResponse;
use foldhash::quality::RandomState;
use futures_util::FutureExt;
use http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_TYPE, HeaderName, USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use phoenix_auth::model::{Moment, TokenHash, UserAgent};
use phoenix_auth::ops::{Authenticated, ClientInfo, Credential, Rejection, Verdict};
use phoenix_auth::ports::Tier;
use tower::ServiceExt;
use tracing::Instrument;

use crate::body::{Body, full};
use crate::client_ip::{ClientIp, Peer};
use crate::cookie::CookieForm;
use crate::credentials::{Carrier, Presented};
use crate::device;
use crate::extract::{Identity, RequestContext};
use crate::header_values::{
    RequestId, RequestIds, X_AUTH_TIME, X_CACHE_HIT, X_PHOENIX_VERSION, X_REQUEST_ID, X_RESPONSE_TIME,
    X_SYSTEM_STATUS, X_TOTAL_TIME, trace_values,
};
use crate::json;
use crate::limits::{AtOnce, Gate, LIMIT_HEADERS, Limited, STANDARD_HEADERS, Sender, Told, tell};
use crate::origin::Provenance;
use crate::problem::{Kind, Problem};
use crate::routes;
use crate::settings::HttpParts;

/// Headers that say who the caller is to an application behind us. Nobody outside may send them (invariant 7).
const IDENTITY_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("x-phoenix-user-id"),
    HeaderName::from_static("x-phoenix-email"),
    HeaderName::from_static("x-phoenix-role"),
    HeaderName::from_static("x-phoenix-session-id"),
    HeaderName::from_static("x-phoenix-assertion"),
];

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

struct Shared {
    parts: HttpParts,
    ids: RequestIds,
    router: Router,
    constant_headers: HeaderMap,
    /// By the number of headers that tell of a limit.
    me_headers: [HeaderMap; 3],
    environments: RandomState,
}

/// What the answer's headers tell of the way here.
#[derive(Clone, Copy)]
struct Trace {
    id: RequestId,
    started: Moment,
    auth_time: Duration,
    tier: Option<Tier>,
}

impl Stack {
    /// Builds the routes once.
    #[must_use]
    pub fn new(parts: HttpParts) -> Self {
        let shared = Shared {
            ids: RequestIds::new(parts.settings.instance),
            router: routes::router(parts.clone()),
            constant_headers: constant_headers(parts.settings.version),
            me_headers: [0, STANDARD_HEADERS, LIMIT_HEADERS.len()]
                .map(|told| me_headers(parts.settings.version, told)),
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
    pub fn handle(&self, peer: Peer, request: Request<Incoming>) -> Answer {
        // 1. Request id and clock, first: everything after can be told apart and timed. Read once, passed down.
        let shared = &self.shared;
        let trace = Trace {
            id: shared.ids.next(),
            started: shared.parts.clock.now(),
            auth_time: Duration::ZERO,
            tier: None,
        };
        // 2. Panics end here, outside every other step: one request fails, with its id, and the process goes on.
        match catch_unwind(AssertUnwindSafe(|| shared.first_steps(peer, &request, trace))) {
            Ok(FirstSteps::Answered(response)) => Answer::Now(Some(response)),
            Ok(FirstSteps::GoOn(cold)) => {
                let shared = Arc::clone(shared);
                Answer::Later(Box::pin(async move {
                    let answering = AssertUnwindSafe(shared.cold(peer, request, cold, trace)).catch_unwind();
                    answering.await.unwrap_or_else(|_panic| shared.panicked(&trace))
                }))
            }
            Err(_panic) => Answer::Now(Some(shared.panicked(&trace))),
        }
    }
}

/// An answer, there already or on its way.
pub enum Answer {
    /// There. Taken when it is polled.
    Now(Option<Response<Body>>),
    /// On its way.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answer {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Body>> {
        match self.get_mut() {
            Self::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// What the steps that need no waiting came to.
enum FirstSteps {
    Answered(Response<Body>),
    GoOn(Box<Cold>),
}

impl Shared {
    fn first_steps(&self, peer: Peer, request: &Request<Incoming>, mut trace: Trace) -> FirstSteps {
        // 3. Limits that need no body. Header size and time, and connections, are bounded by the accept loop.
        if request.uri().path_and_query().map_or(0, |p| p.as_str().len()) > self.parts.settings.max_uri_bytes
        {
            let refusal = Problem::from(Kind::UriTooLong).into_response();
            return FirstSteps::Answered(self.finish(refusal.map(Either::Right), &trace));
        }
        // 4. The client's address, then its limit where the address alone decides: before anything is done for the
        // request.
        let ip = ClientIp::of_request(&self.parts.settings.client_address, peer, request.headers());
        let limits = &self.parts.limits;
        let rules = limits.rules().load();
        let limited = Limited::of(&rules, request.method(), request.uri().path(), ip.address());
        let mut decided = match &limited {
            None => AtOnce::Passed(None),
            Some(limited) if limited.by_address_alone() => {
                limits.at_once(limited, Sender::Stranger, trace.started.mono)
            }
            Some(_) => AtOnce::Later,
        };
        if let AtOnce::Refused(problem) = decided {
            return FirstSteps::Answered(self.finish(problem.into_response().map(Either::Right), &trace));
        }
        // 5. Authentication, from memory if it can be: no I/O, and nothing is built that the answer does not need.
        let settings = &self.parts.settings;
        let form = CookieForm::of_request(settings, request.uri(), request.headers());
        let presented = Presented::find(request.headers(), form, settings.provider.as_ref());
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
            AtOnce::Refused(problem) => {
                return FirstSteps::Answered(self.finish(problem.into_response().map(Either::Right), &trace));
            }
        };
        // 7. The hot path: who am I, asked by a session in memory.
        if let Some(Ok(caller)) = &known
            && request.method() == Method::GET
            && request.uri().path() == routes::ME
            && is_decided
        {
            trace.tier = Some(caller.tier);
            return FirstSteps::Answered(self.me(caller, told, &mut trace));
        }
        FirstSteps::GoOn(Box::new(Cold {
            known,
            malformed: presented != Presented::None && credential.is_none(),
            refused: (presented == Presented::Ambiguous).then_some(Kind::AmbiguousCredentials),
            credential: credential.map(|(credential, carrier)| (Kept::of(credential), carrier)),
            cookie_form: form,
            environment,
            ip,
            gate: Gate::new(Guard::into_inner(rules), ip.address(), told, is_decided),
        }))
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
        self.finish(Problem::from(Kind::Internal).into_response().map(Either::Right), trace)
    }

    fn me(&self, caller: &Authenticated, told: Option<Told>, trace: &mut Trace) -> Response<Body> {
        let body = json::me(&caller.active, self.parts.auth.policy().sessions.of(&caller.active.user.role));
        let mut response = Response::new(full(body));
        let now = self.parts.clock.mono();
        trace.auth_time = now.saturating_sub(trace.started.mono);
        // Copied whole, and the places filled in their order: cheaper than putting each header in.
        let [unlimited, limited, limited_twice] = &self.me_headers;
        let headers = match told.as_ref().map_or(0, Told::count) {
            0 => unlimited,
            STANDARD_HEADERS => limited,
            _ => limited_twice,
        };
        *response.headers_mut() = headers.clone();
        let values = self.trace_values(trace, now).into_iter().chain(told.into_iter().flat_map(Told::values));
        for (place, value) in response.headers_mut().values_mut().zip(values) {
            *place = value;
        }
        response
    }

    async fn cold(
        &self,
        peer: Peer,
        mut request: Request<Incoming>,
        cold: Box<Cold>,
        mut trace: Trace,
    ) -> Response<Body> {
        let span = tracing::info_span!("request", id = trace.id.as_str());
        let (method, path) = (request.method().clone(), routes::template(request.uri().path()));
        let answer = async {
            let Cold { credential, known, malformed, refused, cookie_form, environment, ip, mut gate } =
                *cold;
            // 4 and 6 continued: what could not be decided at once. The routes that look at a password count for
            // themselves, because only they know whose.
            let limits = &self.parts.limits;
            let asks_itself = path.looks_at_passwords();
            let decided = gate.before_authentication(limits, &method, request.uri().path(), asks_itself);
            if let Err(problem) = decided.await {
                return problem.into_response();
            }
            // 8. Trust: identity headers from outside are removed, before a route or an application behind us reads
            // them. The client's address was decided in step 4.
            for name in &IDENTITY_HEADERS {
                request.headers_mut().remove(name);
            }
            let client = self.client_info(ip, request.headers(), environment);
            let mark = path.opens_sessions().then(|| cookie_form.find_device(request.headers())).flatten();
            let device_mark = mark.map(str::to_owned);
            let context = RequestContext { client, cookie_form, client_ip: ip, peer, device_mark };
            // 5 continued: what memory did not know is asked of Redis and the database, if a route of ours uses
            // sessions or a limit counts by user: else a user would be counted by user or by address as memory has it.
            let mut identity = if !path.uses_sessions() && !gate.asks_who() {
                Identity::Anonymous
            } else if malformed {
                Identity::Rejected(Rejection::Malformed)
            } else {
                match self.identify(credential, known, &context.client, &gate, &mut trace).await {
                    Ok(identity) => identity,
                    Err(problem) => return self.settled(gate, problem.into_response()).await,
                }
            };
            // 6 continued.
            let user = identity.user();
            let decided = gate.after_authentication(limits, &method, request.uri().path(), user);
            if let Err(problem) = decided.await {
                return problem.into_response();
            }
            if !path.uses_sessions() {
                identity = Identity::Anonymous;
            }
            if let Some(kind) = refused {
                return self.settled(gate, Problem::from(kind).into_response()).await;
            }
            // 9. Same origin, after authentication, because it protects cookie sessions only.
            if let Err(problem) = self.check_provenance(&request, path, &mut identity) {
                return self.settled(gate, problem.into_response()).await;
            }
            request.extensions_mut().insert(identity);
            request.extensions_mut().insert(context);
            // 10. The route, under the deadline of the whole request.
            let routed = self.router.clone().oneshot(request);
            let response = match tokio::time::timeout(self.parts.settings.request_timeout, routed).await {
                Ok(Ok(response)) => response,
                Err(_elapsed) => Problem::busy().into_response(),
            };
            self.settled(gate, response).await
        };
        let response = answer.instrument(span.clone()).await;
        let response = self.finish(response.map(Either::Right), &trace);
        let elapsed = self.parts.clock.mono().saturating_sub(trace.started.mono);
        let _entered = span.enter();
        log(&method, path, response.status().as_u16(), elapsed);
        response
    }

    /// 11. What was reserved is counted or taken back, now that the outcome is known, and the answer tells of the limit.
    async fn settled(&self, gate: Gate, mut response: axum::response::Response) -> axum::response::Response {
        let is_routed = response.extensions().get::<routes::NoRoute>().is_none();
        tell(gate.settle(response.status(), is_routed).await, &mut response);
        response
    }

    async fn identify(
        &self,
        credential: Option<(Kept, Carrier)>,
        known: Option<Verdict>,
        client: &ClientInfo,
        gate: &Gate,
        trace: &mut Trace,
    ) -> Result<Identity, Problem> {
        let Some((credential, carrier)) = credential else { return Ok(Identity::Anonymous) };
        let verdict = if let Some(verdict) = known {
            Ok(verdict)
        } else {
            // A credential may be made up. Whoever makes up many is refused before anybody is asked.
            let look_up = gate.reserve_look_up(&self.parts.limits).await?;
            let verdict = self.parts.auth.authenticate(&credential.borrow(), client, trace.started).await;
            let in_vain = matches!(verdict, Ok(Err(Rejection::Unknown | Rejection::Malformed)));
            look_up.settle(in_vain).await;
            verdict
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

    /// Refuses unsafe requests that a browser may have been made to send. A login that does not say where it comes
    /// from goes on without the session it was sent with.
    fn check_provenance(
        &self,
        request: &Request<Incoming>,
        path: routes::Template,
        identity: &mut Identity,
    ) -> Result<(), Problem> {
        if request.method().is_safe() {
            return Ok(());
        }
        let by_cookie = matches!(identity, Identity::Known(_, carrier) if carrier.is_cookie());
        let provenance = Provenance::of_request(&self.parts.settings, request.uri(), request.headers());
        match provenance {
            Provenance::CrossOrigin if by_cookie || path.opens_sessions() => Err(Kind::CrossOrigin.into()),
            Provenance::Unknown if by_cookie && path.opens_sessions() => {
                *identity = Identity::Anonymous;
                Ok(())
            }
            Provenance::Unknown if by_cookie => Err(Problem::new(Kind::CrossOrigin)
                .detail("Send an Origin header with this server's address, or use Authorization: Bearer.")),
            Provenance::SameOrigin | Provenance::CrossOrigin | Provenance::Unknown => Ok(()),
        }
    }

    fn finish(&self, mut response: Response<Body>, trace: &Trace) -> Response<Body> {
        response.headers_mut().extend(self.constant_headers.clone());
        self.mark(&mut response, trace, self.parts.clock.mono());
        response
    }

    /// The headers of every answer.
    fn mark(&self, response: &mut Response<Body>, trace: &Trace, now: Duration) {
        let values = self.trace_values(trace, now);
        for (name, value) in TRACE_HEADERS.into_iter().zip(values) {
            response.headers_mut().insert(name, value);
        }
    }

    /// Values of [`TRACE_HEADERS`].
    fn trace_values(&self, trace: &Trace, now: Duration) -> [HeaderValue; 6] {
        let total = now.saturating_sub(trace.started.mono);
        let [id, total, auth] = trace_values(&trace.id, total, trace.auth_time);
        let tier = HeaderValue::from_static(trace.tier.map_or("none", Tier::as_str));
        let status = HeaderValue::from_static(self.parts.introspection.system_status().as_str());
        [total.clone(), total, auth, tier, id, status]
    }
}

/// The headers that differ with every answer.
const TRACE_HEADERS: [HeaderName; 6] =
    [X_RESPONSE_TIME, X_TOTAL_TIME, X_AUTH_TIME, X_CACHE_HIT, X_REQUEST_ID, X_SYSTEM_STATUS];

/// The headers that are the same for every answer.
fn constant_headers(version: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(X_PHOENIX_VERSION, HeaderValue::from_static(version));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

/// The headers of `GET /api/auth/me`: first places for [`TRACE_HEADERS`] and the first `told` of [`LIMIT_HEADERS`], in
/// their order, then the constant ones.
fn me_headers(version: &'static str, told: usize) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for name in TRACE_HEADERS.into_iter().chain(LIMIT_HEADERS.into_iter().take(told)) {
        headers.insert(name, HeaderValue::from_static(""));
    }
    headers.extend(constant_headers(version));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// What the first steps found out, for the steps that only some requests need.
struct Cold {
    credential: Option<(Kept, Carrier)>,
    known: Option<Verdict>,
    malformed: bool,
    refused: Option<Kind>,
    cookie_form: CookieForm,
    environment: u64,
    ip: ClientIp,
    gate: Gate,
}

/// Who sent a request, as far as memory knows. A credential that memory knows not to count is nobody's.
fn sender(has_credential: bool, known: Option<&Verdict>) -> Sender {
    match known {
        Some(Ok(caller)) => Sender::User(caller.active.user.id),
        Some(Err(_rejection)) => Sender::Stranger,
        None if has_credential => Sender::Unknown,
        None => Sender::Stranger,
    }
}

/// A credential that outlives the headers it came in.
enum Kept {
    Own(TokenHash),
    External { hash: TokenHash, text: String },
}

impl Kept {
    fn of(credential: Credential<'_>) -> Self {
        match credential {
            Credential::Own(hash) => Self::Own(hash),
            Credential::External { hash, text } => Self::External { hash, text: text.to_owned() },
        }
    }

    fn borrow(&self) -> Credential<'_> {
        match self {
            Self::Own(hash) => Credential::Own(*hash),
            Self::External { hash, text } => Credential::External { hash: *hash, text },
        }
    }
}

/// One line a request: routine reads at debug, changes at info, our own failures at error.
fn log(method: &Method, path: routes::Template, status: u16, elapsed: Duration) {
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let route = path.as_str();
    if status >= 500 {
        tracing::error!(%method, route, status, elapsed_us, "request");
    } else if method.is_safe() {
        tracing::debug!(%method, route, status, elapsed_us, "request");
    } else {
        tracing::info!(%method, route, status, elapsed_us, "request");
    }
}
