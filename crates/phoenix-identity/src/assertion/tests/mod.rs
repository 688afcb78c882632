//! Tests of assertions as applications see them.

mod client;
mod files;
mod rotation;
mod tokens;
mod verifier;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::{AssertionKeys, AssertionMint, AssertionSubject};

const WEEK: Duration = Duration::from_hours(24 * 7);
const MINUTE: Duration = Duration::from_mins(1);

/// A moment in November 2026, well within an epoch of a week.
const NOW: u64 = 1_795_392_000;

fn at(unix_seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

fn derived(rotation: Duration) -> AssertionKeys {
    AssertionKeys::derived([7; 32], rotation).expect("keys")
}

fn mint() -> AssertionMint {
    AssertionMint::new(derived(WEEK), "https://app.example", MINUTE, at(NOW)).expect("a mint")
}

fn ada(session: u128) -> AssertionSubject<'static> {
    AssertionSubject {
        user: Uuid::from_u128(1),
        session: Uuid::from_u128(session),
        email: Some("ada@example.com"),
        email_verified: true,
        role: "user",
    }
}

/// The token for `subject`, as text.
fn token(mint: &AssertionMint, subject: &AssertionSubject<'_>, audience: &str, now: u64) -> String {
    let value = mint.assertion(subject, audience, at(now)).expect("an assertion").value;
    value.to_str().expect("ASCII").to_owned()
}
