//! Several values of one kind.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};

use crate::setting::{Kind, Literal, Raw, Refusal};

/// Values of one kind: an array in a file, separated by commas in text. At most `max`; each once.
/// Entries that have a name are refused when two have the same one.
pub(crate) struct List<K> {
    pub(crate) of: K,
    pub(crate) max: usize,
}

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<T>, Refusal> {
        let items: Vec<&str> = match raw {
            Raw::Text(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
            Raw::Toml(Literal::List(items)) => items.iter().map(String::as_str).collect(),
            Raw::Toml(_) | Raw::Unsupported(_) => {
                return Err(Refusal::wrong_type(raw, "an array of strings"));
            }
        };
        if items.len() > self.max {
            return Err(Refusal::because(format!(
                "it has {} entries; the most allowed is {}",
                items.len(),
                self.max
            )));
        }
        let mut values = Vec::with_capacity(items.len());
        let mut seen = HashSet::with_capacity(items.len());
        let mut names: HashMap<String, usize> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.of.parse(&Raw::Text(item)).map_err(|refusal| Refusal {
                reason: format!("entry {} is refused: {}", index + 1, refusal.reason),
                ..refusal
            })?;
            if let Some(name) = self.of.name_in_list(&value)
                && let Some(first) = names.insert(name.clone(), index + 1)
            {
                let reason =
                    format!("entry {} is refused: the {name} is already in entry {first}", index + 1);
                return Err(Refusal::because(reason).remedy("keep one of the two entries"));
            }
            let written = self.of.show(&value).map(|literal| literal.to_string()).unwrap_or_default();
            if seen.insert(written) {
                values.push(value);
            }
        }
        Ok(values)
    }

    fn show(&self, value: &Vec<T>) -> Option<Literal> {
        let shown = value.iter().filter_map(|item| self.of.show(item));
        Some(Literal::List(
            shown
                .map(|literal| match literal {
                    Literal::Text(text) => text,
                    other => other.to_string(),
                })
                .collect(),
        ))
    }

    fn describe(&self) -> String {
        format!("at most {} of: {}", self.max, self.of.describe())
    }

    fn schema(&self) -> Json {
        json!({"type": "array", "items": self.of.schema(), "maxItems": self.max})
    }

    fn example(&self) -> Literal {
        Literal::List(Vec::new())
    }
}
