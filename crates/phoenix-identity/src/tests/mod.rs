//! Tests of the whole, on a provider without a network. The network itself is tested in `loopback.rs`.

mod api;
mod cache;
mod keys;
mod loopback;
mod mutation;
mod oidc;
mod provider;
mod stack;
mod webhook;
