//! Every error a client can see: `application/problem+json` (RFC 9457) from a closed set.
//!
//! A body says what is wrong and what would do, never why inside Phoenix; the log line with the same request id does.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use phoenix_auth::AuthError;
use phoenix_auth::error::FieldError;
use phoenix_auth::ops::AuthenticateError;
use phoenix_auth::ports::{StoreError, StoreErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::{Told, seconds_up};

/// Seconds after which a client may try again what an outage refused.
const OUTAGE_RETRY_SECONDS: u64 = 2;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident $code:literal $status:ident $title:literal;)+) => {
        /// The closed set of problems.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { $($(#[$doc])* $variant,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Last part of `type`, and the `code` member.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// `type`: a URI of ours, unless one is registered for the kind.
            #[must_use]
            pub fn uri(self) -> String {
                if matches!(self, Self::QuotaExceeded) {
                    // draft-ietf-httpapi-ratelimit-headers-11.
                    return "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned();
                }
                format!("urn:phoenix:problem:{}", self.code())
            }

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// What is wrong, in one sentence, the same every time: `title` and `error`.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

problems! {
    /// The body is not JSON.
    InvalidJson "invalid-json" BAD_REQUEST "The request body is not valid JSON.";
    /// A path or query parameter cannot be read.
    InvalidParameter "invalid-parameter" BAD_REQUEST "A path or query parameter is not valid.";
    /// Two credentials of one kind.
    AmbiguousCredentials "ambiguous-credentials" BAD_REQUEST "The request carries the same credential twice.";
    /// A path that has no normal form.
    MalformedPath "malformed-path" BAD_REQUEST "The path is not well formed.";
    /// A path that applications may read in ways that differ in what is asked of the caller.
    AmbiguousPath "ambiguous-path" BAD_REQUEST "The path can be read in more than one way.";
    /// Framing or a host that cannot be passed on without doubt (RFC 9112).
    MalformedRequest "malformed-request" BAD_REQUEST "The request is not well formed.";
    /// An upgrade that is incomplete, or that the application cannot be asked for.
    BadUpgrade "bad-upgrade" BAD_REQUEST "The request for an upgrade of the connection is not complete.";
    /// The client went away or broke the body off.
    IncompleteBody "incomplete-body" BAD_REQUEST "The request body ended before it was complete.";
    /// No credentials.
    Unauthenticated "unauthenticated" UNAUTHORIZED "Sign in first.";
    /// An `Authorization` header that cannot be read, or a token that is not ours.
    MalformedToken "malformed-token" UNAUTHORIZED "The credential is not a session token of this server.";
    /// The session has ended, or never was.
    SessionEnded "session-ended" UNAUTHORIZED "The session has ended. Sign in again.";
    /// An outside provider's token is over.
    TokenExpired "token-expired" UNAUTHORIZED "The access token has expired. Get a new one from your identity provider.";
    /// The session is used on another device or from another place.
    Reauthenticate "reauthentication-required" UNAUTHORIZED "Sign in again on this device.";
    /// A webhook's signature.
    InvalidSignature "invalid-signature" UNAUTHORIZED "The signature of the webhook is missing, wrong or out of date.";
    /// Email or password is wrong.
    InvalidCredentials "invalid-credentials" UNAUTHORIZED "Email or password is wrong.";
    /// A role is missing.
    Forbidden "forbidden" FORBIDDEN "Your role does not allow this.";
    /// An anonymous or restricted user of an outside provider.
    UserNotAllowed "user-not-allowed" FORBIDDEN "Users of this kind may not sign in here.";
    /// The account is disabled.
    AccountDisabled "account-disabled" FORBIDDEN "The account is disabled. Ask an administrator.";
    /// Registration is closed.
    RegistrationClosed "registration-closed" FORBIDDEN "Registration is closed. Ask an administrator for an account.";
    /// The account is shared.
    SharedAccount "shared-account" FORBIDDEN "The password of a shared account cannot be changed.";
    /// A cookie request from another site, or one that does not say where it comes from.
    CrossOrigin "cross-origin" FORBIDDEN "A request with a session cookie must come from this site.";
    /// Only a trusted proxy may ask about requests of others.
    ProxyNotTrusted "proxy-not-trusted" FORBIDDEN "Only a trusted proxy may ask about requests of others.";
    /// Administration needs a client's certificate here.
    CertificateRequired "client-certificate-required" FORBIDDEN "This needs a client certificate.";
    /// Nothing is here.
    NotFound "not-found" NOT_FOUND "There is nothing here.";
    /// Wrong method.
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "This method is not allowed here.";
    /// The body did not arrive in time.
    RequestTimeout "request-timeout" REQUEST_TIMEOUT "The request body did not arrive in time.";
    /// The session is an outside provider's.
    ExternalSession "external-session" CONFLICT "The session belongs to your identity provider. Renew its token there.";
    /// Too many sessions.
    SessionCapReached "session-limit-reached" CONFLICT "You are signed in on as many devices as you may be. Sign out on one of them first.";
    /// The email has an account.
    EmailTaken "email-taken" CONFLICT "An account with this email exists already.";
    /// The last administrator.
    LastAdministrator "last-administrator" CONFLICT "At least one enabled administrator must remain.";
    /// The body is too large.
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE "The request body is too large.";
    /// The path is too long.
    UriTooLong "uri-too-long" URI_TOO_LONG "The path and query are too long.";
    /// The body is not declared as JSON.
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The request body must be declared as application/json.";
    /// A proxy asks about a path that is not the application's.
    Misdirected "misdirected" MISDIRECTED_REQUEST "This path is Phoenix's own: the proxy must send it there.";
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    ExpectationFailed "expectation-failed" EXPECTATION_FAILED "The expectation of the request cannot be met.";
    /// Fields of the body are wrong.
    InvalidFields "invalid-fields" UNPROCESSABLE_ENTITY "Some fields of the request are not valid.";
    /// A rate limit.
    QuotaExceeded "quota-exceeded" TOO_MANY_REQUESTS "Too many requests. Wait before you try again.";
    /// A defect of ours.
    Internal "internal" INTERNAL_SERVER_ERROR "Something went wrong on our side.";
    /// The application closed or refused the connection.
    AppUnreachable "app-unreachable" BAD_GATEWAY "The application behind this server cannot be reached.";
    /// The application's answer is no HTTP.
    AppBroken "app-broken" BAD_GATEWAY "The application behind this server gave an answer that cannot be passed on.";
    /// The application has no server that is up, or all are full.
    AppDown "app-down" SERVICE_UNAVAILABLE "The application behind this server is down or busy. Try again in a moment.";
    /// The application did not answer.
    AppTimeout "app-timeout" GATEWAY_TIMEOUT "The application behind this server did not answer in time.";
    /// The request has been here before.
    LoopDetected "loop-detected" LOOP_DETECTED "The request came back to this server: the upstream leads to Phoenix itself.";
    /// Too much work waits.
    Busy "busy" SERVICE_UNAVAILABLE "The server is busy. Try again in a moment.";
    /// Something of ours is down.
    Unavailable "unavailable" SERVICE_UNAVAILABLE "A part of the service is down. Try again in a moment.";
    /// The disk or database takes no writes.
    ReadOnly "read-only" SERVICE_UNAVAILABLE "Nothing can be changed at the moment. Try again later.";
}

/// A problem on its way to a client.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: Option<String>,
    fields: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
    allow: Option<HeaderValue>,
    limit: Option<Box<LimitNotice>>,
    is_overload: bool,
}

