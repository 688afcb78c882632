//! A service that asks before it passes a request on. Keeps nothing: clones and siblings share one limit.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Policy;
use crate::{Decision, Key, Mode};

/// Passes requests on that are admitted, and answers the others.
pub struct RateLimit<S, K, C, R> {
    inner: S,
    policy: Arc<Policy<K, C, R>>,
}

impl<S, K, C, R> RateLimit<S, K, C, R> {
    pub(super) const fn new(inner: S, policy: Arc<Policy<K, C, R>>) -> Self {
        Self { inner, policy }
    }
}

impl<S: Clone, K, C, R> Clone for RateLimit<S, K, C, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<S: std::fmt::Debug, K, C, R> std::fmt::Debug for RateLimit<S, K, C, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, K, C, R, A, B> Service<Request<A>> for RateLimit<S, K, C, R>
where
    S: Service<Request<A>, Response = Response<B>>,
    K: Fn(&Request<A>) -> Key,
    C: Fn() -> Duration,
    R: Fn(&Decision) -> Response<B>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    /// When the inner service is. What it reserves then is used by the next request that is admitted.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    /// Calls the very service that was polled ready: a clone might not be.
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let Policy { memory, rule, key, clock, respond } = &*self.policy;
        let decision = memory.decide(key(&request), rule, 1, Mode::Count, clock());
        if decision.is_admitted() {
            ResponseFuture::admitted(self.inner.call(request))
        } else {
            ResponseFuture::refused(respond(&decision))
        }
    }
}
