//! What lints cannot see: who may depend on whom, where certain words may stand, how large a file may be, and that
//! the architecture document names every folder. To add a rule on words, add a row to [`WORDS`]; to add a crate, add
//! a row to [`MAY_DEPEND_ON`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use regex::Regex;

/// Every crate outside of `libs/` and what of ours it may depend on; `None` is anything. A library in `libs/` may
/// depend on nothing of ours. Dependencies of tests only are exempt.
const MAY_DEPEND_ON: &[(&str, Option<&[&str]>)] = &[
    ("phoenix-config", Some(&[])),
    ("phoenix-auth", Some(&[])),
    ("phoenix-identity", Some(&[])),
    ("phoenix-store", Some(&["phoenix-auth", "phoenix-cache", "phoenix-resilience"])),
    (
        "phoenix-http",
        Some(&["phoenix-auth", "phoenix-threat", "phoenix-limit", "phoenix-scan", "phoenix-monitor"]),
    ),
    ("phoenix-proxy", Some(&["phoenix-resilience"])),
    ("phoenix-testkit", Some(&[])),
    ("phoenix", None),
    // Targets for whatever reads bytes of strangers, wherever it is.
    ("phoenix-fuzz", None),
    // Benchmarks fill a database with sessions whose tokens they know, and measure the limiter without a server.
    ("xtask", Some(&["phoenix-auth", "phoenix-limit", "phoenix-store", "phoenix-testkit"])),
];

/// Foreign crates a crate of ours must not depend on, and why.
const MUST_NOT_USE: &[(&str, &[&str], &str)] = &[(
    "phoenix-auth",
    &["axum", "hyper", "tokio-postgres", "rusqlite", "redis"],
    "the domain knows neither HTTP nor a database",
)];

/// The crates that may depend on axum. `phoenix-client` is for applications, not for Phoenix: its extractors are an
/// optional feature, and rest on `axum-core` alone.
const USE_AXUM: &[(&str, &[&str])] =
    &[("phoenix-http", &["axum", "axum-core"]), ("phoenix-client", &["axum-core"])];

/// Most lines of a source file, not counting its tests.
const MOST_LINES: usize = 800;

/// A pattern and the only files it may stand in.
struct Words {
    pattern: &'static str,
    only_in: &'static [&'static str],
    /// Whether tests may use it, too.
    tests_may: bool,
    why: &'static str,
}

const WORDS: &[Words] = &[
    Words {
        pattern: r"\.layer\(|middleware::from_fn|(?:^|[^:\w])from_fn(?:_with_state)?\(",
        only_in: &["crates/phoenix-http/src/stack.rs"],
        tests_may: true,
        why: "the order of all request steps stands in stack.rs",
    },
    Words {
        pattern: r#"(?i)"(?:x-)?forwarded(?:-[a-z]+)?"|\bheader::FORWARDED"#,
        only_in: &[
            "crates/phoenix-http/src/client_ip/settings.rs",
            // Which request a trusted proxy asks about, by the same rule.
            "crates/phoenix-http/src/forward_auth/describe.rs",
            // The words that choose between the two.
            "crates/phoenix-config/src/settings.rs",
            "crates/phoenix-config/src/values/choices.rs",
            // Written for applications, never read.
            "crates/phoenix-proxy/src/hygiene.rs",
            // A made-up claim, to see whether a server believes it.
            "crates/phoenix/src/doctor/server.rs",
            // What strangers write there.
            "fuzz/src/targets/client_ip.rs",
            "fuzz/src/targets/forward_auth.rs",
            // No configuration may change it.
            "crates/phoenix-config/src/kinds/gateway_headers.rs",
        ],
        tests_may: true,
        why: "only client_ip/ decides whom to believe about addresses",
    },
    Words {
        pattern: r"unbounded_channel|UnboundedSender|mpsc::unbounded\b",
        only_in: &[],
        tests_may: false,
        why: "every queue has a bound",
    },
    Words { pattern: r"#\[ignore\b", only_in: &[], tests_may: false, why: "a test runs or is deleted" },
];

/// One Rust source file.
struct Source {
    /// Path from the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Lines of code that are not a comment, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Number of the line where the file's unit tests begin; by convention they end the file.
    fn tests_from(&self) -> usize {
        let marked = |line: &str| line.trim_start().starts_with("#[cfg(test)]");
        let whole_file =
            self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "benches");
        let first = if whole_file { Some(0) } else { self.text.lines().position(marked) };
        first.map_or(usize::MAX, |index| index + 1)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

fn sources() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["libs", "crates", "xtask", "fuzz", "benches"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                let path = path.strip_prefix(root())?.to_string_lossy().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 10, "the sources were not found");
    Ok(sources)
}

fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    Ok(command.current_dir(root()).no_deps().other_options(vec!["--offline".to_owned()]).exec()?)
}

