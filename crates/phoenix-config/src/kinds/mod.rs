//! How each type of value is written, bounded, shown and described. A kind is a value with its bounds as fields.
//!
//! Does not own where a value comes from (`loader.rs`) or what it means. In a TOML file a number is a number and a
//! boolean is a boolean; places that only hold text are more lenient.

mod boolean;
mod bytes;
mod certificate;
mod choice;
mod duration;
mod gateway_headers;
pub(crate) mod gateway_parts;
mod gateway_routes;
mod gateway_upstreams;
mod integer;
mod issuer;
mod limit_classes;
mod limit_parts;
mod limit_routes;
mod list;
mod network;
mod optional;
mod path;
mod role;
mod secret;
mod socket;
mod tables;
mod text;
mod urls;

pub(crate) use boolean::Boolean;
pub(crate) use bytes::Bytes;
pub(crate) use certificate::CertificatePair;
pub(crate) use choice::Choice;
pub use duration::to_text as duration_text;
pub(crate) use duration::{Milliseconds, Span};
pub use gateway_headers::HIDDEN;
pub(crate) use gateway_routes::GatewayRoutes;
pub(crate) use gateway_upstreams::GatewayUpstreams;
pub(crate) use integer::{Integer, Workers};
pub(crate) use issuer::Issuer;
pub(crate) use limit_classes::LimitClasses;
pub(crate) use limit_routes::LimitRoutes;
pub(crate) use list::List;
pub(crate) use network::{Network, TrustedNetwork};
pub(crate) use optional::Optional;
pub(crate) use path::{Directory, FilePath};
pub(crate) use role::TimesOfRole;
pub(crate) use secret::{SecretText, WebhookSecret};
pub(crate) use socket::SocketAddress;
pub(crate) use text::{Email, Project, Text};
pub(crate) use urls::{Database, Page, RedisServer, WebOrigin};

use crate::setting::{Literal, Raw, Refusal};

/// The text of a value that is a string wherever it comes from. Surrounding spaces are dropped.
fn text<'a>(raw: &Raw<'a>) -> Result<&'a str, Refusal> {
    match raw {
        Raw::Text(text) => Ok(text.trim()),
        Raw::Toml(Literal::Text(text)) => Ok(text.trim()),
        Raw::Toml(_) | Raw::Unsupported(_) => Err(Refusal::wrong_type(raw, "a string")),
    }
}
