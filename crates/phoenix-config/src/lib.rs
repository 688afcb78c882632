//! The configuration of Phoenix: the only reader of the environment and of configuration files.
//!
//! Owns: finding and reading `phoenix.toml`, the environment, command-line overrides and files that hold a
//! secret; turning them into a [`Config`] of validated types; explaining what is wrong; and the generated
//! references. Every setting is defined once, in `settings.rs`.
//!
//! Does not own: what the settings mean. It opens no socket, connects to nothing, and knows no other crate.

mod checks;
mod config;
mod docs;
mod effective;
mod environment;
mod error;
mod file;
mod kinds;
mod loader;
mod secret_file;
mod setting;
mod settings;
mod sources;
mod suggest;
mod supervisor;
mod values;

pub use config::{Config, Stack};
pub use docs::{example_toml, json_schema, reference_markdown};
pub use effective::{Effective, EffectiveSetting};
pub use error::{ConfigError, ConfigErrors, Source};
pub use kinds::{HIDDEN, duration_text};
pub use loader::{Loaded, load};
pub use setting::Literal;
pub use settings::{
    Accounts, Cache, Data, Database, ForwardAuth, Gateway, Geo, Identity, Limits, Log, Password, Redis,
    Secrets, Server, Session, Tls,
};
pub use sources::{FileSource, Sources};
pub use supervisor::Supervisor;
pub use values::{
    AmbiguousPaths, ByteSize, CertificateFiles, DatabaseUrl, EmailAddress, Environment, ForwardAuthMode,
    ForwardedHeader, GatewayRoute, GatewayUpstream, HeaderEdits, HttpMethod, LimitClass, LimitCount,
    LimitKey, LimitRoute, LimitWindow, LogFormat, NetworkLimit, OidcIssuer, Origin, PageUrl, ProjectId,
    ProxyProtocol, Reaction, RedisUrl, Registration, RoleTimeouts, RouteAuth, RouteClass, RouteCors, Scheme,
    Secret, SessionCapPolicy, SignatureAlgorithm, TlsVersion, UpstreamProtocol, WorkerCount,
};
