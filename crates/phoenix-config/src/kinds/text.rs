//! Values that are text: secrets, paths, identifiers.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::text;
use crate::{
    setting::{Kind, Literal, Raw, Refusal, Sensitivity},
    values::{EmailAddress, ProjectId, REDACTED, Secret},
};

/// Text of 1 to `max_bytes` bytes, without control characters.
pub(crate) struct Text {
    pub(crate) max_bytes: usize,
    pub(crate) what: &'static str,
}

impl Kind<String> for Text {
    fn parse(&self, raw: &Raw<'_>) -> Result<String, Refusal> {
        let text = text(raw)?;
        if text.is_empty() {
            return Err(Refusal::because("it is empty"));
        }
        if text.len() > self.max_bytes {
            return Err(Refusal::because(format!(
                "it is {} bytes long; the most allowed is {}",
                text.len(),
                self.max_bytes
            )));
        }
        if text.contains(char::is_control) {
            return Err(Refusal::because("it holds a control character"));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::Text(value.clone()))
    }

    fn describe(&self) -> String {
        self.what.to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": self.max_bytes})
    }
}

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

/// The path of a directory, which need not exist yet.
pub(crate) struct Directory;

impl Kind<PathBuf> for Directory {
    fn parse(&self, raw: &Raw<'_>) -> Result<PathBuf, Refusal> {
        match text(raw)? {
            "" => Err(Refusal::because("it is empty")),
            text if text.contains('\0') => Err(Refusal::because("a path holds no NUL character")),
            text => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> Option<Literal> {
        Some(Literal::Text(value.to_string_lossy().into_owned()))
    }

    fn describe(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1})
    }
}

/// An e-mail address.
pub(crate) struct Email;

impl Kind<EmailAddress> for Email {
    fn parse(&self, raw: &Raw<'_>) -> Result<EmailAddress, Refusal> {
        EmailAddress::from_text(text(raw)?).ok_or_else(|| Refusal::because("it is not an e-mail address"))
    }

    fn show(&self, value: &EmailAddress) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "an e-mail address, such as \"admin@example.com\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$", "maxLength": 254})
    }

    fn example(&self) -> Literal {
        Literal::Text("admin@example.com".to_owned())
    }
}

/// A Stack Auth project identifier.
pub(crate) struct Project;

impl Kind<ProjectId> for Project {
    fn parse(&self, raw: &Raw<'_>) -> Result<ProjectId, Refusal> {
        ProjectId::from_text(text(raw)?).ok_or_else(|| {
            Refusal::because("it is not a UUID").remedy("copy the project ID from the Stack Auth dashboard")
        })
    }

    fn show(&self, value: &ProjectId) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "a UUID".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "format": "uuid"})
    }

    fn example(&self) -> Literal {
        Literal::Text("00000000-0000-0000-0000-000000000000".to_owned())
    }
}
