//! Paths of files and directories. Does not look whether they exist.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::text;
use crate::setting::{Kind, Literal, Raw, Refusal};

/// The path of a directory, which need not exist yet.
pub(crate) struct Directory;

impl Kind<PathBuf> for Directory {
    fn parse(&self, raw: &Raw<'_>) -> Result<PathBuf, Refusal> {
        parse(raw)
    }

    fn show(&self, value: &PathBuf) -> Option<Literal> {
        Some(show(value))
    }

    fn describe(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1})
    }
}

/// The path of a file.
pub(crate) struct FilePath {
    /// One that a reader recognises.
    pub(crate) example: &'static str,
}

impl Kind<PathBuf> for FilePath {
    fn parse(&self, raw: &Raw<'_>) -> Result<PathBuf, Refusal> {
        parse(raw)
    }

    fn show(&self, value: &PathBuf) -> Option<Literal> {
        Some(show(value))
    }

    fn describe(&self) -> String {
        "the path of a file".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "minLength": 1})
    }

    fn example(&self) -> Literal {
        Literal::Text(self.example.to_owned())
    }
}

fn parse(raw: &Raw<'_>) -> Result<PathBuf, Refusal> {
    match text(raw)? {
        "" => Err(Refusal::because("it is empty")),
        text if text.contains('\0') => Err(Refusal::because("a path holds no NUL character")),
        text => Ok(PathBuf::from(text)),
    }
}

fn show(path: &Path) -> Literal {
    Literal::Text(path.to_string_lossy().into_owned())
}
