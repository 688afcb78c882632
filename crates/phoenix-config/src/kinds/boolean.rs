//! Yes or no.

use serde_json::{Value as Json, json};

use crate::setting::{Kind, Literal, Raw, Refusal};

/// `true` or `false` in a file; text may also say 1/0, yes/no, on/off, in any case.
pub(crate) struct Boolean;

impl Kind<bool> for Boolean {
    fn parse(&self, raw: &Raw<'_>) -> Result<bool, Refusal> {
        let text = match raw {
            Raw::Toml(Literal::Boolean(value)) => return Ok(*value),
            Raw::Text(text) => text.trim().to_ascii_lowercase(),
            Raw::Toml(_) | Raw::Unsupported(_) => return Err(Refusal::wrong_type(raw, "a boolean")),
        };
        match text.as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Refusal::because("it is neither true nor false")),
        }
    }

    fn show(&self, value: &bool) -> Option<Literal> {
        Some(Literal::Boolean(*value))
    }

    fn describe(&self) -> String {
        "true or false".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "boolean"})
    }
}
