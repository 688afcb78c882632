//! The parts of the `phoenix` binary: commands, the composition root, the lifecycle, the listener.
//!
//! Owns what only a process has: the clock, randomness, threads, sockets, signals and exit codes. Does not own any
//! rule about users or sessions, nor any statement or JSON shape.

pub mod app;
mod background;
pub mod cli;
pub mod clock;
mod database;
mod doctor;
pub mod entropy;
mod events;
pub mod gateway;
pub mod geoip;
mod handover;
mod introspect;
mod lease;
pub mod lifecycle;
pub mod limits;
pub mod listener;
mod logging;
mod passwords;
mod providers;
mod reload;
mod serve;
pub mod spoe;
mod status_word;
pub mod tls;
pub mod trust;

/// Version of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
