//! Handlers of axum.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use http::{Request, Response, StatusCode};
use phoenix_client::{ASSERTION_HEADER, Fetch, FetchError, Fetching, Identity, JwksCache};
use tower::ServiceExt;

use crate::support::{AUDIENCE, ISSUER, Key, ada, jwks};

/// A Phoenix that always has these keys, or is away.
struct Fixed(Option<Vec<u8>>);

impl Fetch for Fixed {
    fn fetch(&self) -> Fetching {
        let answer = self.0.clone().ok_or(FetchError::Timeout);
        Box::pin(async move { answer })
    }
}

async fn required(caller: Identity) -> String {
    caller.email.unwrap_or_default()
}

async fn optional(caller: Option<Identity>) -> String {
    caller.map_or_else(|| "nobody".to_owned(), |caller| caller.email.unwrap_or_default())
}

fn app(keys: Option<Vec<u8>>) -> Router {
    let keys = JwksCache::new(Fixed(keys), AUDIENCE, ISSUER);
    Router::new().route("/required", get(required)).route("/optional", get(optional)).with_state(keys)
}

/// A token that counts now: extractors read the clock themselves.
#[expect(
    clippy::disallowed_methods,
    reason = "extractors read the clock, so what they are shown must be of its time"
)]
fn token(key: &Key) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut claims = ada();
    claims["iat"] = now.into();
    claims["exp"] = (now + 60).into();
    key.token(&claims)
}

async fn call(app: &Router, path: &str, tokens: &[&str]) -> (Response<()>, String) {
    let mut request = Request::builder().uri(path);
    for token in tokens {
        request = request.header(ASSERTION_HEADER, *token);
    }
    let request = request.body(Body::empty()).expect("a request");
    let (head, body) = app.clone().oneshot(request).await.expect("an answer").into_parts();
    let body = to_bytes(body, 4096).await.expect("a body");
    (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn callers_are_told_to_the_handlers_and_others_are_refused() {
    let (key, stranger) = (Key::new("a"), Key::new("a"));
    let app = app(Some(jwks(&[&key])));
    let (right, forged) = (token(&key), token(&stranger));
    let cases: [(&str, &[&str], u16, &str); 8] = [
        ("/required", &[&right], 200, "ada@example.com"),
        ("/optional", &[&right], 200, "ada@example.com"),
        ("/required", &[], 401, "Sign in first"),
        ("/optional", &[], 200, "nobody"),
        ("/required", &[&forged], 401, "does not count"),
        ("/optional", &[&forged], 401, "does not count"),
        ("/required", &[&right, &forged], 401, "does not count"),
        ("/optional", &[""], 401, "does not count"),
    ];
    for (path, tokens, status, words) in cases {
        let (answer, body) = call(&app, path, tokens).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {tokens:?}");
        assert!(body.contains(words), "{path} {tokens:?}: {body}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test]
async fn bodies_are_problems_that_agree_with_their_status() {
    let key = Key::new("a");
    let text = token(&key);
    for (keys, tokens, status) in [
        (Some(jwks(&[&key])), [].as_slice(), StatusCode::UNAUTHORIZED),
        (Some(jwks(&[&key])), &["x"], StatusCode::UNAUTHORIZED),
        (None, &[text.as_str()], StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let (answer, body) = call(&app(keys), "/required", tokens).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers().contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["title"], status.canonical_reason().expect("it has one"));
    }
}

#[tokio::test]
async fn an_outage_never_makes_anybody_nobody() {
    let text = token(&Key::new("a"));
    let app = app(None);
    for path in ["/required", "/optional"] {
        assert_eq!(call(&app, path, &[&text]).await.0.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    // Nothing to judge.
    assert_eq!(call(&app, "/optional", &[]).await.0.status(), StatusCode::OK);
}
