//! Requests as bytes, so that they can be wrong in every way, and what of the answers counts.

use serde_json::Value;

use super::table::Facts;

/// A request, head and body as they go over the wire.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    head: String,
    body: Vec<u8>,
}

/// What an answer said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty when the answer is not one of ours.
    pub(super) code: String,
    pub(super) text: String,
    /// Whether it carries a request id and a version.
    pub(super) is_marked: bool,
    pub(super) sets_cookie: bool,
    pub(super) allow: Option<String>,
}

impl Raw {
    pub(super) fn new(method: &str, path: &str, facts: &Facts) -> Self {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", facts.address);
        Self { head, body: Vec::new() }
    }

    pub(super) fn get(path: &str, facts: &Facts) -> Self {
        Self::new("GET", path, facts)
    }

    pub(super) fn post(path: &str, facts: &Facts) -> Self {
        Self::new("POST", path, facts)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// A body with its length.
    pub(super) fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let length = body.len().to_string();
        Self { body, ..self.header("Content-Length", &length) }
    }

    pub(super) fn json(self, body: impl AsRef<[u8]>) -> Self {
        self.header("Content-Type", "application/json").body(body)
    }

    /// Bytes after the head, as they are.
    pub(super) fn bare(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: body.as_ref().to_vec(), ..self }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let header = |name: &str| {
            let line =
                head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        Self {
            status,
            code: json["code"].as_str().unwrap_or("").to_owned(),
            is_marked: header("x-request-id").is_some() && header("x-phoenix-version").is_some(),
            sets_cookie: header("set-cookie").is_some(),
            allow: header("allow"),
            text,
        }
    }
}
