//! What is wrong with a configuration, said so that it can be put right. Owns the words' arrangement, not the words.
//! Never holds the value of a secret.

use std::{error::Error, fmt, path::PathBuf};

use crate::file::PartLines;

/// Longest part of a value that an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// Most errors that are displayed; the rest are counted.
const MAX_SHOWN_ERRORS: usize = 50;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line in the file, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: String,
    },
    /// A file that an environment variable names, which holds a secret.
    SecretFile {
        /// The name of the variable, `.._FILE`.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The command line.
    CommandLine,
}

impl Source {
    /// Where a part of a structured value stands: on the line of the smallest part around it whose line is known.
    pub(crate) fn of_part(&self, parts: &PartLines, part: &str) -> Self {
        let Self::File { path, line } = self else { return self.clone() };
        let mut part = part;
        loop {
            if let Some(line) = parts.get(part) {
                return Self::File { path: path.clone(), line: *line };
            }
            match part.rfind(['.', '[']) {
                Some(end) => part = &part[..end],
                None => return Self::File { path: path.clone(), line: *line },
            }
        }
    }

    /// `default`, `file`, `env` or `flag`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment { .. } | Self::SecretFile { .. } => "env",
            Self::CommandLine => "flag",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", one_line(&path.to_string_lossy())),
            Self::Environment { name } => write!(f, "environment variable {}", one_line(name)),
            Self::SecretFile { name, path } => {
                write!(f, "file {} named by {}", one_line(&path.to_string_lossy()), one_line(name))
            }
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: Option<String>,
    at: Option<Source>,
    value: Option<String>,
    reason: String,
    remedy: String,
}

impl ConfigError {
    /// A reason, and what would do. Both are shown as they are: no secret may be in them.
    #[must_use]
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: None, at: None, value: None, reason: reason.into(), remedy: remedy.into() }
    }

    /// Of this setting, or a part of one: `limits.classes.api.windows`.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(clip(key));
        self
    }

    /// Of a value from there.
    #[must_use]
    pub fn at(mut self, at: Source) -> Self {
        self.at = Some(at);
        self
    }

    /// With the value as it was written. The caller has made sure that it may be shown.
    #[must_use]
    pub fn value(mut self, value: &str) -> Self {
        self.value = Some(clip(value));
        self
    }

    /// The setting, `section.name`; absent when no single setting is at fault.
    #[must_use]
    pub fn setting(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Where the value comes from, when it has a place.
    #[must_use]
    pub fn source_of_value(&self) -> Option<&Source> {
        self.at.as_ref()
    }

    /// The value as it was written, shortened; absent for secrets.
    #[must_use]
    pub fn shown_value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Why it was refused.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What would do.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", one_line(self.key.as_deref().unwrap_or("configuration")))?;
        if let Some(at) = &self.at {
            writeln!(f, "  from:   {at}")?;
        }
        if let Some(value) = &self.value {
            writeln!(f, "  value:  {}", one_line(value))?;
        }
        writeln!(f, "  reason: {}", one_line(&self.reason))?;
        write!(f, "  remedy: {}", one_line(&self.remedy))
    }
}

impl Error for ConfigError {}

/// Everything that is wrong, found in one run. Displayed as one block for each error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Errors found elsewhere in a configuration that has none by itself.
    #[must_use]
    pub fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// The errors: first those of the file as a whole, then by setting in the order of the reference.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has an error")?,
            count => write!(f, "the configuration has {count} errors")?,
        }
        for error in self.0.iter().take(MAX_SHOWN_ERRORS) {
            write!(f, "\n\n{error}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN_ERRORS) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl Error for ConfigErrors {}

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text with its control characters escaped, so that no value can forge a line of output.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
