//! What all services made by one layer have in common. Sees no request.

use std::sync::Arc;

use tower_layer::Layer;

use super::service::RateLimit;
use crate::{Memory, Rule};

/// Limits requests to all services it is put around, together.
pub struct RateLimitLayer<K, C, R> {
    policy: Arc<Policy<K, C, R>>,
}

/// Who is limited how.
pub(super) struct Policy<K, C, R> {
    pub(super) memory: Arc<Memory>,
    pub(super) rule: Rule,
    pub(super) key: K,
    pub(super) clock: C,
    pub(super) respond: R,
}

impl<K, C, R> RateLimitLayer<K, C, R> {
    /// `key` is `Fn(&Request<B>) -> Key` and says who asks, `clock` is `Fn() -> Duration` and gives the time since a fixed
    /// origin, `respond` is `Fn(&Decision) -> Response<B>` and makes the answer to a request that is refused.
    pub fn new(memory: Arc<Memory>, rule: Rule, key: K, clock: C, respond: R) -> Self {
        Self { policy: Arc::new(Policy { memory, rule, key, clock, respond }) }
    }
}

impl<K, C, R> Clone for RateLimitLayer<K, C, R> {
    fn clone(&self) -> Self {
        Self { policy: Arc::clone(&self.policy) }
    }
}

impl<K, C, R> std::fmt::Debug for RateLimitLayer<K, C, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitLayer").field("rule", &self.policy.rule).finish_non_exhaustive()
    }
}

impl<S, K, C, R> Layer<S> for RateLimitLayer<K, C, R> {
    type Service = RateLimit<S, K, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, Arc::clone(&self.policy))
    }
}