/// Goes with an answer that is a 503 although nothing is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload;

/// What is told of a limit beside a problem.
#[derive(Clone, Debug)]
struct LimitNotice {
    /// Name of the limit, if the problem is that it is exceeded.
    exceeded: Option<String>,
    told: Told,
}

/// One field that is not valid.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldProblem<'a> {
    /// Its name in the request.
    field: &'a str,
    /// What would do.
    reason: &'a str,
}

/// Body of every error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody<'a> {
    /// Always false.
    success: bool,
    /// A sentence for people.
    error: &'a str,
    /// The kind of problem, as a URI.
    #[serde(rename = "type")]
    kind: String,
    /// The same sentence for every problem of the kind.
    title: &'a str,
    /// HTTP status.
    status: u16,
    /// The kind of problem, for programs.
    code: &'a str,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// All fields that are not valid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem<'a>>,
    /// Names of the limits that are exceeded.
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated_policies: Option<[&'a str; 1]>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            detail: None,
            fields: Vec::new(),
            retry_after_seconds: None,
            allow: None,
            limit: None,
            is_overload: false,
        }
    }

    /// Says what is wrong with this very request.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One field that is not valid.
    #[must_use]
    pub fn field(field: &'static str, reason: impl Into<String>) -> Self {
        Self { fields: vec![FieldError { field, reason: reason.into() }], ..Self::new(Kind::InvalidFields) }
    }

    pub(crate) fn allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.allow = allow;
        self
    }

    /// The limit of a class is exceeded, by the name `policy` in `RateLimit-Policy`. After `retry_after` the same
    /// request is admitted, if it comes alone.
    pub(crate) fn quota_exceeded(
        class: &str,
        policy: String,
        retry_after: Duration,
        blocked: bool,
        told: Told,
    ) -> Self {
        let seconds = seconds_up(retry_after).max(1);
        let what = if blocked { "You are blocked by" } else { "You have reached" };
        let detail = format!("{what} the limit \"{class}\". Try again in {}.", in_words(seconds));
        let limit = Some(Box::new(LimitNotice { exceeded: Some(policy), told }));
        Self { limit, ..Self::new(Kind::QuotaExceeded) }.detail(detail).retry_after(seconds)
    }

    /// Tells of a limit beside the problem, unless it does already.
    pub(crate) fn tell(mut self, told: Option<Told>) -> Self {
        let notice = || told.map(|told| Box::new(LimitNotice { exceeded: None, told }));
        self.limit = self.limit.or_else(notice);
        self
    }

    /// The request was not answered in time.
    pub(crate) fn busy() -> Self {
        Self::new(Kind::Busy).soon()
    }

    /// Too much was asked at once. Nothing is broken, so it is no error in the log.
    pub(crate) fn overload() -> Self {
        Self { is_overload: true, ..Self::busy() }
    }

    /// It may be tried again in a moment.
    pub(crate) fn soon(self) -> Self {
        self.retry_after(OUTAGE_RETRY_SECONDS)
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds.max(1));
        self
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    fn exceeded(&self) -> Option<&str> {
        self.limit.as_ref()?.exceeded.as_deref()
    }

    fn body(&self) -> Vec<u8> {
        let body = ProblemBody {
            success: false,
            error: self.kind.title(),
            kind: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            code: self.kind.code(),
            detail: self.detail.as_deref(),
            errors: self.fields.iter().map(|f| FieldProblem { field: f.field, reason: &f.reason }).collect(),
            violated_policies: self.exceeded().map(|policy| [policy]),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

impl From<StoreError> for Problem {
    /// An outage is 503, a defect 500. The cause goes to the log, here and nowhere else.
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, cause = ?error, "the store failed");
        match error.kind() {
            StoreErrorKind::Unavailable | StoreErrorKind::TimedOut => {
                Self::new(Kind::Unavailable).retry_after(OUTAGE_RETRY_SECONDS)
            }
            StoreErrorKind::ReadOnly | StoreErrorKind::StorageFull => {
                Self::new(Kind::ReadOnly).retry_after(OUTAGE_RETRY_SECONDS)
            }
            StoreErrorKind::Internal => Self::new(Kind::Internal),
        }
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Store(error) => error.into(),
            AuthenticateError::ProviderUnavailable => {
                tracing::error!("an identity provider's keys cannot be had; its tokens cannot be checked");
                Self::new(Kind::Unavailable).retry_after(OUTAGE_RETRY_SECONDS)
            }
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid(fields) => Self { fields, ..Self::new(Kind::InvalidFields) },
            AuthError::InvalidCredentials => Kind::InvalidCredentials.into(),
            AuthError::AccountDisabled => Kind::AccountDisabled.into(),
            AuthError::SessionEnded | AuthError::TokenReplayed => Kind::SessionEnded.into(),
            AuthError::ExternalSession => Kind::ExternalSession.into(),
            AuthError::SessionCapReached => Kind::SessionCapReached.into(),
            AuthError::RegistrationClosed => Kind::RegistrationClosed.into(),
            AuthError::SharedAccount => Kind::SharedAccount.into(),
            AuthError::EmailTaken => Kind::EmailTaken.into(),
            AuthError::NotFound => Kind::NotFound.into(),
            AuthError::LastAdministrator => Kind::LastAdministrator.into(),
            AuthError::Busy { retry_after } => Self::new(Kind::Busy)
                .retry_after(retry_after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
            AuthError::Hashing(cause) => {
                tracing::error!(error = &cause as &dyn std::error::Error, "password hashing failed");
                Kind::Internal.into()
            }
            AuthError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.rendered().map(axum::body::Body::from)
    }
}

impl Problem {
    /// The answer, with its body as a whole.
    pub(crate) fn rendered(self) -> http::Response<Bytes> {
        let mut response = http::Response::new(Bytes::from(self.body()));
        *response.status_mut() = self.kind.status();
        if self.is_overload {
            response.extensions_mut().insert(Overload);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind.status() == StatusCode::UNAUTHORIZED {
            let challenge = match self.kind {
                Kind::Unauthenticated | Kind::InvalidCredentials | Kind::InvalidSignature => {
                    r#"Bearer realm="phoenix""#
                }
                _ => r#"Bearer realm="phoenix", error="invalid_token""#,
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(notice) = self.limit {
            notice.told.put(headers);
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
impl Problem {
    /// A refusal of a limit.
    pub(crate) fn quota_exceeded_for_tests() -> Self {
        Self::new(Kind::QuotaExceeded).retry_after(7)
    }
}

/// A time as people say it.
fn in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..=119 => (seconds, "second"),
        120..=7_199 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3_600), "hour"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Reference of all problems, in Markdown: `docs/errors.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = String::from(
        "# Errors\n\nGenerated by `cargo xtask regen`. Every error is `application/problem+json` (RFC 9457) with \
         `success: false`, `error`, `type` (`urn:phoenix:problem:<code>`), `title`, `status`, `code`, and where it helps \
         `detail` and `errors` (a list of `field` and `reason`). 429 and 503 carry `Retry-After`, 401 `WWW-Authenticate`.\n\n\
         429 has the `type` `https://iana.org/assignments/http-problem-types#quota-exceeded` and the member \
         `violated-policies`, a list of the names of the limits that are exceeded.\n\n\
         | status | code | meaning |\n|--:|---|---|\n",
    );
    let mut kinds = Kind::ALL.to_vec();
    kinds.sort_by_key(|kind| (kind.status().as_u16(), kind.code()));
    for kind in kinds {
        let line = format!("| {} | `{}` | {} |\n", kind.status().as_u16(), kind.code(), kind.title());
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn outages_are_503_with_retry_after_and_defects_500() {
        for kind in [
            StoreErrorKind::Unavailable,
            StoreErrorKind::TimedOut,
            StoreErrorKind::ReadOnly,
            StoreErrorKind::StorageFull,
        ] {
            let response = Problem::from(StoreError::new("test", kind, "cause")).into_response();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key(RETRY_AFTER));
        }
        let defect = StoreError::new("test", StoreErrorKind::Internal, "a secret cause");
        let problem = Problem::from(defect);
        assert_eq!(problem.kind().status(), 500);
        assert!(!String::from_utf8_lossy(&problem.body()).contains("secret"));
    }
}
