//! An answer on its way, and the headers that Phoenix adds to it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response};
use phoenix_auth::model::Moment;
use phoenix_auth::ports::Tier;

use crate::body::Body;
use crate::gateway::Forwarding;
use crate::header_values::{
    RequestId, X_AUTH_TIME, X_CACHE_HIT, X_PHOENIX_VERSION, X_REQUEST_ID, X_RESPONSE_TIME, X_SYSTEM_STATUS,
    X_TOTAL_TIME, trace_values,
};
use crate::introspection::SystemStatus;
use crate::limits::{LIMIT_HEADERS, STANDARD_HEADERS, Told};
use crate::stack::AskedApp;

/// What an answer's headers tell of the way here.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) id: RequestId,
    pub(crate) started: Moment,
    pub(crate) auth_time: Duration,
    pub(crate) tier: Option<Tier>,
    /// The client is to remember that there is HTTPS here.
    pub(crate) pins_https: bool,
}

/// The headers that differ with every answer.
const TRACE_HEADERS: [HeaderName; 6] =
    [X_RESPONSE_TIME, X_TOTAL_TIME, X_AUTH_TIME, X_CACHE_HIT, X_REQUEST_ID, X_SYSTEM_STATUS];

/// The headers that are the same every time, put together once.
pub(crate) struct AnswerHeaders {
    version: HeaderValue,
    /// `Strict-Transport-Security` (RFC 6797), if browsers are to remember HTTPS.
    hsts: Option<HeaderValue>,
    ours: HeaderMap,
    /// By the number of headers that tell of a limit.
    me: [HeaderMap; 3],
}

impl AnswerHeaders {
    pub(crate) fn new(version: &'static str, hsts: Option<HeaderValue>) -> Self {
        Self {
            hsts,
            version: HeaderValue::from_static(version),
            ours: ours(version),
            me: [0, STANDARD_HEADERS, LIMIT_HEADERS.len()].map(|told| me(version, told)),
        }
    }

    /// Of an answer of ours.
    pub(crate) fn put(&self, headers: &mut HeaderMap, trace: &Trace, now: Duration, status: SystemStatus) {
        headers.extend(self.ours.clone());
        self.pin_https(headers, trace);
        put_trace(headers, trace, now, status);
    }

    /// Of an application's answer: what it says for itself stays.
    pub(crate) fn put_on_forwarded(
        &self,
        headers: &mut HeaderMap,
        trace: &Trace,
        now: Duration,
        status: SystemStatus,
    ) {
        // Else it grows more than once, and finds a new place for each header every time.
        headers.reserve(TRACE_HEADERS.len() + 1);
        headers.insert(X_PHOENIX_VERSION, self.version.clone());
        if trace.pins_https && !headers.contains_key(STRICT_TRANSPORT_SECURITY) {
            self.pin_https(headers, trace);
        }
        put_trace(headers, trace, now, status);
    }

    /// Of `GET /api/auth/me`. Copied whole, and the places filled in their order: cheaper than putting each header in.
    pub(crate) fn of_me(
        &self,
        told: Option<Told>,
        trace: &Trace,
        now: Duration,
        status: SystemStatus,
    ) -> HeaderMap {
        let [unlimited, limited, limited_twice] = &self.me;
        let mut headers = match told.as_ref().map_or(0, Told::count) {
            0 => unlimited,
            STANDARD_HEADERS => limited,
            _ => limited_twice,
        }
        .clone();
        let values = values(trace, now, status).into_iter().chain(told.into_iter().flat_map(Told::values));
        for (place, value) in headers.values_mut().zip(values) {
            *place = value;
        }
        self.pin_https(&mut headers, trace);
        headers
    }

    fn pin_https(&self, headers: &mut HeaderMap, trace: &Trace) {
        if trace.pins_https
            && let Some(hsts) = &self.hsts
        {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }
}

fn put_trace(headers: &mut HeaderMap, trace: &Trace, now: Duration, status: SystemStatus) {
    for (name, value) in TRACE_HEADERS.into_iter().zip(values(trace, now, status)) {
        headers.insert(name, value);
    }
}

/// Values of [`TRACE_HEADERS`].
fn values(trace: &Trace, now: Duration, status: SystemStatus) -> [HeaderValue; 6] {
    let total = now.saturating_sub(trace.started.mono);
    let [id, total, auth] = trace_values(&trace.id, total, trace.auth_time);
    let tier = HeaderValue::from_static(trace.tier.map_or("none", Tier::as_str));
    [total.clone(), total, auth, tier, id, HeaderValue::from_static(status.as_str())]
}

/// Nothing of ours is to be run, framed, or taken for another type (OWASP REST Security Cheat Sheet).
fn ours(version: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(X_PHOENIX_VERSION, HeaderValue::from_static(version));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, nothing);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
}

/// First places for [`TRACE_HEADERS`] and the first `told` of [`LIMIT_HEADERS`], in their order, then those that are
/// the same every time.
fn me(version: &'static str, told: usize) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(32);
    for name in TRACE_HEADERS.into_iter().chain(LIMIT_HEADERS.into_iter().take(told)) {
        headers.insert(name, HeaderValue::from_static(""));
    }
    headers.extend(ours(version));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// An answer, there already or on its way.
pub enum Answer {
    /// There. Taken when it is polled.
    Now(Option<Response<Body>>),
    /// On its way from an application, which was asked at once.
    Asked(Forwarding, AskedApp),
    /// On its way.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answer {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response<Body>> {
        match self.get_mut() {
            Self::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Asked(answer, asked) => asked.poll(answer, context),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}
