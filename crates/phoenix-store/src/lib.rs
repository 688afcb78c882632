//! The ports of `phoenix-auth` on real databases: PostgreSQL ([`postgres`]) and the embedded SQLite ([`sqlite`]).
//!
//! Owns the SQL, the schema and its migrations, connections, timeouts and retries. Does not own what a session or
//! an account means (`phoenix-auth`), the clock, or randomness; starts no background task that it was not given
//! a tracker for.

mod blocks;
pub mod bus;
mod columns;
mod connect_error;
mod decode;
mod health;
mod instance;
mod latest;
pub mod migrate;
pub mod postgres;
pub mod redis;
pub mod sqlite;
mod statements;
mod stopwatch;
pub mod tiers;
pub mod tls;

pub use connect_error::{Cause, ConnectError};
pub use health::{Health, StoreStatus};
pub use instance::{FingerprintCheck, InstanceStore};
pub use statements::StatementStats;
