//! HTTPS with a real process: handshakes, certificates that change or cannot be used, administrators' certificates,
//! and the port that sends plain HTTP on.

mod administrators;
mod gateway;
mod handshake;
mod redirect;
mod refused;
mod reload;
mod support;
