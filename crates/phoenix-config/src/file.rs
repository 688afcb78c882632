//! The configuration file: TOML text to located values, and what is wrong with it as a whole.
//! Does not own the meaning of a value, or reading the file from disk (`sources.rs`).

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    config::{SECTIONS, all},
    error::{ConfigError, Source},
    setting::{AnySetting, Literal, Section, entry, join},
    sources::FileSource,
    suggest::nearest,
};

/// A value in the file and the line on which it stands.
#[derive(Clone)]
pub(crate) struct Located {
    /// The value, or the name of a type that no setting has.
    pub(crate) value: Result<Literal, &'static str>,
    pub(crate) line: usize,
    /// The lines of its parts, by their path (see `join`).
    pub(crate) parts: PartLines,
}

/// The lines on which the parts of a structured value stand.
pub(crate) type PartLines = BTreeMap<String, usize>;

/// The known settings that the file holds, and everything else as errors.
#[derive(Default)]
pub(crate) struct FileTable {
    pub(crate) values: BTreeMap<&'static str, Located>,
    pub(crate) errors: Vec<ConfigError>,
    /// True when the text is not TOML, so that values may be missing from `values`.
    pub(crate) is_broken: bool,
}

impl FileTable {
    pub(crate) fn parse(file: &FileSource) -> Self {
        let lines = Lines::of(file.text());
        let (table, syntax_errors) = DeTable::parse_recoverable(file.text());
        let mut reader = Reader { path: file.path(), lines, result: Self::default() };
        if syntax_errors.is_empty() {
            reader.read_document(table.get_ref());
        } else {
            reader.result.is_broken = true;
            reader.report_syntax(file.text(), &syntax_errors);
        }
        reader.result
    }
}

struct Reader<'a> {
    path: &'a Path,
    lines: Lines,
    result: FileTable,
}

impl Reader<'_> {
    /// One error a line: what follows the first is mostly its consequence. The message comes without the excerpt
    /// of the file that the parser offers, which may hold a secret.
    fn report_syntax(&mut self, text: &str, errors: &[toml::de::Error]) {
        let mut last_line = None;
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = self.lines.line_at(span.start);
            if last_line.replace(line) == Some(line) {
                continue;
            }
            let message = error.message();
            let is_duplicate = message.contains("duplicate key");
            let remedy = if is_duplicate {
                "keep one of them"
            } else {
                "correct this line; values that are text are in quotes"
            };
            let error =
                ConfigError::new(format!("it is not valid TOML: {message}"), remedy).at(self.at(line));
            let name = text.get(span).filter(|_| is_duplicate);
            self.result.errors.push(match name {
                Some(name) => error.key(name),
                None => error,
            });
        }
    }

    fn read_document(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = self.lines.line_at(name.span().start);
            match (SECTIONS.iter().find(|section| section.name == name.get_ref()), value.get_ref()) {
                (Some(section), DeValue::Table(settings)) => self.read_section(section, settings),
                (Some(section), _) => {
                    let error = ConfigError::new(
                        "it is a section, not a setting",
                        format!("write [{}] on a line of its own and the settings below it", section.name),
                    );
                    self.result.errors.push(error.key(section.name).at(self.at(line)));
                }
                (None, value) => self.report_unknown_top(name.get_ref(), is_table(value), line),
            }
        }
    }

    fn read_section(&mut self, section: &Section, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = self.lines.line_at(name.span().start);
            match section.settings.iter().find(|setting| setting.name() == name.get_ref()) {
                Some(setting) => {
                    let mut parts = PartLines::new();
                    self.lines_of_parts(value, "", &mut parts);
                    self.result.values.insert(setting.key(), Located { value: literal(value), line, parts });
                }
                None => self.report_unknown_setting(section, name.get_ref(), line),
            }
        }
    }

    fn lines_of_parts(&self, value: &Spanned<DeValue<'_>>, path: &str, parts: &mut PartLines) {
        let mut note = |path: String, at: usize, value: &Spanned<DeValue<'_>>| {
            parts.insert(path.clone(), self.lines.line_at(at));
            self.lines_of_parts(value, &path, parts);
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                for (name, value) in table {
                    note(join(path, name.get_ref()), name.span().start, value);
                }
            }
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    note(join(path, &entry(index)), item.span().start, item);
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn report_unknown_top(&mut self, name: &str, is_table: bool, line: usize) {
        let error = if is_table {
            let names = SECTIONS.iter().map(|section| section.name);
            let remedy = match nearest(name, names.clone()) {
                Some(section) => format!("did you mean [{section}]?"),
                None => format!("the sections are {}", names.collect::<Vec<_>>().join(", ")),
            };
            ConfigError::new("there is no such section", remedy)
        } else {
            let remedy = match elsewhere(name) {
                Some(key) => format!("did you mean `{key}`?"),
                None => "every setting stands in a section; remove it, or see the reference of settings"
                    .to_owned(),
            };
            ConfigError::new("there is no such setting", remedy)
        };
        self.result.errors.push(error.key(name).at(self.at(line)));
    }

    fn report_unknown_setting(&mut self, section: &Section, name: &str, line: usize) {
        let names = section.settings.iter().map(|setting| setting.name());
        let remedy = match nearest(name, names.clone()) {
            Some(known) => format!("did you mean `{}.{known}`?", section.name),
            None => match elsewhere(name) {
                Some(key) => format!("did you mean `{key}`?"),
                None => {
                    format!("the settings of [{}] are {}", section.name, names.collect::<Vec<_>>().join(", "))
                }
            },
        };
        let error = ConfigError::new("there is no such setting", remedy);
        self.result.errors.push(error.key(&format!("{}.{name}", section.name)).at(self.at(line)));
    }

    fn at(&self, line: usize) -> Source {
        Source::File { path: self.path.to_owned(), line }
    }
}

