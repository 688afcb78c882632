//! The layer: one limit however many services and clones there are, and only services that were polled ready are called.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Ready, ready};
use http::{Request, Response, StatusCode};
use phoenix_limit::tower::RateLimitLayer;
use phoenix_limit::{Decision, Key, Keyer, Memory, Rule, Window};
use tower::{Layer, Service, ServiceExt};

fn rule(limit: u32) -> Rule {
    Rule::new(&[Window { limit, span: Duration::from_mins(1) }], None).expect("it can work")
}

fn key(request: &Request<()>) -> Key {
    Keyer::new([1; 16]).key("path", &[request.uri().path().as_bytes()], b"")
}

fn refusal(decision: &Decision) -> Response<u64> {
    let mut response = Response::new(decision.retry_after.as_secs());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}

/// Answers, if it was polled ready before; a clone was not.
#[derive(Default, Debug)]
struct Inner {
    is_ready: bool,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<Request<()>> for Inner {
    type Response = Response<u64>;
    type Error = Infallible;
    type Future = Ready<Result<Response<u64>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        ready(Ok(Response::new(0)))
    }
}

fn ask<S>(service: S, path: &str) -> Response<u64>
where
    S: Service<Request<()>, Response = Response<u64>, Error = Infallible>,
{
    let request = Request::builder().uri(path).body(()).expect("a request");
    let answer = service.oneshot(request).now_or_never().expect("nothing waits");
    answer.unwrap_or_else(|never| match never {})
}

#[test]
fn services_and_clones_of_one_layer_share_the_limit() {
    let seconds = Arc::new(AtomicU64::new(100));
    let clock = {
        let seconds = Arc::clone(&seconds);
        move || Duration::from_secs(seconds.load(Ordering::Relaxed))
    };
    let layer = RateLimitLayer::new(Arc::new(Memory::new(0)), rule(5), key, clock, refusal);
    let statuses = |path: &str| {
        let services = [layer.layer(Inner::default()), layer.clone().layer(Inner::default())];
        let asked = (0..10).map(|nth| ask(services[nth % 2].clone(), path).status());
        asked.filter(StatusCode::is_success).count()
    };
    assert_eq!(statuses("/a"), 5);
    assert_eq!(statuses("/b"), 5, "another client");
    seconds.fetch_add(59, Ordering::Relaxed);
    let refused = ask(layer.layer(Inner::default()), "/a");
    assert_eq!((refused.status(), *refused.body()), (StatusCode::TOO_MANY_REQUESTS, 1));
    seconds.fetch_add(1, Ordering::Relaxed);
    assert_eq!(statuses("/a"), 5);
}

#[test]
fn a_refused_request_does_not_reach_the_service_and_leaves_it_ready() {
    let clock = || Duration::from_secs(1);
    let layer = RateLimitLayer::new(Arc::new(Memory::new(0)), rule(1), key, clock, refusal);
    let mut service = layer.layer(Inner::default());
    let mut context = Context::from_waker(std::task::Waker::noop());
    let request = |path: &str| Request::builder().uri(path).body(()).expect("a request");
    for (path, status) in [("/a", 200), ("/a", 429), ("/b", 200)] {
        assert!(service.poll_ready(&mut context).is_ready());
        let answer = service.call(request(path)).now_or_never().expect("nothing waits");
        assert_eq!(answer.unwrap_or_else(|never| match never {}).status(), status);
    }
}
