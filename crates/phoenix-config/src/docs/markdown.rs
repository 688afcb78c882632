//! `docs/config.md`: the reference of settings for people.

use std::fmt::Write as _;

use super::paragraphs;
use crate::{config::SECTIONS, setting::AnySetting};

const INTRODUCTION: &str = "\
<!-- Generated from crates/phoenix-config/src/settings.rs by `cargo xtask regen`. Do not edit. -->

# Configuration

Every setting has a default, so Phoenix starts with none. A setting is read from the first of these that has it:

1. the command line,
2. the environment (an empty variable counts as not set),
3. the configuration file: the one given on the command line, else the one that `PHOENIX_CONFIG` names, else
   `./phoenix.toml` if it exists.

In the file, `section.name` is the key `name` below the line `[section]`, or `section.name` as a dotted key. Numbers
and booleans are written without quotes, everything else in quotes, and lists as arrays of strings. In the environment
lists are separated by commas, and booleans may also be 1/0, yes/no or on/off.

- A duration is a whole number with a unit: `250ms`, `30s`, `5m`, `1h`, `7d`.
- A size is a whole number with a unit: `64MiB`, `16KiB`; without a unit it is in bytes.
- A setting marked *secret* may instead be in a file that the variable with `_FILE` at its end names, as Docker and
  Kubernetes mount secrets. Secrets are never shown.

Unknown keys in the file are errors. Unknown variables that begin with `PHOENIX_` are warnings.
";

/// The reference of settings in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in SECTIONS {
        let _ = write!(text, "\n## {}\n\n{}\n\n", section.name, paragraphs(section.doc).join("\n\n"));
        text.push_str("| Setting | Environment | Value | Default | Meaning |\n|---|---|---|---|---|\n");
        for setting in section.settings {
            text.push_str(&row(*setting));
        }
        for setting in section.settings {
            if let Some(lines) = long_default(*setting) {
                let _ =
                    write!(text, "\nDefault of `{}`:\n\n```toml\n{}\n```\n", setting.key(), lines.join("\n"));
            }
        }
    }
    text
}

/// The lines of a default that has more than one.
fn long_default(setting: &dyn AnySetting) -> Option<Vec<String>> {
    Some(setting.default_literal()?.to_lines(setting.name())).filter(|lines| lines.len() > 1)
}

fn row(setting: &dyn AnySetting) -> String {
    let env = match setting.env_file() {
        Some(env_file) => format!("`{}`, `{env_file}`", setting.env()),
        None => format!("`{}`", setting.env()),
    };
    let default = match setting.default_literal() {
        None => "not set".to_owned(),
        Some(_) if long_default(setting).is_some() => "below".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    let secret = if setting.env_file().is_some() { "; *secret*" } else { "" };
    let meaning = paragraphs(setting.doc()).join(" ");
    let cells = [format!("`{}`", setting.key()), env, setting.describe() + secret, default, meaning];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
