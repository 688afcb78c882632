//! Tests of the test kit itself, against the real servers.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests own child processes and measure real time, with bounds"
)]

mod http;
mod leaves_nothing;
mod postgres;
mod process;
mod proxy;
mod redis;
mod stack_auth;
mod upstream;
mod wait;
