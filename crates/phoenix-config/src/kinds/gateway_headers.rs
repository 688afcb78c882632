//! Changes of headers: a table of `set` and `remove`. Knows which headers are not a configuration's to change. A value may
//! be a credential of the application (`Authorization`), so none is ever shown, whether it is taken or refused.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::{
    List, Text,
    gateway_parts::{Shown, table},
    tables::Fields,
    text,
};
use crate::{
    setting::{Kind, Literal, Raw, Refusal, join},
    values::HeaderEdits,
};

/// Most headers that one route sets, and most that it removes.
const MAX_HEADERS: usize = 32;
/// Longest name of a header.
const MAX_NAME_BYTES: usize = 64;

/// What is shown in place of the value of a header that a route sets.
pub const HIDDEN: &str = "(hidden)";

const FIELDS: [&str; 2] = ["set", "remove"];
const NAMES: List<HeaderName> = List { of: HeaderName, max: MAX_HEADERS };
const VALUE: Text = Text { max_bytes: 1024, what: "printable ASCII" };

/// Where a message ends and what belongs to one connection only (RFC 9110, section 7.6.1; RFC 9112, section 6): one
/// that is changed here makes one request two.
const OF_THE_CONNECTION: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Who a client is and what it asked for.
const FORWARDING: [&str; 7] =
    ["forwarded", "host", "true-client-ip", "via", "x-original-url", "x-real-ip", "x-rewrite-url"];

/// The name of a header that may be changed, in lower case.
struct HeaderName;

impl Kind<String> for HeaderName {
    fn parse(&self, raw: &Raw<'_>) -> Result<String, Refusal> {
        let name = text(raw)?.to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_token) {
            return Err(Refusal::because("it is not the name of a header"));
        }
        // Many servers take both for one.
        let plain = name.replace('_', "-");
        let reason = match plain.as_str() {
            plain if OF_THE_CONNECTION.contains(&plain) => {
                "it belongs to the connection, or says where a message ends"
            }
            plain if plain.starts_with("x-phoenix-") => "Phoenix alone says who a caller is",
            plain if FORWARDING.contains(&plain) || plain.starts_with("x-forwarded-") => {
                "Phoenix alone says who a client is and what it asked for"
            }
            _ => return Ok(name),
        };
        Err(Refusal::because(reason).remedy("remove it from here"))
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::Text(value.clone()))
    }

    fn describe(&self) -> String {
        "the name of a header".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "maxLength": MAX_NAME_BYTES})
    }
}

/// In words.
pub(super) fn describe() -> String {
    format!(
        "a table of remove (at most {MAX_HEADERS} names of headers) and set (at most {MAX_HEADERS} of them with values)"
    )
}

/// As a JSON schema.
pub(super) fn schema() -> Json {
    json!({
        "type": "object",
        "properties": {
            "set": {
                "type": "object", "maxProperties": MAX_HEADERS, "propertyNames": HeaderName.schema(),
                "additionalProperties": VALUE.schema(),
            },
            "remove": NAMES.schema(),
        },
        "additionalProperties": false,
    })
}

/// As it is written, but for the values that are set; `None` where nothing changes.
pub(super) fn show(edits: &HeaderEdits) -> Option<Literal> {
    let HeaderEdits { remove, set } = edits;
    let pairs = set.iter().map(|(name, _)| (name.clone(), Literal::Text(HIDDEN.to_owned()))).collect();
    let fields: [Shown; 2] = [
        ("set", (!set.is_empty()).then_some(Literal::Table(pairs))),
        ("remove", NAMES.show(remove).filter(|_| !remove.is_empty())),
    ];
    (!set.is_empty() || !remove.is_empty()).then(|| table(fields))
}

/// The same refusal without the value, which holds a credential more often than not.
fn hidden(mut refusal: Refusal) -> Refusal {
    if let Some(part) = &mut refusal.part {
        part.shown = None;
    }
    refusal
}

/// The field of this name.
pub(super) fn read(fields: &mut Fields<'_>, name: &str) -> HeaderEdits {
    let Some(value) = fields.get(name) else { return HeaderEdits::default() };
    match edits(value, fields.path_of(name)) {
        Ok(edits) => edits,
        Err(refusal) => {
            fields.refuse(refusal);
            HeaderEdits::default()
        }
    }
}

fn edits(value: &Literal, path: String) -> Result<HeaderEdits, Refusal> {
    let mut fields = Fields::of(value, path, &FIELDS).map_err(hidden)?;
    let remove = fields.read("remove", &NAMES).unwrap_or_default();
    let set = match fields.get("set").map(|value| pairs(value, &fields.path_of("set"))) {
        None => Vec::new(),
        Some(Ok(set)) => set,
        Some(Err(refusal)) => {
            fields.refuse(refusal);
            Vec::new()
        }
    };
    fields.finish(Some(HeaderEdits { remove, set }))
}

fn pairs(value: &Literal, path: &str) -> Result<Vec<(String, String)>, Refusal> {
    let Literal::Table(entries) = value else {
        return Err(Refusal::wrong_type(&Raw::Toml(value), "a table")
            .remedy("write names of headers and their values: { x-frame-options = \"DENY\" }")
            .of_part(path, None));
    };
    if entries.len() > MAX_HEADERS {
        return Err(Refusal::because(format!(
            "it has {} headers; the most allowed is {MAX_HEADERS}",
            entries.len()
        ))
        .remedy(format!("keep at most {MAX_HEADERS}"))
        .of_part(path, None));
    }
    let mut pairs = Vec::with_capacity(entries.len());
    let mut refusals = Vec::new();
    let mut seen = HashSet::with_capacity(entries.len());
    for (name, value) in entries {
        match pair(name, value) {
            Ok((name, _)) if !seen.insert(name.clone()) => refusals.push(
                Refusal::because("the header is there twice")
                    .remedy("keep one of them")
                    .of_part(&join(path, &name), None),
            ),
            Ok(pair) => pairs.push(pair),
            Err(refusal) => {
                let remedy = refusal.remedy.clone().unwrap_or_else(|| format!("use {}", VALUE.describe()));
                refusals.push(refusal.remedy(remedy).of_part(&join(path, name), None));
            }
        }
    }
    Refusal::all(refusals).map_or(Ok(pairs), Err)
}

fn pair(name: &str, value: &Literal) -> Result<(String, String), Refusal> {
    let name = HeaderName.parse(&Raw::Text(name))?;
    let value = VALUE.parse(&Raw::Toml(value))?;
    if !value.is_ascii() {
        return Err(Refusal::because("it holds a character that is not ASCII"));
    }
    Ok((name, value))
}
