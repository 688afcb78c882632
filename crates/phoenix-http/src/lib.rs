//! The HTTP surface: the order of the steps of a request, the routes, and every JSON shape.
//!
//! Owns what a client sees. Does not own sockets (the binary), what a session means (`phoenix-auth`), or any store.

pub mod body;
mod client_ip;
mod cookie;
mod credentials;
mod extract;
mod header_values;
mod introspection;
mod json;
pub mod openapi;
mod origin;
pub mod problem;
mod routes;
mod settings;
mod stack;

pub use introspection::{
    DatabaseReport, Introspection, NotReady, PoolReport, RedisReport, StatementReport, StatusReport,
    SystemStatus, TierReport,
};
pub use settings::{HttpParts, HttpSettings, WebOrigin};
pub use stack::{Answer, Peer, Stack};
