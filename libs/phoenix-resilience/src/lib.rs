//! Circuit breaker for dependencies that fail, and a budget for retries.
//!
#![doc = include_str!("../README.md")]
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use phoenix_resilience::{Breaker, BreakerLimits};
//!
//! let breaker = Breaker::new(BreakerLimits {
//!     failures: 2,
//!     min_pause: Duration::from_millis(100),
//!     max_pause: Duration::from_secs(5),
//! });
//! let now = Duration::ZERO;
//! for _ in 0..2 {
//!     let call = breaker.admit(now).expect("closed");
//!     call.failed(now);
//! }
//! assert!(breaker.admit(now).is_none(), "open: the dependency is spared");
//! let probe = breaker.admit(now + Duration::from_millis(100)).expect("one probe");
//! probe.succeeded();
//! assert!(breaker.is_closed());
//! ```

mod breaker;
mod budget;

pub use breaker::{Breaker, BreakerLimits, Call};
pub use budget::RetryBudget;
