//! Exact sliding-window rate limits, in bounded memory.
//!
#![doc = include_str!("../README.md")]

mod decision;
mod key;
mod limiter;
mod log;
mod memory;
mod room;
mod rule;
#[cfg(feature = "redis")]
mod shared;
mod top;
#[cfg(feature = "tower")]
pub mod tower;

pub use decision::{Decision, Mode, Refusal, Ticket, Verdict};
pub use key::{Key, Keyer};
pub use limiter::{Health, Limiter};
pub use memory::{Cursor, MIN_CAPACITY, Memory, MemoryStats, Own, Page, Share, Stamp};
pub use rule::{MAX_COST, MAX_LIMIT, MAX_SPAN, MAX_WINDOWS, Rule, RuleError, Window};
#[cfg(feature = "redis")]
pub use shared::{
    CHANNEL, LeaseBounds, Link, LinkError, SharedHealth, SharedOptions, SingleServer, Source, nodes_key,
};
pub use top::{Count, MAX_COUNTERS, MAX_LABEL_BYTES, Top};
