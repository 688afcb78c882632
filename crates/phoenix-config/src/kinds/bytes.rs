//! Sizes in bytes.

use serde_json::{Value as Json, json};

use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::ByteSize,
};

/// A size between two bounds, both allowed: `64MiB`, `16KiB` or plain bytes.
pub(crate) struct Bytes {
    pub(crate) min: ByteSize,
    pub(crate) max: ByteSize,
}

impl Kind<ByteSize> for Bytes {
    fn parse(&self, raw: &Raw<'_>) -> Result<ByteSize, Refusal> {
        let size = match raw {
            Raw::Toml(Literal::Integer(bytes)) => u64::try_from(*bytes).ok().map(ByteSize::from_bytes),
            Raw::Text(text) => ByteSize::from_text(text.trim()),
            Raw::Toml(Literal::Text(text)) => ByteSize::from_text(text.trim()),
            Raw::Toml(_) | Raw::Unsupported(_) => return Err(Refusal::wrong_type(raw, "a size in bytes")),
        };
        let size = size
            .ok_or_else(|| Refusal::because("it is not a size in bytes; the units are B, KiB, MiB, GiB"))?;
        match size {
            size if size < self.min => {
                Err(Refusal::because(format!("it is below the smallest size, {}", self.min)))
            }
            size if size > self.max => {
                Err(Refusal::because(format!("it is above the largest size, {}", self.max)))
            }
            size => Ok(size),
        }
    }

    fn show(&self, value: &ByteSize) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        format!("a size from {} to {}", self.min, self.max)
    }

    fn schema(&self) -> Json {
        json!({"oneOf": [
            {"type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$"},
            {"type": "integer", "minimum": self.min.bytes(), "maximum": self.max.bytes()},
        ]})
    }
}
