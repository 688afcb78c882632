//! The HTTP surface: the order of the steps of a request, the routes, and every JSON shape.
//!
//! Owns what a client sees. Does not own sockets (the binary), what a session means (`phoenix-auth`), or any store.

pub mod body;
mod client_ip;
mod cookie;
mod credentials;
mod device;
mod extract;
mod header_values;
mod introspection;
mod json;
mod limit_admin;
pub mod limits;
pub mod openapi;
mod origin;
pub mod problem;
mod provider_tokens;
mod routes;
mod settings;
mod stack;
mod webhooks;

pub use client_ip::{Announced, ClientAddressSettings, ForwardedHeader, Peer};
pub use introspection::{
    ClassReport, DatabaseReport, Introspection, LagReport, LimitStore, NotReady, PoolReport, ProviderReport,
    PushReport, RateLimitReport, RedisReport, RefusedReport, RevocationReport, StatementReport, StatusReport,
    SystemStatus, TierReport,
};
pub use limit_admin::{LimitAdmin, LimitAdminError, LimitSubject, WantedBlock};
pub use settings::{HttpParts, HttpSettings, ProviderCookies, WebOrigin};
pub use stack::{Answer, Stack};
pub use webhooks::{Delivered, Delivery, WebhookError, Webhooks};
