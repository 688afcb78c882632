//! Secrets. A refusal says how long or of what form the text is, never what it is.

use serde_json::{Value as Json, json};

use crate::{
    setting::{Kind, Literal, Raw, Refusal, Sensitivity},
    values::{REDACTED, Secret},
};

/// A secret of `min_bytes` to `max_bytes` bytes. Taken as it is, spaces included.
pub(crate) struct SecretText {
    pub(crate) min_bytes: usize,
    pub(crate) max_bytes: usize,
    /// How to get one.
    pub(crate) remedy: &'static str,
}

impl Kind<Secret> for SecretText {
    fn parse(&self, raw: &Raw<'_>) -> Result<Secret, Refusal> {
        let text = match raw {
            Raw::Text(text) => text,
            Raw::Toml(Literal::Text(text)) => text.as_str(),
            Raw::Toml(_) | Raw::Unsupported(_) => return Err(Refusal::wrong_type(raw, "a string")),
        };
        match text.len() {
            length if length < self.min_bytes => Err(Refusal::because(format!(
                "it is {length} bytes long; it must have at least {}",
                self.min_bytes
            ))
            .remedy(self.remedy)),
            length if length > self.max_bytes => Err(Refusal::because(format!(
                "it is {length} bytes long; it must have at most {}",
                self.max_bytes
            ))
            .remedy(self.remedy)),
            _ => Ok(Secret::new(text.to_owned())),
        }
    }

    fn show(&self, _value: &Secret) -> Option<Literal> {
        Some(Literal::Text(REDACTED.to_owned()))
    }

    fn describe(&self) -> String {
        format!("a secret of {} to {} bytes", self.min_bytes, self.max_bytes)
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": self.min_bytes, "maxLength": self.max_bytes, "writeOnly": true})
    }

    fn sensitivity(&self) -> Sensitivity {
        Sensitivity::Secret
    }
}

/// What the secrets of the provider's webhooks begin with (Standard Webhooks, "Signature scheme").
const WEBHOOK_PREFIX: &str = "whsec_";

/// The key that signs webhooks: `whsec_` and the key in base64.
pub(crate) struct WebhookSecret(pub(crate) SecretText);

impl Kind<Secret> for WebhookSecret {
    fn parse(&self, raw: &Raw<'_>) -> Result<Secret, Refusal> {
        let secret = self.0.parse(raw)?;
        match secret.expose().strip_prefix(WEBHOOK_PREFIX) {
            Some(key) if is_base64(key) => Ok(secret),
            Some(_) => Err(Refusal::because("what follows whsec_ is not base64").remedy(self.0.remedy)),
            None => Err(Refusal::because("it does not begin with whsec_").remedy(self.0.remedy)),
        }
    }

    fn show(&self, value: &Secret) -> Option<Literal> {
        self.0.show(value)
    }

    fn describe(&self) -> String {
        format!("whsec_ and base64, {} to {} bytes", self.0.min_bytes, self.0.max_bytes)
    }

    fn schema(&self) -> Json {
        json!({
            "type": "string",
            "pattern": "^whsec_[A-Za-z0-9+/]+={0,2}$",
            "minLength": self.0.min_bytes,
            "maxLength": self.0.max_bytes,
            "writeOnly": true,
        })
    }

    fn sensitivity(&self) -> Sensitivity {
        self.0.sensitivity()
    }
}

/// True for padded base64 in the standard alphabet without stray bits at the end (RFC 4648, sections 3.5 and 4): what
/// even a strict decoder takes.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let stray_bits = match text.len() - digits.len() {
        0 => 0,
        1 => 0b11,
        2 => 0b1111,
        _ => return false,
    };
    let mut last = None;
    for byte in digits.bytes() {
        let Some(value) = base64_digit(byte) else { return false };
        last = Some(value);
    }
    text.len().is_multiple_of(4) && last.is_some_and(|value| value & stray_bits == 0)
}

fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_told_from_other_text() {
        for text in ["Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy", "+/+/", "AA==", "////"] {
            assert!(is_base64(text), "{text}");
        }
        for text in [
            "", "=", "====", "Zg", "Zg=", "Zm8", "Zh==", "Zm9=", "Z===", "Zm9v=", "Zg==Zg==", "Zm-_", "Zm 9",
            "Zmé",
        ] {
            assert!(!is_base64(text), "{text}");
        }
    }
}
