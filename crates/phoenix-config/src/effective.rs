//! The configuration in effect, as `config show` prints it: every setting, its value, where it comes from.
//! Secrets have been replaced before they get here.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::{error::Source, file::PartLines, setting::Literal};

/// One setting in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// `section.name`.
    pub key: &'static str,
    /// The value as it would be written in the file; `<redacted>` for a secret, absent when it is not set.
    pub value: Option<Literal>,
    /// Where it comes from.
    pub source: Source,
    /// The lines of its parts, when it comes from a file.
    pub(crate) parts: PartLines,
}

impl EffectiveSetting {
    /// Where a part of a structured value comes from: `api.windows` of the classes, `[2].path` of the routes.
    #[must_use]
    pub fn source_of_part(&self, part: &str) -> Source {
        self.source.of_part(&self.parts, part)
    }
}

/// Every setting in effect, in the order of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective(Vec<EffectiveSetting>);

impl Effective {
    pub(crate) fn new(settings: Vec<EffectiveSetting>) -> Self {
        Self(settings)
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &[EffectiveSetting] {
        &self.0
    }

    /// The setting with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&EffectiveSetting> {
        self.0.iter().find(|setting| setting.key == key)
    }

    /// The same with the settings of another configuration for which `is_taken` holds.
    #[must_use]
    pub fn with(&self, other: &Self, is_taken: impl Fn(&str) -> bool) -> Self {
        let one = |setting: &EffectiveSetting| {
            other.get(setting.key).filter(|other| is_taken(other.key)).unwrap_or(setting).clone()
        };
        Self(self.0.iter().map(one).collect())
    }

    /// TOML that says in comments where each value comes from.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from("# The configuration in effect. Secrets are not shown.\n");
        let mut last_section = "";
        for EffectiveSetting { key, value, source, .. } in &self.0 {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            if section != last_section {
                let _ = writeln!(text, "\n[{section}]");
                last_section = section;
            }
            let Some(value) = value else {
                let _ = writeln!(text, "# {name} is not set");
                continue;
            };
            for (index, line) in value.to_lines(name).into_iter().enumerate() {
                let _ = match index {
                    0 => writeln!(text, "{line} # {source}"),
                    _ => writeln!(text, "{line}"),
                };
            }
        }
        text
    }

    /// An object of sections, each an object of settings with `value` (null when not set), `source` (`default`,
    /// `file`, `env` or `flag`) and `from` (the place in words).
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut sections = Map::new();
        for EffectiveSetting { key, value, source, .. } in &self.0 {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let value = value.as_ref().map_or(Json::Null, Literal::to_json);
            let setting = json!({"value": value, "source": source.kind(), "from": source.to_string()});
            let section = sections.entry(section).or_insert_with(|| json!({}));
            if let Some(settings) = section.as_object_mut() {
                settings.insert(name.to_owned(), setting);
            }
        }
        Json::Object(sections)
    }
}
