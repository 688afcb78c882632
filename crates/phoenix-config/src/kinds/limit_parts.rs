//! The parts of rate limits that stand in one value: a window `100/1m`, a block, a multiplier.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Integer, Span, duration::to_text, text};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::LimitWindow,
};

/// Stands for no block, and for no class.
pub(super) const NONE: &str = "none";

/// Longest window and longest block.
const MAX_DAYS: u64 = 31;
/// Windows and blocks. Zero is neither.
const TIME: Span = Span { min: Duration::from_millis(1), max: Duration::from_hours(MAX_DAYS * 24) };
/// Requests of one window.
const LIMIT: Integer<u32> = Integer { min: 1, max: 10_000 };
/// Largest multiplier, and one divided by the smallest.
const MAX_FACTOR: f64 = 1000.0;

/// A number of requests and a time.
pub(super) struct Window;

impl Kind<LimitWindow> for Window {
    fn parse(&self, raw: &Raw<'_>) -> Result<LimitWindow, Refusal> {
        let (limit, span) = text(raw)?
            .split_once('/')
            .ok_or_else(|| Refusal::because("it has no \"/\" between a number of requests and a time"))?;
        let refused = |what: &str, refusal: Refusal| {
            Refusal::because(format!("in the {what}: {}", refusal.reason))
                .remedy(format!("use {}", self.describe()))
        };
        let limit = LIMIT.parse(&Raw::Text(limit)).map_err(|refusal| refused("number", refusal))?;
        let span = TIME.parse(&Raw::Text(span)).map_err(|refusal| refused("time", refusal))?;
        Ok(LimitWindow { limit, span })
    }

    fn show(&self, value: &LimitWindow) -> Option<Literal> {
        Some(Literal::Text(format!("{}/{}", value.limit, to_text(value.span))))
    }

    fn describe(&self) -> String {
        format!("requests/time, such as \"100/1m\", with {} and {}", LIMIT.describe(), TIME.describe())
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[0-9]+ */ *([0-9]+(ms|s|m|h|d))+$"})
    }
}

/// How long a client is refused, or `none`.
pub(super) struct Block;

impl Kind<Option<Duration>> for Block {
    fn parse(&self, raw: &Raw<'_>) -> Result<Option<Duration>, Refusal> {
        if raw.as_text().is_some_and(|text| text.trim().eq_ignore_ascii_case(NONE)) {
            return Ok(None);
        }
        let described = |refusal: Refusal| refusal.remedy(format!("use {}", self.describe()));
        TIME.parse(raw).map(Some).map_err(described)
    }

    fn show(&self, value: &Option<Duration>) -> Option<Literal> {
        Some(Literal::Text(value.map_or_else(|| NONE.to_owned(), to_text)))
    }

    fn describe(&self) -> String {
        format!("\"{NONE}\", or {}", TIME.describe())
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [{"const": NONE}, TIME.schema()]})
    }
}

/// A number above zero.
pub(super) struct Multiplier;

impl Kind<f64> for Multiplier {
    fn parse(&self, raw: &Raw<'_>) -> Result<f64, Refusal> {
        let number = match raw {
            Raw::Toml(Literal::Integer(number)) => number.to_string().parse(),
            Raw::Toml(Literal::Decimal(digits)) => digits.replace('_', "").parse::<f64>(),
            Raw::Text(_) | Raw::Toml(_) | Raw::Unsupported(_) => {
                return Err(Refusal::wrong_type(raw, "a number"));
            }
        };
        match number {
            Ok(number) if (1.0 / MAX_FACTOR..=MAX_FACTOR).contains(&number) => Ok(number),
            Ok(number) if number > MAX_FACTOR => {
                Err(Refusal::because(format!("it is above the largest multiplier, {MAX_FACTOR}")))
            }
            Ok(_) | Err(_) => {
                Err(Refusal::because(format!("it is below the smallest multiplier, {}", 1.0 / MAX_FACTOR)))
            }
        }
    }

    fn show(&self, value: &f64) -> Option<Literal> {
        // Debug writes ".0" after whole numbers, as TOML does for those with a fraction.
        Some(Literal::Decimal(format!("{value:?}")))
    }

    fn describe(&self) -> String {
        format!("a number from {} to {MAX_FACTOR}", 1.0 / MAX_FACTOR)
    }

    fn schema(&self) -> Json {
        json!({"type": "number", "minimum": 1.0 / MAX_FACTOR, "maximum": MAX_FACTOR})
    }
}
