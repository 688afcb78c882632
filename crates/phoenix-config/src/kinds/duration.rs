//! Durations, with units (`30s`) or, where compatibility asks for it, as plain milliseconds.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::integer::whole_number;
use crate::setting::{Kind, Literal, Raw, Refusal};

/// Units from the largest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A duration between two bounds, both allowed: `250ms`, `30s`, `1h30m`, `7d`.
pub(crate) struct Span {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Kind<Duration> for Span {
    fn parse(&self, raw: &Raw<'_>) -> Result<Duration, Refusal> {
        let text = match raw {
            Raw::Text(text) => text.trim(),
            Raw::Toml(Literal::Text(text)) => text.trim(),
            Raw::Toml(Literal::Integer(0)) => "0",
            Raw::Toml(Literal::Integer(count)) => {
                return Err(Refusal::because("a duration has a unit").remedy(format!(
                    "write \"{count}s\" for seconds or \"{count}ms\" for milliseconds; it must be {}",
                    self.describe()
                )));
            }
            Raw::Toml(_) | Raw::Unsupported(_) => return Err(Refusal::wrong_type(raw, "a duration")),
        };
        let span = from_text(text).ok_or_else(|| {
            Refusal::because(
                "it is not a duration; a duration is a whole number with a unit, ms, s, m, h or d",
            )
        })?;
        within(span, self.min, self.max)
    }

    fn show(&self, value: &Duration) -> Option<Literal> {
        Some(Literal::Text(to_text(*value)))
    }

    fn describe(&self) -> String {
        format!("a duration from {} to {}", to_text(self.min), to_text(self.max))
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^(0|([0-9]+(ms|s|m|h|d))+)$"})
    }
}

/// A duration as a whole number of milliseconds, between two bounds, both allowed.
pub(crate) struct Milliseconds {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Kind<Duration> for Milliseconds {
    fn parse(&self, raw: &Raw<'_>) -> Result<Duration, Refusal> {
        whole_number(raw, self.min, self.max).map(Duration::from_millis).map_err(|refusal| {
            let with_unit =
                raw.as_text().map(str::trim).filter(|text| text.ends_with(|c: char| c.is_alphabetic()));
            match with_unit.and_then(from_text) {
                Some(span) => {
                    refusal.remedy(format!("this one has no unit: write {} (milliseconds)", span.as_millis()))
                }
                None => refusal,
            }
        })
    }

    fn show(&self, value: &Duration) -> Option<Literal> {
        Some(Literal::Integer(i64::try_from(value.as_millis()).unwrap_or(i64::MAX)))
    }

    fn describe(&self) -> String {
        format!("a whole number of milliseconds from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.min, "maximum": self.max})
    }
}

fn within(span: Duration, min: Duration, max: Duration) -> Result<Duration, Refusal> {
    match span {
        span if span < min => {
            Err(Refusal::because(format!("it is below the shortest duration, {}", to_text(min))))
        }
        span if span > max => {
            Err(Refusal::because(format!("it is above the longest duration, {}", to_text(max))))
        }
        span => Ok(span),
    }
}

/// Reads one or more numbers with units, added up. Zero needs no unit.
fn from_text(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total_ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total_ms = total_ms.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// The duration with the largest unit that is exact: `7d`, `90m`, `250ms`.
#[must_use]
pub fn to_text(span: Duration) -> String {
    let total_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let exact = UNITS.iter().find(|(_, factor)| total_ms != 0 && total_ms.is_multiple_of(*factor));
    let (unit, factor) = exact.copied().unwrap_or(("s", 1000));
    format!("{}{unit}", total_ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_shown_exactly() {
        for (text, milliseconds, shown) in [
            ("30s", 30_000, "30s"),
            ("5m", 300_000, "5m"),
            ("250ms", 250, "250ms"),
            ("7d", 604_800_000, "7d"),
            ("1h30m", 5_400_000, "90m"),
            ("60s", 60_000, "1m"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
        ] {
            let span = from_text(text).expect(text);
            assert_eq!(span, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(to_text(span), shown);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "30", "s", "-1s", "1.5s", "30 s", "1w", "1S", "1s2", "99999999999999999999s", "1s ", "１s"]
        {
            assert_eq!(from_text(text), None, "{text}");
        }
    }
}
