//! What tests and benchmarks of Phoenix stand on: real PostgreSQL, Redis and `phoenix` processes on free ports,
//! a TCP proxy that fails on command, a fake of the Stack Auth server, a fake application, a small HTTP client, and
//! bounded waiting. It is never part of the product.
//!
//! Two promises hold for everything that starts a process here:
//! nothing is left behind however the test process ends (see `guardian`), and no call waits without a bound.
#![expect(
    clippy::disallowed_methods,
    reason = "the test kit owns real processes and sockets, so it reads the clock and waits; every wait has a bound"
)]
#![expect(clippy::panic, reason = "here a panic is how a test fails; each says what was expected")]
#![expect(clippy::missing_panics_doc, reason = "here a panic is how a test fails; each carries its reason")]

pub mod certificates;
mod guardian;
pub mod http;
pub mod memory;
pub mod mmdb;
pub mod port;
pub mod postgres;
pub mod process;
mod process_table;
pub mod programs;
pub mod proxy;
pub mod redis;
mod runtime;
pub mod stack_auth;
pub mod upstream;
pub mod wait;
