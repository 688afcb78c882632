//! A layer that limits HTTP requests: who asks, what is allowed, what time it is and what a refusal looks like are given
//! by whoever uses it. Decides nothing itself. It has no errors of its own: a refusal is a response.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use http::{Request, Response, StatusCode};
//! use phoenix_limit::tower::RateLimitLayer;
//! use phoenix_limit::{Decision, Keyer, Memory, Rule, Window};
//!
//! let window = Window { limit: 100, span: Duration::from_secs(60) };
//! let rule = Rule::new(&[window], None).expect("a rule that can work");
//! let (keyer, start) = (Keyer::new([7; 16]), Instant::now());
//! let layer = RateLimitLayer::new(
//!     Arc::new(Memory::new(64 << 20)),
//!     rule,
//!     move |request: &Request<String>| keyer.key("path", &[request.uri().path().as_bytes()], b""),
//!     move || start.elapsed(),
//!     |decision: &Decision| {
//!         let seconds = decision.retry_after.as_nanos().div_ceil(1_000_000_000);
//!         Response::builder()
//!             .status(StatusCode::TOO_MANY_REQUESTS)
//!             .header("retry-after", seconds.to_string())
//!             .body(String::new())
//!             .expect("a valid response")
//!     },
//! );
//! # let _ = layer;
//! ```

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::RateLimitLayer;
pub use service::RateLimit;
