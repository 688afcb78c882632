//! The fake of Stack Auth, held against the wire reference. Tokens are checked here with code of its own, from the
//! published keys, and never with the fake's.

mod cookies;
mod faults;
mod jwks;
mod requests;
mod sessions;
mod sign_in;
mod tokens;
mod users;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use phoenix_testkit::http::{Call, Client, Response};
use phoenix_testkit::stack_auth::{FakeStackAuth, Options};
use serde_json::Value;

/// The time at which every test begins, unix seconds.
const NOW: i64 = 1_800_000_000;

/// Headers or fields of a form.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A fake whose clock the test moves.
struct Fixture {
    fake: FakeStackAuth,
    client: Client,
    now: Arc<AtomicI64>,
}

impl Fixture {
    fn new() -> Result<Self> {
        let now = Arc::new(AtomicI64::new(NOW));
        let read = Arc::clone(&now);
        let fake = Options::default().clock(move || read.load(Ordering::SeqCst)).start()?;
        let client = Client::new(fake.addr());
        Ok(Self { fake, client, now })
    }

    fn advance(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A call without any credentials.
    fn bare(&self, method: Method, path: &str) -> Call<'_> {
        self.client.request(method, &format!("/api/v1{path}"))
    }

    /// A call of access type client.
    fn as_client(&self, method: Method, path: &str) -> Call<'_> {
        self.bare(method, path)
            .header("x-stack-access-type", "client")
            .header("x-stack-project-id", self.fake.project_id())
    }

    /// A call of access type server with the right key.
    fn as_server(&self, method: Method, path: &str) -> Call<'_> {
        self.bare(method, path)
            .header("x-stack-access-type", "server")
            .header("x-stack-project-id", self.fake.project_id())
            .header("x-stack-secret-server-key", &self.fake.project().secret_server_key)
    }

    async fn me(&self, access_token: &str) -> Result<Response> {
        self.as_client(Method::GET, "/users/me").header("x-stack-access-token", access_token).send().await
    }

    async fn jwks(&self, query: &str) -> Result<Response> {
        let path = format!("/projects/{}/.well-known/jwks.json{query}", self.fake.project_id());
        self.bare(Method::GET, &path).send().await
    }

    /// The published keys of all types.
    async fn keys(&self) -> Result<Vec<Value>> {
        let body = self.jwks("?include_anonymous=true").await?.json();
        Ok(body["keys"].as_array().context("keys")?.clone())
    }
}

/// Status and known error of a response; the body and both headers must name the same.
#[track_caller]
fn error(response: &Response) -> (u16, String) {
    let body = response.json();
    let code = body["code"].as_str().expect("a code in the body").to_owned();
    assert!(body["error"].is_string(), "{body}");
    assert_eq!(response.header("x-stack-known-error"), Some(code.as_str()));
    assert_eq!(response.header("x-hexclave-known-error"), Some(code.as_str()));
    (response.status.as_u16(), code)
}

fn known(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn decode(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).with_context(|| format!("{part} is no base64url"))
}

/// Header and claims of a token, unchecked.
fn read(token: &str) -> Result<(Value, Value)> {
    let parts: Vec<&str> = token.split('.').collect();
    anyhow::ensure!(parts.len() == 3, "a token has three parts");
    Ok((serde_json::from_slice(&decode(parts[0])?)?, serde_json::from_slice(&decode(parts[1])?)?))
}

/// Whether one of these JWKs has the token's key id, and verifies its signature as ES256.
fn verifies(token: &str, keys: &[Value]) -> Result<bool> {
    let (header, _) = read(token)?;
    let Some(key) = keys.iter().find(|key| key["kid"] == header["kid"]) else { return Ok(false) };
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = decode(key[name].as_str().context("a coordinate")?)?;
        point.extend(vec![0; 32 - coordinate.len()]);
        point.extend(coordinate);
    }
    let (input, signature) = token.rsplit_once('.').context("a signature")?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    Ok(header["alg"] == "ES256" && key.verify(input.as_bytes(), &decode(signature)?).is_ok())
}
