//! The proxy between real sockets: a hyper server in front, the test kit's application behind.
#![expect(clippy::disallowed_methods, reason = "tests own their sockets and tasks; every wait has a bound")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod balance;
mod bodies;
mod failures;
mod frames;
mod framing;
mod gateway;
mod headers;
mod http2;
mod hygiene_model;
mod tls;
mod upgrades;
