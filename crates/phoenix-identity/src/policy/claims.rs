//! Pieces of claims that all providers share: times (RFC 7519 section 4.1), texts and their bounds.
//!
//! A claim that we read and that is there twice is refused: parsers disagree about which one counts. Claims that we do
//! not read are not looked at.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use crate::refusal::Refusal;

/// Longest subject or session reference, in bytes (OIDC Core 1.0 section 2).
const MAX_ID_BYTES: usize = 255;

/// Seconds since 1970, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate(pub i64);

impl<'de> Deserialize<'de> for NumericDate {
    #[expect(clippy::cast_possible_truncation, reason = "whole, and smaller than 2^53")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A JSON number may have a fraction. Beyond 2^53 it is not exact, and no date.
        let seconds = f64::deserialize(deserializer)?.floor();
        if seconds.abs() < 9_007_199_254_740_992.0 {
            Ok(Self(seconds as i64))
        } else {
            Err(serde::de::Error::custom("not a date"))
        }
    }
}

/// The clock of this verification.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    /// Seconds since 1970.
    pub wall_seconds: i64,
    pub leeway_seconds: i64,
}

impl Now {
    /// Refuses what has expired or is not valid yet. `iat` is no reason: clocks differ, and it says nothing about
    /// validity.
    pub(crate) fn check(self, expires: NumericDate, not_before: Option<NumericDate>) -> Result<(), Refusal> {
        if expires.0 <= self.wall_seconds.saturating_sub(self.leeway_seconds) {
            return Err(Refusal::Expired);
        }
        if not_before.is_some_and(|date| date.0 > self.wall_seconds.saturating_add(self.leeway_seconds)) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// The issuer that a payload names.
pub(crate) fn issuer(payload: &[u8]) -> Result<String, Refusal> {
    parse::<Issuer>(payload).map(|claims| claims.iss)
}

pub(crate) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(payload).map_err(|_| Refusal::Malformed)
}

/// A subject or the like: 1 to 255 bytes without control characters.
pub(crate) fn id(text: String) -> Result<String, Refusal> {
    let fine = !text.is_empty() && text.len() <= MAX_ID_BYTES && !text.chars().any(char::is_control);
    if fine { Ok(text) } else { Err(Refusal::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_numbers_that_are_dates() {
        let date = |text: &str| serde_json::from_str::<NumericDate>(text).ok().map(|date| date.0);
        assert_eq!(date("1700000000"), Some(1_700_000_000));
        assert_eq!(date("1700000000.9"), Some(1_700_000_000));
        assert_eq!(date("1.7e9"), Some(1_700_000_000));
        assert_eq!(date("-1"), Some(-1));
        for other in ["\"1700000000\"", "1e300", "-1e300", "9007199254740992", "null", "[]", "true", "1e999"]
        {
            assert_eq!(date(other), None, "{other}");
        }
    }

    #[test]
    fn leeway_is_exact_on_both_sides() {
        let now = Now { wall_seconds: 1000, leeway_seconds: 60 };
        let date = NumericDate;
        assert_eq!(now.check(date(941), None), Ok(()));
        assert_eq!(now.check(date(940), None), Err(Refusal::Expired));
        assert_eq!(now.check(date(2000), Some(date(1060))), Ok(()));
        assert_eq!(now.check(date(2000), Some(date(1061))), Err(Refusal::NotYetValid));
        let strange = Now { wall_seconds: i64::MAX, leeway_seconds: i64::MAX };
        assert_eq!(strange.check(date(1), Some(date(2))), Ok(()));
    }

    #[test]
    fn ids_are_bounded() {
        assert!(id("a".repeat(255)).is_ok());
        for bad in [String::new(), "a".repeat(256), "a\nb".to_owned(), "a\0".to_owned()] {
            assert_eq!(id(bad), Err(Refusal::Malformed));
        }
    }
}