/// Names of the crates `package` depends on, other than for its tests.
fn dependencies(package: &Package) -> BTreeSet<&str> {
    let ours =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    ours.map(|dependency| dependency.name.as_str()).collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn crates_of_ours_depend_only_downwards() -> Result<()> {
    let metadata = metadata()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let in_libs = package.manifest_path.strip_prefix(root()).is_ok_and(|path| path.starts_with("libs"));
        let row = MAY_DEPEND_ON.iter().find(|(name, _)| *name == package.name.as_str());
        let allowed = match row {
            _ if in_libs => Some([].as_slice()),
            Some((_, allowed)) => *allowed,
            None => {
                problems.push(format!("{} has no row in MAY_DEPEND_ON", package.name));
                continue;
            }
        };
        for dependency in dependencies(package).intersection(&ours) {
            if allowed.is_some_and(|allowed| !allowed.contains(dependency)) {
                problems.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    report(&problems);
    Ok(())
}

#[test]
fn foreign_crates_stay_where_they_belong() -> Result<()> {
    let mut problems = Vec::new();
    for package in &metadata()?.packages {
        let used = dependencies(package);
        let allowed = USE_AXUM.iter().find(|(name, _)| *name == package.name.as_str());
        let allowed = allowed.map_or([].as_slice(), |(_, allowed)| allowed);
        for crate_of_axum in ["axum", "axum-core"] {
            if used.contains(crate_of_axum) && !allowed.contains(&crate_of_axum) {
                problems.push(format!("{} must not depend on {crate_of_axum}: see USE_AXUM", package.name));
            }
        }
        for (name, forbidden, why) in MUST_NOT_USE {
            for dependency in forbidden.iter().filter(|dependency| used.contains(**dependency)) {
                if *name == package.name.as_str() {
                    problems.push(format!("{name} must not depend on {dependency}: {why}"));
                }
            }
        }
    }
    report(&problems);
    Ok(())
}

#[test]
fn words_stand_only_where_they_may() -> Result<()> {
    let mut problems = Vec::new();
    let sources = sources()?;
    // This file is made of the patterns it looks for.
    let others = || sources.iter().filter(|source| source.path != "xtask/tests/tidy.rs");
    for words in WORDS {
        let pattern = Regex::new(words.pattern)?;
        for source in others().filter(|source| !words.only_in.contains(&source.path.as_str())) {
            let tests_from = source.tests_from();
            for (number, line) in source.code() {
                let exempt = words.tests_may && number >= tests_from;
                if !exempt && pattern.is_match(line) {
                    problems.push(format!("{}:{number}: {} ({})", source.path, line.trim(), words.why));
                }
            }
        }
    }
    report(&problems);
    Ok(())
}

#[test]
fn every_file_says_what_it_owns() -> Result<()> {
    let sources = sources()?;
    let silent = sources.iter().filter(|source| !source.text.starts_with("//!"));
    let problems: Vec<String> =
        silent.map(|source| format!("{} does not begin with a //! comment", source.path)).collect();
    report(&problems);
    Ok(())
}

#[test]
fn no_file_is_too_long() -> Result<()> {
    let mut problems = Vec::new();
    for source in sources()? {
        let lines = source.text.lines().count().min(source.tests_from().saturating_sub(1));
        if lines > MOST_LINES {
            problems
                .push(format!("{} has {lines} lines without its tests; {MOST_LINES} may be", source.path));
        }
    }
    report(&problems);
    Ok(())
}

#[test]
fn the_code_map_names_every_folder() -> Result<()> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).context("read ARCHITECTURE.md")?;
    let map = code_map(&text).context("ARCHITECTURE.md has no heading \"Code map\"")?;
    let mut folders = ["xtask", "fuzz", "sql", "docs"].map(str::to_owned).to_vec();
    for parent in ["libs", "crates"] {
        for entry in fs::read_dir(root().join(parent))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path.file_name().context("a folder's name")?.to_string_lossy().into_owned());
            }
        }
    }
    let mut problems = Vec::new();
    for folder in folders {
        let word = Regex::new(&format!(r"(?:^|[^\w-]){}(?:[^\w-]|$)", regex::escape(&folder)))?;
        if !word.is_match(map) {
            problems.push(format!("the code map of ARCHITECTURE.md does not name {folder}"));
        }
    }
    report(&problems);
    Ok(())
}

/// The text from the heading "Code map" to the next heading of its level or above.
fn code_map(text: &str) -> Option<&str> {
    let heading = Regex::new(r"(?im)^(#+)\s+(?:the\s+)?code\s?map\b.*$").ok()?.captures(text)?;
    let rest = &text[heading.get(0)?.end()..];
    let next = Regex::new(&format!(r"(?m)^#{{1,{}}}\s", heading[1].len())).ok()?;
    Some(next.find(rest).map_or(rest, |found| &rest[..found.start()]))
}

#[test]
fn the_rules_find_what_they_are_for() -> Result<()> {
    let examples: [(usize, &[&str], &[&str]); 4] = [
        (
            0,
            &[
                "router.layer(x)",
                "from_fn(step)",
                "axum::middleware::from_fn(step)",
                "middleware::from_fn(x)",
            ],
            &["std::iter::from_fn(|| None)", "array::from_fn(|n| n)", "let layer = 1;"],
        ),
        (
            1,
            &[r#"get("X-Forwarded-For")"#, r#""forwarded""#, "header::FORWARDED"],
            &["forwarded", r#""x-request-id""#, r#""was forwarded to""#],
        ),
        (2, &["mpsc::unbounded_channel()"], &["mpsc::channel(8)"]),
        (3, &["#[ignore]", "#[ignore = \"slow\"]"], &["#[expect(x)]"]),
    ];
    for (rule, found, not_found) in examples {
        let pattern = Regex::new(WORDS[rule].pattern)?;
        for text in found {
            assert!(pattern.is_match(text), "{text}");
        }
        for text in not_found {
            assert!(!pattern.is_match(text), "{text}");
        }
    }
    let map = code_map("# A\n## Code map\none\n### Part\ntwo\n## Next\nthree\n").context("it is there")?;
    assert_eq!(map, "\none\n### Part\ntwo\n");
    Ok(())
}
