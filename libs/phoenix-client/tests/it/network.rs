//! Keys over a real connection on this machine.

use std::future::Future;

use axum::Router;
use axum::routing::get;
use phoenix_client::{Identity, JwksCache, VerifyError};
use tokio::net::TcpListener;

use crate::support::{AUDIENCE, ISSUER, Key, NOW, ada, at, jwks};

/// Runs `client` with the origin of a server that answers with `app`.
async fn with_server<F: Future>(app: Router, client: impl FnOnce(String) -> F) -> F::Output {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let server = async { axum::serve(listener, app).await };
    tokio::select! {
        ended = server => panic!("the server ended: {ended:?}"),
        output = client(origin) => output,
    }
}

async fn verify(origin: String, token: String) -> Result<Identity, VerifyError> {
    let cache = JwksCache::of_phoenix(&origin, AUDIENCE, ISSUER).expect("an origin");
    cache.verify(&token, at(NOW)).await
}

/// The verdict about a token that is right, with a Phoenix that answers so.
async fn verdict(answer: impl FnOnce(Vec<u8>) -> Router) -> Result<Identity, VerifyError> {
    let key = Key::new("a");
    let token = key.token(&ada());
    with_server(answer(jwks(&[&key])), |origin| verify(origin, token)).await
}

const PATH: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn keys_are_fetched_from_where_phoenix_publishes_them() {
    let caller = verdict(|keys| Router::new().route(PATH, get(move || async move { keys }))).await;
    assert_eq!(caller.expect("it counts").email.as_deref(), Some("ada@example.com"));
}

#[tokio::test]
async fn answers_that_are_no_keys_are_not_taken_for_keys() {
    let unavailable = Err(VerifyError::KeysUnavailable);
    assert_eq!(verdict(|_| Router::new()).await, unavailable);
    let redirect = verdict(|keys| {
        let moved = get(|| async { (http::StatusCode::FOUND, [("location", "/elsewhere")]) });
        Router::new().route(PATH, moved).route("/elsewhere", get(move || async move { keys }))
    });
    assert_eq!(redirect.await, unavailable);
    let endless = verdict(|mut keys| {
        keys.resize(phoenix_client::MAX_JWKS_BYTES + 1, b' ');
        Router::new().route(PATH, get(move || async move { keys }))
    });
    assert_eq!(endless.await, unavailable);
}

#[tokio::test]
async fn a_phoenix_that_is_not_there_or_never_answers_is_given_up() {
    let key = Key::new("a");
    // Bound and let go, so that nobody listens.
    let free =
        TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    let verdict = verify(format!("http://{free}"), key.token(&ada())).await;
    assert_eq!(verdict, Err(VerifyError::KeysUnavailable));
    // Accepts by the kernel alone, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", silent.local_addr().expect("an address"));
    assert_eq!(verify(origin, key.token(&ada())).await, Err(VerifyError::KeysUnavailable));
}
