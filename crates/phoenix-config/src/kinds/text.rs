//! Values that are text: plain, and identifiers. Does not own secrets (`secret.rs`) and paths (`path.rs`).

use serde_json::{Value as Json, json};

use super::text;
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{EmailAddress, ProjectId},
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
