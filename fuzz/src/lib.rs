//! Fuzz targets: what reads bytes of strangers, and what must hold of it for any bytes at all.
//!
//! Owns the properties, each target in a file of its own name. Knows nothing of the engine: `main.rs` hands the targets
//! to libFuzzer, and `tests/seeds.rs` runs the seeds through them in every ordinary test run. A property that does not
//! hold panics. `cargo xtask fuzz` builds and runs it all.

mod input;
mod targets;

use targets::{
    answer, bus, client_ip, config, credentials, envoy, forward_auth, jwt, path, proxy_protocol, spoe, token,
    webhook,
};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its file in `src/targets`, and of its folder in `seeds`, if it has one.
    pub name: &'static str,
    /// Reads the bytes, and panics when a property does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "answer", run: answer::run },
    Target { name: "bus", run: bus::run },
    Target { name: "client_ip", run: client_ip::run },
    Target { name: "config", run: config::run },
    Target { name: "credentials", run: credentials::run },
    Target { name: "envoy", run: envoy::run },
    Target { name: "forward_auth", run: forward_auth::run },
    Target { name: "jwt", run: jwt::run },
    Target { name: "path", run: path::run },
    Target { name: "proxy_protocol", run: proxy_protocol::run },
    Target { name: "spoe", run: spoe::run },
    Target { name: "token", run: token::run },
    Target { name: "webhook", run: webhook::run },
];

/// The target of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
