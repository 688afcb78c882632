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
//!
//! A hit that finds its entry close to its end, and an outage:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use phoenix_cache::{Freshness, Key, Lifetime, Memory, RefreshAhead, Seq, Tag};
//!
//! let secs = Duration::from_secs;
//! let freshness = Freshness::new(secs(2), 1024);
//! let memory = Memory::new(1 << 20, 512);
//! let refresh_ahead = RefreshAhead::new(4096);
//! let lifetime = Lifetime::new(secs(30), secs(300));
//! let (key, bob) = (Key::new([8; 32]), Tag(43));
//!
//! freshness.renew(secs(0), &[], Seq(10));
//! let expires_at = secs(0) + lifetime.current();
//! memory.insert(key, Arc::new("bob"), 64, [bob, bob], freshness.applied(), expires_at);
//!
//! let now = secs(295);
//! freshness.renew(now, &[], Seq(10));
//! lifetime.observe(&key, now); // at every look-up, whatever answers it
//! let hit = memory.hit(&key, now, &freshness).expect("it is held");
//! assert!(refresh_ahead.due(&key, now, hit.expires_at, lifetime.current()), "one hit refreshes");
//! assert!(!refresh_ahead.due(&key, now, hit.expires_at, lifetime.current()), "the others do not");
//!
//! // About once a minute. Too little was seen to change anything.
//! assert_eq!(lifetime.adapt(now), None);
//!
//! // Lease and entry have ended, and the truth does not answer.
//! let (now, grace) = (secs(301), secs(10));
//! assert!(memory.get(&key, now, &freshness).is_none());
//! assert!(memory.get_in_grace(&key, now, grace, &freshness).is_some());
//! ```

mod flight;
mod freshness;
mod key;
mod lifetime;
mod memory;
mod negative;
mod refresh;
mod sync;
#[cfg(test)]
mod tests;

pub use flight::SingleFlight;
pub use freshness::{Freshness, Seq, Tag};
pub use key::Key;
pub use lifetime::{Adjustment, Lifetime};
pub use memory::{Hit, Memory, MemoryStats};
pub use negative::Negatives;
pub use refresh::{RefreshAhead, refresh_at};
