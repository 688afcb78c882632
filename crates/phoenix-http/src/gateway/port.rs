//! What the gateway needs from outside: an application that answers, and signatures that it believes.

use std::any::Any;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use phoenix_auth::model::{SessionId, UserId};

use super::route::UpstreamId;
use crate::body::BodyError;

/// Body of an application's answer. An error ends the client's connection: part of the answer is sent already.
#[derive(Debug)]
pub enum ForwardBody {
    /// All of it is there.
    Whole(Full<Bytes>),
    /// As it comes.
    Streamed(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body for ForwardBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Streamed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

/// Held by a connection for as long as it counts among those that may be open: an upgrade goes on after the requests.
/// In the extensions of a request that asks for one.
#[derive(Clone)]
pub struct ConnectionHold(pub Arc<dyn Any + Send + Sync>);

/// What is known of a request that goes to an application.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Which upstream.
    pub upstream: UpstreamId,
    /// Who the caller is: lines of a head (RFC 9112 section 5), each with its end, names in lower case. Empty for nobody.
    pub identity: Bytes,
    /// The client's address, as decided by `client_ip`.
    pub client: IpAddr,
    /// Whether the client used https.
    pub is_https: bool,
    /// Whether the application sees the `Host` that the client asked for, or its own.
    pub keep_host: bool,
    /// Largest body in bytes. What is larger is cut off, and answered with 413 if nothing was answered yet.
    pub max_body: u64,
    /// The head of the answer must be there this long after the last byte of the request was passed on.
    pub deadline: Duration,
    /// A body, in either direction, or a tunnel in which nothing moves for longer is given up.
    pub idle: Duration,
    /// Longest pause of the client within its request until the head of the answer is there, at whatever speed it sends.
    /// Without one that is `idle`, a minute at most, and there is a least speed.
    pub client_pause: Option<Duration>,
    /// When the request came, on the monotonic clock.
    pub now: Duration,
}

/// The application's answer: its head as it came without what belongs to one connection, and its body.
pub type Forwarded = Response<ForwardBody>;

/// An application's answer on its way.
pub type Forwarding = BoxFuture<'static, Result<Forwarded, ForwardFailure>>;

/// Why there is no answer of the application. Each has one status (RFC 9110) and one error of RFC 9209.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardFailure {
    /// No server of the upstream is up: none was asked. 503.
    NoneUp,
    /// Every server has as many requests as it may have. 503.
    Full,
    /// No connection came about. 502.
    Unreachable,
    /// No TLS that can be trusted came about. 502.
    Untrusted,
    /// The connection ended before the head of the answer was complete. 502.
    Closed,
    /// What was answered is no HTTP, or is longer than allowed. 502.
    Garbage,
    /// No connection in time. 504.
    ConnectTimeout,
    /// No answer in time. 504.
    Timeout,
    /// The request's body is larger than the route allows. 413.
    BodyTooLarge,
    /// The client's request broke off. 400, though nobody will read it.
    RequestBroken,
    /// The client paused for too long within its request, or sent too slowly. 408.
    RequestSlow,
    /// The request asks for an upgrade of the connection that cannot be passed on. 400.
    BadUpgrade,
    /// The request cannot be passed on without doubt about where it ends or whom it is for: what is wrong. 400.
    Malformed(&'static str),
    /// The method is not for gateways: `CONNECT`, `TRACE`. 405.
    Method,
    /// The expectation cannot be met. 417.
    Expectation,
}

/// Sends requests to the applications behind Phoenix.
pub trait Upstreams: Send + Sync {
    /// Sends the request, of which the stack has already removed and added what it knows about: the header
    /// has exactly the credentials and host that the application is to see, and no identity, which is added. Removes what belongs to one
    /// connection (RFC 9110 section 7.6.1) and adds `Via` and the forwarding headers. Upgrades (101) are carried through.
    ///
    /// Dropping the future, or the body of the answer, ends the exchange with the application.
    fn forward(&self, request: Request<Incoming>, forward: Forward) -> Forwarding;

    /// Whether the request has come through this installation before (`Via`, RFC 9110 section 7.6.3).
    fn is_loop(&self, headers: &http::HeaderMap) -> bool;

    /// How the servers do.
    fn report(&self) -> Vec<UpstreamReport>;
}

/// How one server of an upstream does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamReport {
    /// Name of the upstream.
    pub upstream: String,
    /// Origin of the server.
    pub server: String,
    /// Whether requests are sent there.
    pub is_up: bool,
    /// Requests under way.
    pub under_way: u64,
    /// Requests sent since the start.
    pub requests: u64,
    /// Of these, those that failed in a way that speaks against the server.
    pub failures: u64,
    /// Why it is down, if it is.
    pub reason: Option<String>,
}

/// Whom an assertion is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The user's e-mail address, if one is known.
    pub email: Option<&'a str>,
    /// Whether it is verified.
    pub email_verified: bool,
    /// The user's role.
    pub role: &'a str,
}

/// Who a caller is, signed.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// The value of `X-Phoenix-Assertion`.
    pub value: HeaderValue,
    /// Says whether it may be sent again.
    pub stamp: AssertionStamp,
}

/// When an assertion was made, and with which keys. Means something only to who made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssertionStamp {
    /// Number of the keys.
    pub keys: u64,
    /// Seconds since 1970.
    pub issued_at: u64,
    /// So many seconds it may be sent again.
    pub reusable_for: u64,
}

/// Signs who a caller is, so that an application need not trust its network.
pub trait Assertions: Send + Sync {
    /// The value of `X-Phoenix-Assertion`: a JWT (RFC 7519) signed with ES256. `None` only when no key can be used.
    fn assertion(&self, subject: Subject<'_>, audience: &str, now: SystemTime) -> Option<Assertion>;

    /// Whether the assertion with this stamp may be sent again at `now`, for the same subject and audience.
    fn serves(&self, stamp: AssertionStamp, now: SystemTime) -> bool;

    /// The public keys (RFC 7517), those that sign now, did before, and will next.
    fn jwks(&self, now: SystemTime) -> Bytes;
}
