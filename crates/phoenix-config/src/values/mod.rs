//! The validated types that a [`crate::Config`] is made of. Each can only be built from a valid value, except the
//! entries of lists, whose parts are open: these are valid when they come from a [`crate::Config`].
//!
//! Does not own how a value is spelled in a file or in the environment (that is `kinds/`), except where the
//! text is the value: origins, URLs, identifiers.

mod byte_size;
mod choices;
mod entries;
mod gateway;
mod identifiers;
mod limits;
mod origin;
mod page_url;
mod secret;
mod server_url;
mod worker_count;

pub use byte_size::ByteSize;
pub(crate) use choices::Choices;
pub use choices::{
    Environment, ForwardAuthMode, ForwardedHeader, LogFormat, ProxyProtocol, Reaction, Registration,
    SessionCapPolicy, TlsVersion,
};
pub use entries::{CertificateFiles, OidcIssuer, RoleTimeouts, SignatureAlgorithm};
pub use gateway::{
    AmbiguousPaths, GatewayRoute, GatewayUpstream, HeaderEdits, RouteAuth, RouteClass, RouteCors,
    UpstreamProtocol,
};
pub use identifiers::{EmailAddress, ProjectId};
pub use limits::{HttpMethod, LimitClass, LimitCount, LimitKey, LimitRoute, LimitWindow, NetworkLimit};
pub use origin::{Origin, Scheme};
pub use page_url::PageUrl;
pub(crate) use secret::REDACTED;
pub use secret::Secret;
pub use server_url::{DatabaseUrl, RedisUrl};
pub use worker_count::WorkerCount;