/// The key whose last part or environment variable has this name, or nearly.
fn elsewhere(name: &str) -> Option<&'static str> {
    let exact = all().find(|setting| setting.name() == name || setting.env() == name);
    exact.map(AnySetting::key).or_else(|| {
        let near = nearest(name, all().flat_map(|setting| [setting.name(), setting.env()]))?;
        all().find(|setting| setting.name() == near || setting.env() == near).map(AnySetting::key)
    })
}

/// A value of a TOML document, tables in the order in which they are written; or the name of a type that no setting has.
pub(crate) fn literal(value: &Spanned<DeValue<'_>>) -> Result<Literal, &'static str> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Literal::Text(text.clone().into_owned())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Literal::Integer)
            .map_err(|_| "an integer of more than 64 bits"),
        DeValue::Boolean(value) => Ok(Literal::Boolean(*value)),
        DeValue::Array(items) => {
            let items = items.iter().map(literal).collect::<Result<Vec<_>, _>>()?;
            let text = |item: &Literal| match item {
                Literal::Text(text) => Some(text.clone()),
                _ => None,
            };
            let texts: Option<Vec<String>> = items.iter().map(text).collect();
            Ok(texts.map_or(Literal::Array(items), Literal::List))
        }
        DeValue::Float(number) => Ok(Literal::Decimal(number.as_str().to_owned())),
        DeValue::Datetime(_) => Err("a date or time"),
        DeValue::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(name, _)| name.span().start);
            let entry = |(name, value): (&Spanned<Cow<'_, str>>, _)| {
                Ok((name.get_ref().clone().into_owned(), literal(value)?))
            };
            entries.into_iter().map(entry).collect::<Result<Vec<_>, _>>().map(Literal::Table)
        }
    }
}

fn is_table(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Table(_))
}

/// Where each line starts, in bytes.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// Line of a byte, from 1.
    fn line_at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte) + 1
    }
}
