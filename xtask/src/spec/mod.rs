//! `cargo xtask spec`: which test proves which line of `spec.txt`. A test names the ids it proves in a comment above
//! it, `// spec: A4 A6`; `scan.rs` finds those. Ids that are not built yet stand in `spec-pending.txt`.

mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::shell;

/// Folders with Rust sources. This tool's own are left out: they speak about the comments.
const SOURCES: [&str; 5] = ["libs", "crates", "fuzz", "benches", "xtask/tests"];

/// Prints the table; fails when it has a hole.
///
/// # Errors
/// When a file cannot be read.
pub fn run() -> Result<ExitCode> {
    Ok(if check()? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the table; false when it has a hole.
pub(crate) fn check() -> Result<bool> {
    let root = shell::root();
    let mut proofs = Proofs::default();
    for folder in SOURCES {
        for path in rust_files(&root.join(folder))? {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            proofs.add(&name, &text);
        }
    }
    let table = table(&read(root, "spec.txt")?, &read(root, "spec-pending.txt")?, &proofs);
    print!("{}", table.text);
    for problem in &table.problems {
        println!("error: {problem}");
    }
    Ok(table.problems.is_empty())
}

/// What the sources say.
#[derive(Default)]
struct Proofs {
    /// Id to `file::function`.
    tests: BTreeMap<String, Vec<String>>,
    problems: Vec<String>,
}

impl Proofs {
    fn add(&mut self, file: &str, text: &str) {
        for finding in scan::scan(text) {
            match finding {
                scan::Finding::Test { ids, function } => {
                    for id in ids {
                        self.tests.entry(id).or_default().push(format!("{file}::{function}"));
                    }
                }
                scan::Finding::Problem { line, what } => self.problems.push(format!("{file}:{line}: {what}")),
            }
        }
    }
}

struct Table {
    text: String,
    problems: Vec<String>,
}

/// Builds the table from the contents of both files and the sources. Kept apart from all reading, so it can be tested.
fn table(spec: &str, pending: &str, proofs: &Proofs) -> Table {
    let mut text = String::new();
    let mut problems = proofs.problems.clone();
    let pending: BTreeMap<&str, &str> = entries(pending).collect();
    let mut known = BTreeSet::new();
    let mut proved = 0;
    for (id, wording) in entries(spec) {
        if !known.insert(id) {
            problems.push(format!("{id} stands twice in spec.txt"));
        }
        let _ = writeln!(text, "{id:<4} {wording}");
        match (proofs.tests.get(id), pending.get(id)) {
            (Some(tests), waiting) => {
                proved += 1;
                for test in tests {
                    let _ = writeln!(text, "       {test}");
                }
                if waiting.is_some() {
                    problems.push(format!("{id} has a test; remove it from spec-pending.txt"));
                }
            }
            (None, Some(note)) => {
                let _ = writeln!(text, "       pending: {note}");
            }
            (None, None) => problems.push(format!("{id} has no test; name it above one: // spec: {id}")),
        }
    }
    for (id, tests) in &proofs.tests {
        if !known.contains(id.as_str()) {
            problems.push(format!("{} names {id}, which is not in spec.txt", tests.join(", ")));
        }
    }
    for id in pending.keys().filter(|id| !known.contains(*id)) {
        problems.push(format!("spec-pending.txt names {id}, which is not in spec.txt"));
    }
    let _ = writeln!(text, "\n{} ids, {proved} proved, {} pending", known.len(), pending.len());
    Table { text, problems }
}

/// Lines of an id, a tab and a text; empty lines and lines that begin with `#` are comments.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').map_or((line.trim(), ""), |(id, rest)| (id.trim(), rest.trim())))
}

fn read(root: &Path, name: &str) -> Result<String> {
    fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"))
}

/// All `*.rs` below `folder`, in order; none when it does not exist.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Proofs, table};

    fn problems(spec: &str, pending: &str, source: &str) -> Vec<String> {
        let mut proofs = Proofs::default();
        proofs.add("a.rs", source);
        table(spec, pending, &proofs).problems
    }

    const TEST_OF_A1: &str = "// spec: A1\n#[test]\nfn works() {}\n";

    #[test]
    fn every_id_needs_a_test_or_a_pending_line() {
        assert!(problems("A1\tone\nA2\ttwo\n", "# note\nA2\tlater\n", TEST_OF_A1).is_empty());
        assert_eq!(problems("A1\tone\nA2\ttwo\n", "", TEST_OF_A1).len(), 1);
    }

    #[test]
    fn pending_only_shrinks() {
        let found = problems("A1\tone\n", "A1\tlater\n", TEST_OF_A1);
        assert_eq!(found, ["A1 has a test; remove it from spec-pending.txt"]);
    }

    #[test]
    fn unknown_and_double_ids_are_errors() {
        assert_eq!(problems("A2\ttwo\n", "A2\tlater\n", TEST_OF_A1).len(), 1);
        assert_eq!(problems("A1\tone\n", "A9\tlater\n", TEST_OF_A1).len(), 1);
        assert_eq!(problems("A1\tone\nA1\tone\n", "", TEST_OF_A1).len(), 1);
    }

    #[test]
    fn the_table_names_tests_and_notes() {
        let mut proofs = Proofs::default();
        proofs.add("a.rs", TEST_OF_A1);
        let text = table("A1\tone\nA2\ttwo\n", "A2\tlater\n", &proofs).text;
        assert_eq!(
            text,
            "A1   one\n       a.rs::works\nA2   two\n       pending: later\n\n2 ids, 1 proved, 1 pending\n"
        );
    }
}
