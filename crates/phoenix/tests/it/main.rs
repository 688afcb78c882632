//! End to end, at the boundary of the system: real databases, real sockets, the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod forward_auth;
mod http;
mod process;
mod smuggling;
mod wire;
