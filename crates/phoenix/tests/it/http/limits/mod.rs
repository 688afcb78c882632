//! Rate limits from the outside: who is refused when, and what the answers tell. How admissions are counted is tested
//! where they are (`phoenix-limit`), and what memory alone decides in `phoenix-http`.

mod answers;
mod blocked;
mod classes;
mod look_ups;
mod outage;
mod shared;
mod sign_in;

use std::time::Duration;

use phoenix_testkit::http::Response;
use serde_json::Value;

use super::support::{Backend, Browser, Site};

/// An installation that limits everybody.
fn limited(backend: Backend) -> Site {
    Site::new(backend).with("PHOENIX_LIMITS_EXEMPT", "")
}

/// The same, but 127.0.0.1 is never limited: what an administrator asks there changes nothing.
fn limited_elsewhere(site: Site) -> Site {
    site.with("PHOENIX_LIMITS_EXEMPT", "127.0.0.1")
}

/// What the status says of limits; for the administrator.
async fn rate_limits(admin: &Browser) -> Value {
    admin.clone().status().await["rateLimits"].take()
}

/// Moves time, in steps that the clock allows.
fn advance(site: &Site, seconds: u64) {
    for _ in 0..seconds / 60 {
        site.clock.advance(Duration::from_mins(1));
    }
    site.clock.advance(Duration::from_secs(seconds % 60));
}

/// One header, which must be there.
#[track_caller]
fn header(response: &Response, name: &str) -> String {
    response.header(name).unwrap_or_else(|| panic!("{name} is missing: {response:?}")).to_owned()
}

/// Seconds until the same request is admitted.
#[track_caller]
fn retry_after(response: &Response) -> u64 {
    assert_eq!(response.status, 429, "{}", response.text());
    header(response, "retry-after").parse().unwrap()
}
