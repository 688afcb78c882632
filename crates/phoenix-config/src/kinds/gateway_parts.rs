//! The parts that settings of the gateway have in common: bounds, and values of one kind.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Bytes, Choice, FilePath, Integer, List, Span, Text, WebOrigin, text};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{ByteSize, HttpMethod, Origin, RouteCors, UpstreamProtocol},
};

/// The upstream that `gateway.upstream` describes.
pub(super) const DEFAULT: &str = "default";
/// Longest name of an upstream, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 32;

/// Servers of one upstream.
pub(crate) const SERVERS: List<WebOrigin> = List { of: WebOrigin, max: 32 };
/// Largest body of a request. Zero is none at all.
pub(crate) const MAX_BODY: Bytes = Bytes { min: ByteSize::from_kib(0), max: ByteSize::from_gib(1024) };
/// Time to the head of an answer.
pub(crate) const DEADLINE: Span = Span { min: Duration::from_millis(100), max: Duration::from_hours(1) };
/// Pauses within bodies and tunnels.
pub(crate) const IDLE: Span = Span { min: Duration::from_secs(1), max: Duration::from_hours(24) };
/// Time to open a connection.
pub(crate) const CONNECT: Span = Span { min: Duration::from_millis(10), max: Duration::from_mins(1) };
/// What is spoken.
pub(crate) const PROTOCOL: Choice<UpstreamProtocol> = Choice::NEW;
/// Requests at once to one server.
pub(crate) const MAX_CONNECTIONS: Integer<usize> = Integer { min: 1, max: 65_535 };
/// Pauses between questions whether a server is up.
pub(crate) const HEALTH_INTERVAL: Span =
    Span { min: Duration::from_millis(100), max: Duration::from_mins(10) };
/// Audience of assertions.
pub(crate) const AUDIENCE: Text =
    Text { max_bytes: 256, what: "the name of the application, such as \"app\"" };
/// Certificates of authorities.
pub(crate) const CA_FILE: FilePath = FilePath { example: "/etc/phoenix/upstream-ca.pem" };

/// A path that servers are asked for, with a query if it has one.
pub(crate) struct HealthPath;

impl HealthPath {
    const MAX_BYTES: usize = 256;
}

impl Kind<String> for HealthPath {
    fn parse(&self, raw: &Raw<'_>) -> Result<String, Refusal> {
        let text = text(raw)?;
        if !text.starts_with('/') {
            return Err(Refusal::because("a path begins with \"/\""));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Refusal::because(format!("it is longer than {} bytes", Self::MAX_BYTES)));
        }
        let is_allowed = |b: u8| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b);
        if !text.bytes().all(is_allowed) {
            return Err(Refusal::because("it holds a character that no path has; write it as %XX"));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::Text(value.clone()))
    }

    fn describe(&self) -> String {
        "a path, such as \"/healthz\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^/[!-~]*$", "maxLength": Self::MAX_BYTES})
    }

    fn example(&self) -> Literal {
        Literal::Text("/healthz".to_owned())
    }
}

/// A method as it is sent, in capitals: with small letters it is another one (RFC 9110 section 9.1).
pub(super) struct Method;

impl Method {
    const ANY_CASE: Choice<HttpMethod> = Choice::NEW;
}

impl Kind<HttpMethod> for Method {
    fn parse(&self, raw: &Raw<'_>) -> Result<HttpMethod, Refusal> {
        let method = Self::ANY_CASE.parse(raw)?;
        match raw.as_text() {
            Some(text) if text != method.as_str() => Err(Refusal::because("methods are written in capitals")
                .remedy(format!("write \"{}\"", method.as_str()))),
            Some(_) | None => Ok(method),
        }
    }

    fn show(&self, value: &HttpMethod) -> Option<Literal> {
        Self::ANY_CASE.show(value)
    }

    fn describe(&self) -> String {
        Self::ANY_CASE.describe()
    }

    fn schema(&self) -> Json {
        Self::ANY_CASE.schema()
    }
}

/// `"application"`, or origins.
pub(super) struct Cors;

impl Cors {
    const APPLICATION: &'static str = "application";
    const ORIGINS: List<WebOrigin> = List { of: WebOrigin, max: 64 };
}

impl Kind<RouteCors> for Cors {
    fn parse(&self, raw: &Raw<'_>) -> Result<RouteCors, Refusal> {
        match raw.as_text() {
            Some(Self::APPLICATION) => Ok(RouteCors::Application),
            Some(_) => Err(Refusal::because("it is neither \"application\" nor a list of origins")),
            None => {
                let origins: Result<Vec<Origin>, Refusal> = Self::ORIGINS.parse(raw);
                origins.map(RouteCors::Origins)
            }
        }
    }

    fn show(&self, value: &RouteCors) -> Option<Literal> {
        match value {
            RouteCors::Unstated => None,
            RouteCors::Application => Some(Literal::Text(Self::APPLICATION.to_owned())),
            RouteCors::Origins(origins) => Self::ORIGINS.show(origins),
        }
    }

    fn describe(&self) -> String {
        format!("\"{}\", or {}", Self::APPLICATION, Self::ORIGINS.describe())
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [{"const": Self::APPLICATION}, Self::ORIGINS.schema()]})
    }
}

/// Whether a text can be the name of an upstream.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// A field of a table that is shown, where it is.
pub(super) type Shown = (&'static str, Option<Literal>);

/// A table of the fields that are.
pub(super) fn table(fields: impl IntoIterator<Item = Shown>) -> Literal {
    let field = |(name, value): Shown| value.map(|value| (name.to_owned(), value));
    Literal::Table(fields.into_iter().filter_map(field).collect())
}
