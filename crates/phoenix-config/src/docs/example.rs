//! A configuration file in which every setting stands, commented out, with its default.

use std::fmt::Write as _;

use super::paragraphs;
use crate::{config::SECTIONS, setting::AnySetting};

/// Longest line of a comment, in characters.
const WIDTH: usize = 100;

const INTRODUCTION: &str = "\
# Configuration of Phoenix. Every setting is optional; remove the `#` before one to change it.
# The environment and the command line win over this file.
";

/// A commented `phoenix.toml`. Read as it is, it changes nothing.
#[must_use]
pub fn example_toml() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, &paragraphs(section.doc));
        let _ = writeln!(text, "[{}]", section.name);
        for setting in section.settings {
            write_setting(&mut text, *setting);
        }
    }
    text
}

fn write_setting(text: &mut String, setting: &dyn AnySetting) {
    text.push('\n');
    comment(text, &paragraphs(setting.doc()));
    let default = setting.default_literal();
    let unset = if default.is_some() { "" } else { " Not set by default." };
    comment(text, &[format!("{}: {}.{unset}", setting.env(), setting.describe())]);
    let value = default.unwrap_or_else(|| setting.example());
    for line in value.to_lines(setting.name()) {
        let _ = writeln!(text, "#{line}");
    }
}

fn comment(text: &mut String, paragraphs: &[String]) {
    for paragraph in paragraphs {
        let mut column = WIDTH;
        for word in paragraph.split(' ') {
            let width = word.chars().count() + 1;
            if column + width > WIDTH {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push('#');
                column = 1;
            }
            text.push(' ');
            text.push_str(word);
            column += width;
        }
        text.push('\n');
    }
}
