//! Passes requests on to the applications behind Phoenix and their answers back, as a stream in both directions.
//!
//! Owns connections to applications, which of an application's servers answers, what a message loses and gains on the
//! way (`hygiene`, `framing`), upgrades, and how servers do. Knows nothing of routes, sessions and error bodies.
//!
//! A connection of HTTP/1.1 has no task of its own: whoever waits for the answer, or reads its body, drives it. So an
//! exchange costs no switch between tasks, and dropping its future or its body closes it at once.

mod body;
mod config;
mod connect;
mod failure;
mod forward;
mod framing;
pub mod h1;
mod h2;
mod health;
pub mod hygiene;
mod outbound;
mod pace;
mod pause;
mod pool;
mod request_body;
mod server;
mod stalls;
mod tunnel;
mod upgrade;
mod upstream;

pub use self::body::{AnswerBody, AnswerError};
pub use self::config::{ConfigError, HealthCheck, Parts, Protocol, ServerOrigin, UpstreamConfig};
pub use self::failure::Failure;
pub use self::forward::{Options, Proxy};
pub use self::framing::{FramingError, check_framing};
pub use self::server::ServerReport;
