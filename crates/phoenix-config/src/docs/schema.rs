//! JSON schema of `phoenix.toml`, for editors.

use serde_json::{Map, Value as Json, json};

use super::paragraphs;
use crate::{config::SECTIONS, setting::AnySetting};

/// The JSON schema (draft 2020-12) of the configuration file. Bounds of durations and sizes are in the descriptions,
/// because JSON schema has no words for them.
#[must_use]
pub fn json_schema() -> Json {
    let sections: Map<String, Json> = SECTIONS
        .iter()
        .map(|section| {
            let settings: Map<String, Json> = section
                .settings
                .iter()
                .map(|setting| (setting.name().to_owned(), property(*setting)))
                .collect();
            let schema = json!({
                "type": "object",
                "description": paragraphs(section.doc).join(" "),
                "properties": settings,
                "additionalProperties": false,
            });
            (section.name.to_owned(), schema)
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "phoenix.toml",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
    })
}

fn property(setting: &dyn AnySetting) -> Json {
    let mut schema = setting.schema();
    if let Some(schema) = schema.as_object_mut() {
        let doc = paragraphs(setting.doc()).join(" ");
        schema.insert("description".to_owned(), json!(format!("{doc} Value: {}.", setting.describe())));
        if let Some(default) = setting.default_literal() {
            schema.insert("default".to_owned(), default.to_json());
        }
    }
    schema
}
