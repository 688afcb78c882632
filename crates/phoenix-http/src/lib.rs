//! The HTTP surface: the order of the steps of a request, the routes, and every JSON shape.
//!
//! Owns what a client sees. Does not own sockets (the binary), what a session means (`phoenix-auth`), or any store.

mod answer;
pub mod body;
mod client_ip;
mod cookie;
mod cors;
mod credentials;
mod device;
mod extract;
mod forward_auth;
pub mod gateway;
mod header_values;
mod introspection;
mod json;
mod limit_admin;
pub mod limits;
pub mod openapi;
mod origin;
pub mod problem;
mod provider_tokens;
mod request_log;
mod routes;
mod settings;
mod stack;
mod steps;
mod template;
mod webhooks;

pub use answer::Answer;
pub use client_ip::{Announced, ClientAddressSettings, ForwardedHeader, Peer, Transport};
pub use forward_auth::{BadHeader, Described, SignIn, append_field};
// What takes apart what strangers send is public for the sake of `fuzz/`.
pub use client_ip::{ClientIp, Source};
pub use cookie::{CookieForm, Found};
pub use credentials::{Carrier, Presented};
pub use forward_auth::{Asks, CallFailure, EnvoyCall, Original};
pub use gateway::ConnectionHold;
pub use introspection::{
    CertificateReport, ClassReport, ClientAuthorityReport, DatabaseReport, Introspection, LagReport,
    LimitStore, NotReady, PoolReport, ProviderReport, PushReport, RateLimitReport, RedisReport,
    RefusedReport, RevocationReport, StatementReport, StatusReport, SystemStatus, TierReport, TlsReport,
};
pub use limit_admin::{LimitAdmin, LimitAdminError, LimitSubject, WantedBlock};
pub use settings::{HttpParts, HttpSettings, ProviderCookies, WebOrigin};
pub use stack::Stack;
pub use template::TemplateError;
pub use webhooks::{Delivered, Delivery, WebhookError, Webhooks};
