//! What a setting is: one definition from which reading, showing and documenting follow.
//! Does not own which settings exist (`settings.rs`) or how each type is written (`kinds/`).

use std::fmt;

use serde_json::{Value as Json, json};

use crate::environment::file_variable;

/// A value as it is written in a TOML file.
#[derive(Clone, PartialEq, Eq)]
pub enum Literal {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array of strings.
    List(Vec<String>),
}

impl Literal {
    /// What it is, with its article, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Boolean(value) => json!(value),
            Self::Integer(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::List(values) => json!(values),
        }
    }
}

/// Displayed as TOML.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(value) => write_string(f, value),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write_string(f, value)?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A TOML basic string: always on one line, whatever it holds.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// A value before it is understood.
pub(crate) enum Raw<'a> {
    /// From a place that only holds text: environment, command line, a file with a secret.
    Text(&'a str),
    /// From the configuration file, with the type it was written with.
    Toml(&'a Literal),
    /// From the configuration file, of a type that no setting has (`a float`).
    Unsupported(&'static str),
}

impl Raw<'_> {
    /// The text, when the value is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) => Some(text),
            Raw::Toml(Literal::Text(text)) => Some(text),
            Raw::Toml(_) | Raw::Unsupported(_) => None,
        }
    }
}

/// Why a value was refused, in words. A refusal of a secret never quotes it.
pub(crate) struct Refusal {
    pub(crate) reason: String,
    /// What would do; when absent, the description of the kind says it.
    pub(crate) remedy: Option<String>,
}

impl Refusal {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The value has the wrong TOML type.
    pub(crate) fn wrong_type(raw: &Raw<'_>, expected: &str) -> Self {
        let found = match raw {
            Raw::Text(_) => "text",
            Raw::Toml(literal) => literal.type_name(),
            Raw::Unsupported(type_name) => type_name,
        };
        Self::because(format!("expected {expected}, found {found}"))
    }
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sensitivity {
    /// All of it.
    Public,
    /// A URL with a password inside: shown without it once it has been understood, never before.
    HoldsPassword,
    /// Nothing.
    Secret,
}

/// How values of type `T` are read, bounded, shown and described.
pub(crate) trait Kind<T>: Sync {
    /// Reads a value and checks its bounds.
    fn parse(&self, raw: &Raw<'_>) -> Result<T, Refusal>;

    /// What the setting is when nobody sets it and it has no default.
    fn absent(&self) -> Option<T> {
        None
    }

    /// The value as it would be written, without what must not be shown; `None` when it is not set.
    fn show(&self, value: &T) -> Option<Literal>;

    /// Type and bounds in words: `a duration from 1s to 1h`.
    fn describe(&self) -> String;

    /// The JSON schema of the value in a file.
    fn schema(&self) -> Json;

    /// A value for the example file, where there is no default. Never a value that would work as a secret.
    fn example(&self) -> Literal {
        Literal::Text(String::new())
    }

    /// What tells an entry of a list from others, with the word for it (`role "admin"`), when that is less than the
    /// whole entry. A list refuses two entries with the same name.
    fn name_in_list(&self, _value: &T) -> Option<String> {
        None
    }

    /// How much may be shown.
    fn sensitivity(&self) -> Sensitivity {
        Sensitivity::Public
    }
}

/// One setting.
pub(crate) struct Setting<T: 'static> {
    /// `section.name` in the file.
    pub(crate) key: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// Lines of documentation; the first is a summary.
    pub(crate) doc: &'static [&'static str],
    /// Written as in the environment; absent for optional settings.
    pub(crate) default: Option<&'static str>,
    pub(crate) kind: &'static dyn Kind<T>,
}

