//! Keys that come and go, on a Phoenix that tests answer for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use phoenix_client::{Fetch, FetchError, Fetching, Identity, JwksCache, VerifyError};

use crate::support::{AUDIENCE, ISSUER, Key, NOW, ada, at, jwks};

/// What fetches bring, also those under way.
#[derive(Clone, Default)]
enum Answer {
    /// They wait.
    #[default]
    Nothing,
    Failure,
    Text(Vec<u8>),
}

/// Phoenix, as fetches see it.
#[derive(Clone, Default)]
struct Phoenix(Arc<Mutex<Desk>>);

#[derive(Default)]
struct Desk {
    answer: Answer,
    waiting: Vec<Waker>,
}

impl Phoenix {
    fn answers(&self, answer: Answer) {
        let mut desk = self.0.lock().expect("not poisoned");
        desk.answer = answer;
        desk.waiting.drain(..).for_each(Waker::wake);
    }

    fn has(&self, keys: &[&Key]) {
        self.answers(Answer::Text(jwks(keys)));
    }
}

impl Fetch for Phoenix {
    fn fetch(&self) -> Fetching {
        let phoenix = self.clone();
        Box::pin(poll_fn(move |context| {
            let mut desk = phoenix.0.lock().expect("not poisoned");
            match desk.answer.clone() {
                Answer::Nothing => {
                    desk.waiting.push(context.waker().clone());
                    Poll::Pending
                }
                Answer::Failure => Poll::Ready(Err(FetchError::Status(503))),
                Answer::Text(text) => Poll::Ready(Ok(text)),
            }
        }))
    }
}

fn cache() -> (Phoenix, JwksCache) {
    let phoenix = Phoenix::default();
    let cache = JwksCache::new(phoenix.clone(), AUDIENCE, ISSUER);
    (phoenix, cache)
}

fn token(key: &Key, now: u64) -> String {
    let mut claims = ada();
    claims["iat"] = now.into();
    claims["exp"] = (now + 60).into();
    key.token(&claims)
}

/// The verdict of a future that must not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    let output = match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    };
    output.expect("it need not wait")
}

fn verify(cache: &JwksCache, key: &Key, now: u64) -> Result<Identity, VerifyError> {
    at_once(cache.verify(&token(key, now), at(now)))
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Identity, VerifyError>> + 'a>>;

/// A request that waits for keys.
fn waiting<'a>(cache: &'a JwksCache, token: &'a str, now: u64) -> Waiting<'a> {
    let mut request: Waiting<'a> = Box::pin(cache.verify(token, at(now)));
    let polled = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it does not wait");
    request
}

#[test]
fn one_fetch_serves_all_who_wait_and_those_who_come_later() {
    let (phoenix, cache) = cache();
    let key = Key::new("a");
    let text = token(&key, NOW);
    let mut requests: Vec<Waiting<'_>> = (0..100).map(|_| waiting(&cache, &text, NOW)).collect();
    // Who leaves takes the fetch from nobody.
    drop(requests.remove(0));
    phoenix.has(&[&key]);
    for request in requests {
        assert!(at_once(request).is_ok());
    }
    assert!(verify(&cache, &key, NOW + 239).is_ok());
    assert_eq!(cache.stats().fetches, 1);
    assert_eq!(cache.stats().fetched_at, Some(at(NOW)));
}

#[test]
fn keys_are_fetched_again_beside_the_requests_and_then_before_them() {
    let (phoenix, cache) = cache();
    let (key, next) = (Key::new("a"), Key::new("b"));
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW).is_ok());
    phoenix.answers(Answer::Nothing);
    // Due: a fetch begins, and nobody waits for it.
    for second in [240, 241, 299] {
        assert!(verify(&cache, &key, NOW + second).is_ok());
    }
    assert_eq!(cache.stats().fetches, 2);
    phoenix.has(&[&next]);
    assert!(verify(&cache, &next, NOW + 299).is_ok());
    assert_eq!(cache.stats().fetched_at, Some(at(NOW + 240)));
    // The key that Phoenix took back no longer counts, and Phoenix is asked once more.
    assert_eq!(verify(&cache, &key, NOW + 299), Err(VerifyError::UnknownKey));
    assert_eq!(cache.stats().fetched_at, Some(at(NOW + 299)));
    // Stale: a request waits.
    phoenix.answers(Answer::Nothing);
    let text = token(&next, NOW + 599);
    let request = waiting(&cache, &text, NOW + 599);
    phoenix.has(&[&next]);
    assert!(at_once(request).is_ok());
}

#[test]
fn an_unknown_key_causes_a_fetch_but_not_one_each_time() {
    let (phoenix, cache) = cache();
    let (key, next) = (Key::new("a"), Key::new("b"));
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW).is_ok());
    phoenix.has(&[&key, &next]);
    for second in 0..10 {
        assert_eq!(verify(&cache, &next, NOW + second), Err(VerifyError::UnknownKey));
    }
    assert_eq!(cache.stats().fetches, 1);
    assert!(verify(&cache, &next, NOW + 10).is_ok());
    assert!(verify(&cache, &key, NOW + 10).is_ok());
    let made_up = Key::new("made up");
    for second in 11..20 {
        assert_eq!(verify(&cache, &made_up, NOW + second), Err(VerifyError::UnknownKey));
    }
    assert_eq!(cache.stats().fetches, 2);
}

#[test]
fn junk_causes_no_fetch() {
    let (_phoenix, cache) = cache();
    for junk in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(at_once(cache.verify(junk, at(NOW))).is_err(), "{junk}");
    }
    assert_eq!(cache.stats().fetches, 0);
}

#[test]
fn without_keys_nobody_counts_and_phoenix_is_asked_once_a_second() {
    let (phoenix, cache) = cache();
    let key = Key::new("a");
    phoenix.answers(Answer::Failure);
    for _ in 0..5 {
        assert_eq!(verify(&cache, &key, NOW), Err(VerifyError::KeysUnavailable));
    }
    assert_eq!(cache.stats().fetches, 1);
    phoenix.answers(Answer::Text(b"<html>".to_vec()));
    assert_eq!(verify(&cache, &key, NOW + 1), Err(VerifyError::KeysUnavailable));
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW + 2).is_ok());
    assert_eq!((cache.stats().fetches, cache.stats().failures), (3, 2));
}

#[test]
fn the_last_keys_go_on_for_a_day_while_phoenix_is_away() {
    const DAY: u64 = 24 * 60 * 60;
    let (phoenix, cache) = cache();
    let (key, next) = (Key::new("a"), Key::new("b"));
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW).is_ok());
    phoenix.answers(Answer::Failure);
    for second in [240, 300, 3600, DAY - 1] {
        assert!(verify(&cache, &key, NOW + second).is_ok(), "{second}");
    }
    // Whether this one is made up cannot be known.
    assert_eq!(verify(&cache, &next, NOW + DAY - 1), Err(VerifyError::KeysUnavailable));
    assert_eq!(verify(&cache, &key, NOW + DAY), Err(VerifyError::KeysUnavailable));
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW + DAY + 1).is_ok());
}

#[test]
fn a_clock_that_is_set_back_costs_a_fetch_and_nothing_else() {
    let (phoenix, cache) = cache();
    let key = Key::new("a");
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW).is_ok());
    phoenix.answers(Answer::Failure);
    assert!(verify(&cache, &key, NOW - 3600).is_ok());
    phoenix.has(&[&key]);
    assert!(verify(&cache, &key, NOW - 3599).is_ok());
    assert_eq!(cache.stats().fetched_at, Some(at(NOW - 3599)));
}
