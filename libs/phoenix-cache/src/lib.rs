//! Cache tiers whose entries never outlive their truth by more than a stated time.
//!
#![doc = include_str!("../README.md")]
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use phoenix_cache::{Freshness, Key, Memory, Seq, Tag};
//!
//! let freshness = Freshness::new(Duration::from_secs(2), 1024);
//! let memory = Memory::new(1 << 20, 512);
//! let (key, alice) = (Key::new([7; 32]), Tag(42));
//!
//! // The database was read: nothing is newer than invalidation 10.
//! freshness.renew(Duration::ZERO, &[], Seq(10));
//! let stamp = freshness.applied(); // before the load
//! memory.insert(key, Arc::new("alice"), 64, [alice, alice], stamp, Duration::from_secs(300));
//! assert!(memory.get(&key, Duration::from_secs(1), &freshness).is_some());
//!
//! // Alice's sessions are revoked: the copy no longer counts, at once.
//! freshness.note(Seq(11), alice);
//! assert!(memory.get(&key, Duration::from_secs(1), &freshness).is_none());
//! ```

mod flight;
mod freshness;
mod key;
mod memory;
mod negative;

pub use flight::SingleFlight;
pub use freshness::{Freshness, Seq, Tag};
pub use key::Key;
pub use memory::{Memory, MemoryStats};
pub use negative::Negatives;
