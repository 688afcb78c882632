//! What commands print: text for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::Value;

use super::Failure;

/// Prints text as it is.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")?;
    Ok(())
}

/// Prints one value: as JSON, or with `human`.
pub(super) fn value(json: bool, value: &Value, human: impl FnOnce() -> String) -> Result<(), Failure> {
    if json { text(&format!("{value:#}\n")) } else { text(&human()) }
}
