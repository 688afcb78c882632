//! What every test here stands on: a [`Site`] is one database with one configuration and one clock, a [`Node`] is an
//! application serving it on a socket, a [`Browser`] is a client that keeps its cookie.

mod browser;
mod clock;
pub(super) mod device;
mod node;
mod place;
mod site;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::time::Duration;

use phoenix_testkit::http::Response;
use phoenix_testkit::redis::Redis;
use serde_json::Value;

pub(super) use browser::Browser;
pub(super) use clock::ManualClock;
pub(super) use node::Node;
pub(super) use site::{Backend, Site};

/// Where the caller is told who they are.
pub(super) const ME: &str = "/api/auth/me";
/// A password that meets the rules.
pub(super) const PASSWORD: &str = "violet anchor gravel 42";
/// The first administrator of every site.
pub(super) const ADMIN: &str = "root@example.com";
/// Longest wait for anything that should happen soon.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Runs the scenario on every backend, all at once.
pub(super) fn on_every_backend(scenario: impl AsyncFn(Backend)) -> impl Future<Output = ()> {
    Box::pin(async move {
        tokio::join!(
            named(Backend::Sqlite, Box::pin(scenario(Backend::Sqlite))),
            named(Backend::Postgres, Box::pin(scenario(Backend::Postgres))),
            named(Backend::PostgresAndRedis, Box::pin(scenario(Backend::PostgresAndRedis))),
        );
    })
}

/// Runs the scenario on the backends that several nodes can share.
pub(super) fn on_every_shared_backend(scenario: impl AsyncFn(Backend)) -> impl Future<Output = ()> {
    Box::pin(async move {
        tokio::join!(
            named(Backend::Postgres, Box::pin(scenario(Backend::Postgres))),
            named(Backend::PostgresAndRedis, Box::pin(scenario(Backend::PostgresAndRedis))),
        );
    })
}

/// Says on which backend a scenario failed.
async fn named(backend: Backend, mut scenario: impl Future<Output = ()> + Unpin) {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| pin!(&mut scenario).poll(context))) {
        Ok(poll) => poll,
        Err(panic) => {
            let _ = writeln!(std::io::stderr(), "failed on {backend:?}");
            resume_unwind(panic)
        }
    })
    .await;
}

/// Sessions that this Redis holds. It holds what is counted for limits, too.
pub(super) fn sessions_in(redis: &Redis) -> usize {
    let count = "return #redis.call('KEYS', 'phoenix:s*')";
    let reply = redis.command(&["EVAL", count, "0"]).unwrap();
    reply.strip_prefix(':').unwrap().parse().unwrap()
}

/// The answer is this problem, told as every problem is. Returns its body.
#[track_caller]
pub(super) fn assert_problem(response: &Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.headers.contains_key("www-authenticate"), status == 401);
    assert_eq!(response.headers.contains_key("retry-after"), matches!(status, 429 | 503));
    let body = response.json();
    assert_eq!(body["code"], code, "{body}");
    let kind = match code {
        "quota-exceeded" => "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned(),
        _ => format!("urn:phoenix:problem:{code}"),
    };
    assert_eq!(body["type"], kind);
    assert_eq!(body["success"], false);
    assert_eq!(body["status"], status);
    assert_eq!(body["error"], body["title"]);
    body
}

/// The headers of every answer of ours (`M12`, `A13`), in their forms.
#[track_caller]
pub(super) fn assert_marked(response: &Response) {
    assert_traced(response);
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

/// The headers that tell of the way of every answer (`M12`), also of an application's, each once and in its form.
#[track_caller]
pub(super) fn assert_traced(response: &Response) {
    for name in [
        "x-response-time",
        "x-request-id",
        "x-auth-time",
        "x-cache-hit",
        "x-phoenix-version",
        "x-system-status",
    ] {
        assert_eq!(response.headers.get_all(name).iter().count(), 1, "{name}: {response:?}");
    }
    let header = |name: &str| response.header(name).unwrap_or_else(|| panic!("{name} is missing")).to_owned();
    for name in ["x-response-time", "x-total-time", "x-auth-time"] {
        let value = header(name);
        let (whole, decimals) = value.strip_suffix("ms").and_then(|number| number.split_once('.')).unwrap();
        assert!(whole.parse::<u64>().is_ok() && decimals.len() == 3, "{name}: {value}");
        assert!(decimals.parse::<u64>().is_ok(), "{name}: {value}");
    }
    let id = header("x-request-id");
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(["none", "l1", "l2", "l3"].contains(&header("x-cache-hit").as_str()));
    assert!(["ok", "degraded"].contains(&header("x-system-status").as_str()));
    assert_eq!(header("x-phoenix-version"), phoenix::VERSION);
}