/// A setting without its type: what documents, suggestions and tests need.
pub(crate) trait AnySetting: Sync {
    fn key(&self) -> &'static str;
    fn env(&self) -> &'static str;
    fn doc(&self) -> &'static [&'static str];
    /// The default as it would be written in a file; `None` when unset by default.
    fn default_literal(&self) -> Option<Literal>;
    fn describe(&self) -> String;
    fn schema(&self) -> Json;
    fn example(&self) -> Literal;
    fn sensitivity(&self) -> Sensitivity;

    /// The part of the key after the dot.
    fn name(&self) -> &'static str {
        self.key().split_once('.').map_or(self.key(), |(_, name)| name)
    }

    /// True when the value is worth hiding in a file.
    fn has_file(&self) -> bool {
        self.sensitivity() != Sensitivity::Public
    }

    /// The environment variable that may name a file instead, for what is worth hiding.
    fn env_file(&self) -> Option<String> {
        self.has_file().then(|| file_variable(self.env()))
    }
}

impl<T: 'static> AnySetting for Setting<T> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn env(&self) -> &'static str {
        self.env
    }

    fn doc(&self) -> &'static [&'static str] {
        self.doc
    }

    fn default_literal(&self) -> Option<Literal> {
        let value = self.kind.parse(&Raw::Text(self.default?)).ok()?;
        self.kind.show(&value)
    }

    fn describe(&self) -> String {
        self.kind.describe()
    }

    fn schema(&self) -> Json {
        self.kind.schema()
    }

    fn example(&self) -> Literal {
        self.kind.example()
    }

    fn sensitivity(&self) -> Sensitivity {
        self.kind.sensitivity()
    }
}

/// The settings of one section, and what the section is for.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) settings: &'static [&'static dyn AnySetting],
}

/// Defines a section: the public struct, its settings and how they are read, each from one line.
///
/// A field is written `name: Type = "section.key", "ENVIRONMENT_NAME", Kind => default;`, with its documentation
/// above it and `none` for the default of an optional setting.
macro_rules! section {
    (
        $section:literal
        $(#[doc = $section_doc:literal])+
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $key:literal, $env:literal, $kind:expr => $default:tt; )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone)]
        $vis struct $name { $( $(#[doc = $doc])+ $vis $field: $type, )+ }

        impl $name {
            pub(crate) const SECTION: crate::setting::Section = crate::setting::Section {
                name: $section,
                doc: &[$($section_doc),+],
                settings: &[$(&section!(@setting $type, $key, $env, $kind, $default, [$($doc),+])),+],
            };

            /// Resolves every setting before any is given up on, so that all errors are collected.
            pub(crate) fn resolve(loader: &mut crate::loader::Loader<'_>) -> Option<Self> {
                $( let $field: Option<$type> =
                    loader.resolve(&section!(@setting $type, $key, $env, $kind, $default, [$($doc),+])); )+
                Some(Self { $( $field: $field?, )+ })
            }
        }
    };
    (@setting $type:ty, $key:literal, $env:literal, $kind:expr, $default:tt, [$($doc:literal),+]) => {
        crate::setting::Setting::<$type> {
            key: $key,
            env: $env,
            doc: &[$($doc),+],
            default: section!(@default $default),
            kind: const { &$kind },
        }
    };
    (@default none) => { None };
    (@default $default:literal) => { Some($default) };
}
pub(crate) use section;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_displayed_as_toml_that_reads_back() {
        for text in ["", "plain", "a \"quoted\" \\ one", "two\nlines\ttab\u{7f}\u{85}", "ünïcode 🦀", "'''"]
        {
            let shown = format!(
                "key = {}\nlist = {}",
                Literal::Text(text.into()),
                Literal::List(vec![text.into(); 2])
            );
            let table: toml::Table = shown.parse().expect(&shown);
            assert_eq!(table["key"].as_str(), Some(text));
            assert_eq!(table["list"].as_array().map(Vec::len), Some(2));
            assert_eq!(shown.lines().count(), 2);
        }
        assert_eq!(Literal::Boolean(true).to_string(), "true");
        assert_eq!(Literal::Integer(-3).to_string(), "-3");
    }
}
