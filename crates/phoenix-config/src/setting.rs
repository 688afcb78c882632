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
    /// A number with a fraction, in TOML's digits.
    Decimal(String),
    /// An array of strings, or an empty one.
    List(Vec<String>),
    /// An array that holds anything else.
    Array(Vec<Literal>),
    /// A table: names and their values, each name once.
    Table(Vec<(String, Literal)>),
}

impl Literal {
    /// What it is, with its article, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "a string",
            Self::Decimal(_) => "a number with a fraction",
            Self::List(_) => "an array",
            Self::Array(_) => "an array with other things than strings",
            Self::Table(_) => "a table",
        }
    }

    /// `name = value` as one may write it in a file: a table as a line for each of its entries, and an array of tables
    /// as a line for each of them, so that lines stay short.
    pub(crate) fn to_lines(&self, name: &str) -> Vec<String> {
        match self {
            Self::Table(entries) if !entries.is_empty() => {
                let line = |(key, value): &(String, Self)| format!("{name}.{} = {value}", Name(key));
                entries.iter().map(line).collect()
            }
            Self::Array(items) if !items.is_empty() => {
                let first = std::iter::once(format!("{name} = ["));
                let last = std::iter::once("]".to_owned());
                first.chain(items.iter().map(|item| format!("{item},"))).chain(last).collect()
            }
            Self::Boolean(_)
            | Self::Integer(_)
            | Self::Text(_)
            | Self::Decimal(_)
            | Self::List(_)
            | Self::Array(_)
            | Self::Table(_) => vec![format!("{name} = {self}")],
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Boolean(value) => json!(value),
            Self::Integer(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Decimal(digits) => json!(digits.parse::<f64>().ok()),
            Self::List(values) => json!(values),
            Self::Array(values) => values.iter().map(Self::to_json).collect(),
            Self::Table(entries) => {
                entries.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
            }
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
            Self::Decimal(digits) => f.write_str(digits),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write_string(f, value)?;
                }
                f.write_str("]")
            }
            Self::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Self::Table(entries) => {
                for (index, (name, value)) in entries.iter().enumerate() {
                    write!(f, "{} {} = {value}", if index == 0 { "{" } else { "," }, Name(name))?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A key of a table, in quotes where it has to be.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if !self.0.is_empty() && self.0.bytes().all(is_bare) {
            f.write_str(self.0)
        } else {
            write_string(f, self.0)
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
    /// The part of the value that was refused, when it is not all of it.
    pub(crate) part: Option<Part>,
    /// What else of the same value was refused.
    pub(crate) more: Vec<Refusal>,
}

/// A part of a structured value.
pub(crate) struct Part {
    /// Where in the value: `auth.windows`, or `[2].path` for the second entry of an array.
    pub(crate) path: String,
    /// The part as it was written.
    pub(crate) shown: Option<String>,
}

/// The path of an entry of an array. Counted from 1, as people do.
pub(crate) fn entry(index: usize) -> String {
    format!("[{}]", index + 1)
}

/// The path of `part` in `whole`, each possibly empty.
pub(crate) fn join(whole: &str, part: &str) -> String {
    let dot = if whole.is_empty() || part.is_empty() || part.starts_with('[') { "" } else { "." };
    format!("{whole}{dot}{part}")
}

impl Refusal {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: None, part: None, more: Vec::new() }
    }

    /// What was refused is the part of the value at `path`, unless it is said already to be a smaller one.
    pub(crate) fn of_part(mut self, path: &str, shown: Option<String>) -> Self {
        self.part.get_or_insert_with(|| Part { path: path.to_owned(), shown });
        self
    }

    /// All of these as one; `None` when there are none.
    pub(crate) fn all(refusals: Vec<Self>) -> Option<Self> {
        let mut refusals = refusals.into_iter();
        let mut first = refusals.next()?;
        first.more.extend(refusals);
        Some(first)
    }

    /// Every refusal that this one stands for.
    pub(crate) fn apart(mut self) -> Vec<Self> {
        let more = std::mem::take(&mut self.more);
        std::iter::once(self).chain(more.into_iter().flat_map(Self::apart)).collect()
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
