//! `cargo xtask regen`: the committed files that the program itself can write. The program is asked through its
//! command line, so that this tool need not be built with all of it.

use std::fs;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::shell;

/// One generated file and the arguments with which `phoenix` prints it.
struct Generated {
    path: &'static str,
    arguments: &'static [&'static str],
}

const FILES: &[Generated] = &[
    Generated { path: "docs/config.md", arguments: &["config", "reference"] },
    Generated { path: "docs/openapi.json", arguments: &["openapi"] },
    Generated { path: "docs/errors.md", arguments: &["errors"] },
    Generated { path: "docs/doctor-checks.md", arguments: &["doctor", "--list"] },
];

/// Writes the files, or compares them.
///
/// # Errors
/// When `phoenix` cannot be run.
pub fn run(check: bool) -> Result<ExitCode> {
    Ok(if generate(check)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the files, or compares them; false when one differs.
pub(crate) fn generate(check: bool) -> Result<bool> {
    let mut same = true;
    for file in FILES {
        let wanted = print(file)?;
        let path = shell::root().join(file.path);
        let found = fs::read_to_string(&path).unwrap_or_default();
        let Some(difference) = first_difference(&found, &wanted) else { continue };
        if check {
            same = false;
            println!("{}:{difference}\nmend it with: cargo xtask regen", file.path);
        } else {
            fs::write(&path, wanted).with_context(|| format!("write {}", file.path))?;
            println!("wrote {}", file.path);
        }
    }
    Ok(same)
}

fn print(file: &Generated) -> Result<String> {
    let mut command = shell::cargo(&["run", "--quiet", "--package", "phoenix", "--"]);
    let output = command.args(file.arguments).stderr(Stdio::inherit()).output().context("run phoenix")?;
    let name = file.arguments.join(" ");
    ensure!(output.status.success(), "`phoenix {name}`, which prints {}, failed", file.path);
    let mut text =
        String::from_utf8(output.stdout).with_context(|| format!("the output of `phoenix {name}`"))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Number and content of the first line that differs.
fn first_difference(found: &str, wanted: &str) -> Option<String> {
    if found == wanted {
        return None;
    }
    let (mut old, mut new) = (found.lines(), wanted.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let show = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
                return Some(format!("{number}\n  committed: {}\n  generated: {}", show(old), show(new)));
            }
        }
    }
    Some("the files differ in their line ends".to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn it_shows_the_first_line_that_differs() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        let changed = first_difference("a\nb\nc\n", "a\nx\ny\n").expect("line 2 differs");
        assert_eq!(changed, "2\n  committed: b\n  generated: x");
        let shorter = first_difference("a\n", "a\nb\n").expect("line 2 is missing");
        assert_eq!(shorter, "2\n  committed: (end of file)\n  generated: b");
        assert!(first_difference("a", "a\n").is_some());
    }
}
