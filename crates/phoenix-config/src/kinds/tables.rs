//! Settings that are tables, or arrays of tables: taking them apart, with every error in them and not only the first.
//! A place that only holds text holds them as TOML. Does not own what is in them.

use toml::de::DeValue;

use crate::{
    file::literal,
    setting::{Kind, Literal, Raw, Refusal, entry, join},
    suggest::nearest,
};

/// A table of the configuration, its fields read one after the other.
pub(super) struct Fields<'a> {
    path: String,
    entries: &'a [(String, Literal)],
    refusals: Vec<Refusal>,
}

impl<'a> Fields<'a> {
    /// The table at `path` of the setting. Its names are `known`; others are refused.
    pub(super) fn of(value: &'a Literal, path: String, known: &[&str]) -> Result<Self, Refusal> {
        let Literal::Table(entries) = value else {
            return Err(Refusal::wrong_type(&Raw::Toml(value), "a table")
                .remedy(format!("write a table with {}", known.join(", ")))
                .of_part(&path, Some(value.to_string())));
        };
        let unknown = |name: &str| {
            let remedy = match nearest(name, known.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("there are {}", known.join(", ")),
            };
            Refusal::because("there is no such setting").remedy(remedy).of_part(&join(&path, name), None)
        };
        let names = entries.iter().map(|(name, _)| name.as_str());
        let refusals = names.filter(|name| !known.contains(name)).map(unknown).collect();
        Ok(Self { path, entries, refusals })
    }

    /// The field with this name, unread.
    pub(super) fn get(&self, name: &str) -> Option<&'a Literal> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The path of a field.
    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Reads a field; `None` when it is not there, or was refused, which is noted.
    pub(super) fn read<T>(&mut self, name: &str, kind: &impl Kind<T>) -> Option<T> {
        let value = self.get(name)?;
        match kind.parse(&Raw::Toml(value)) {
            Ok(value) => Some(value),
            Err(refusal) => {
                let remedy = refusal.remedy.clone().unwrap_or_else(|| format!("use {}", kind.describe()));
                self.refuse(refusal.remedy(remedy).of_part(&self.path_of(name), Some(value.to_string())));
                None
            }
        }
    }

    /// Notes that something is wrong.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
    }

    /// Notes that a field is missing, unless it is there and was refused.
    pub(super) fn require<T>(&mut self, name: &str, value: Option<T>, remedy: &str) -> Option<T> {
        if value.is_none() && self.get(name).is_none() {
            let refusal = Refusal::because(format!("\"{name}\" is missing")).remedy(remedy);
            self.refuse(refusal.of_part(&self.path, None));
        }
        value
    }

    /// The value, unless something was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Refusal> {
        match (Refusal::all(self.refusals), value) {
            (None, Some(value)) => Ok(value),
            (Some(refusal), _) => Err(refusal),
            (None, None) => Err(Refusal::because("a part is missing").of_part(&self.path, None)),
        }
    }
}

/// The value as it would stand in a file.
pub(super) fn value_of(raw: &Raw<'_>, expected: &str) -> Result<Literal, Refusal> {
    match raw {
        Raw::Toml(value) => Ok((*value).clone()),
        Raw::Unsupported(_) => Err(Refusal::wrong_type(raw, expected)),
        Raw::Text(text) => {
            let value = DeValue::parse(text.trim()).map_err(|error| {
                let first = error.message().lines().next().unwrap_or_default().to_owned();
                Refusal::because(format!("it is not TOML for {expected}: {first}"))
            })?;
            literal(&value).map_err(|type_name| Refusal::wrong_type(&Raw::Unsupported(type_name), expected))
        }
    }
}

/// An array of tables, each read by `read` with its path.
pub(super) fn entries<T>(
    value: &Literal,
    max: usize,
    mut read: impl FnMut(&Literal, String) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let items = match value {
        Literal::Array(items) => items.as_slice(),
        Literal::List(texts) if texts.is_empty() => &[],
        other => return Err(Refusal::wrong_type(&Raw::Toml(other), "an array of tables")),
    };
    if items.len() > max {
        return Err(Refusal::because(format!("it has {} entries; the most allowed is {max}", items.len()))
            .remedy(format!("keep at most {max}")));
    }
    let mut values = Vec::with_capacity(items.len());
    let mut refusals = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match read(item, entry(index)) {
            Ok(value) => values.push(value),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Refusal::all(refusals).map_or(Ok(values), Err)
}
