//! One file for each target. The first line of each says what is read; `cargo xtask fuzz` shows it.

pub(crate) mod answer;
pub(crate) mod bus;
pub(crate) mod client_ip;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod envoy;
pub(crate) mod forward_auth;
pub(crate) mod jwt;
pub(crate) mod path;
pub(crate) mod proxy_protocol;
pub(crate) mod spoe;
pub(crate) mod token;
pub(crate) mod webhook;
