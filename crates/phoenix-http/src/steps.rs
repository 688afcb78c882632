//! What the steps of a request tell each other. Their order is in `stack.rs`.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use axum::response::IntoResponse;
use foldhash::quality::RandomState;
use http::header::{ACCEPT_LANGUAGE, HeaderName, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Body as HttpBody;
use phoenix_auth::ops::{Authenticated, Verdict};

use crate::body::Body;
use crate::client_ip::ClientIp;
use crate::cookie::CookieForm;
use crate::cors::{Cors, has_body, is_preflight};
use crate::credentials::{Carrier, Kept};
use crate::extract::Identity;
use crate::gateway::{Access, ClassOf, Preflights, Route};
use crate::limits::Gate;
use crate::problem::{Kind, Problem};
use crate::routes;

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
    pub(crate) fn class(&self) -> &ClassOf {
        match self {
            Self::Ours => &ClassOf::ByPath,
            Self::App(route) => &route.class,
        }
    }

    /// Other origins whose pages may use it with cookies.
    pub(crate) fn origins(&self) -> &[String] {
        match self {
            Self::App(route) => route.cors.origins(),
            Self::Ours => &[],
        }
    }

    /// Whether it matters who the caller is. Browsers send preflights without saying so.
    pub(crate) fn asks_who<B: HttpBody>(&self, request: &Request<B>) -> bool {
        match self {
            Self::Ours => true,
            Self::App(route) => {
                let passes = || match route.preflights() {
                    Preflights::LikeOthers | Preflights::Answered => false,
                    // No browser asks for an upgrade with it, and what is agreed on then could be anything.
                    Preflights::PassWithoutBody => {
                        !has_body(request) && !request.headers().contains_key(UPGRADE)
                    }
                    Preflights::Pass => true,
                };
                let is_preflight = is_preflight(request.method(), request.headers());
                route.access != Access::Open && !(is_preflight && passes())
            }
        }
    }
}

/// Which of the steps that may wait a request goes through, and how.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// The route of ours, if it is one.
    pub(crate) route: Option<routes::Template>,
    pub(crate) uses_sessions: bool,
    pub(crate) same_origin: bool,
    /// Refuses two credentials of one kind; else they are as good as none.
    pub(crate) is_strict: bool,
}

impl Steps {
    pub(crate) fn of_app<B: HttpBody>(request: &Request<B>, place: &Place, route: &Route) -> Self {
        let asks_who = place.asks_who(request);
        // An upgrade goes past what browsers ask before they let a page read.
        let is_guarded =
            || !request.method().is_safe() || request.headers().keys().any(|name| *name == UPGRADE);
        Self {
            route: None,
            uses_sessions: asks_who,
            same_origin: route.same_origin && is_guarded(),
            is_strict: asks_who && matches!(route.access, Access::Required(_)),
        }
    }

    /// Whether a caller may use the application's route, and whom the application is told about.
    pub(crate) fn admit(self, route: &Route, identity: Identity) -> Result<Option<Authenticated>, Problem> {
        if self.uses_sessions { route.access.admit(identity) } else { Ok(None) }
    }
}

/// What the first steps found out, for the steps that only some requests need.
pub(crate) struct Cold {
    pub(crate) credential: Option<(Kept, Carrier)>,
    pub(crate) known: Option<Verdict>,
    pub(crate) malformed: bool,
    pub(crate) ambiguous: bool,
    pub(crate) cookie_form: CookieForm,
    pub(crate) environment: u64,
    pub(crate) ip: ClientIp,
    pub(crate) gate: Gate,
    pub(crate) cors: Cors,
    pub(crate) place: Place,
}

impl Cold {
    /// Whether nothing is left to be asked of Redis or the database.
    pub(crate) fn is_known(&self) -> bool {
        !self.gate.asks_who() && (self.credential.is_none() || self.known.is_some())
    }
}

/// Headers that tell devices apart, besides the address.
const ENVIRONMENT_HEADERS: [HeaderName; 4] = [
    USER_AGENT,
    HeaderName::from_static("sec-ch-ua"),
    HeaderName::from_static("sec-ch-ua-platform"),
    ACCEPT_LANGUAGE,
];

/// Hashes what tells devices and places apart, with a key of this process, so that nobody can look for two that
/// collide.
#[derive(Default)]
pub(crate) struct Environments(RandomState);

impl Environments {
    /// Never zero.
    pub(crate) fn of(&self, ip: ClientIp, headers: &HeaderMap) -> u64 {
        let mut state = self.0.build_hasher();
        ip.address().hash(&mut state);
        for name in &ENVIRONMENT_HEADERS {
            headers.get(name).map(HeaderValue::as_bytes).hash(&mut state);
        }
        state.finish() | 1
    }
}

/// The answer to a preflight of an application's route, where Phoenix gives it.
pub(crate) fn preflight_of_app<B>(
    request: &Request<B>,
    route: &Route,
    cors: &Cors,
) -> Option<Response<Body>> {
    if !route.cors.is_ours() || !is_preflight(request.method(), request.headers()) {
        return None;
    }
    let answer = cors.preflight(request.headers());
    Some(answer.unwrap_or_else(|| Problem::from(Kind::CrossOrigin).into_response()).map(Body::Routed))
}
