//! The library from outside: forged tokens, keys that come and go, and handlers of axum.

mod cache;
mod extract;
mod forged;
mod network;
mod support;
