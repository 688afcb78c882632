//! What the written documents say is there: links lead to files, settings that are named exist, and what a guide must
//! cover it covers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regex::Regex;

/// Variables that are no settings of the server: read by tests, benchmarks and examples, or set by systemd.
const NO_SETTINGS: [&str; 4] = ["PHOENIX_CONFIG", "PHOENIX_PREVIOUS", "PHOENIX_URL", "PHOENIX_JWKS_URL"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// All documents with their text.
fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut documents = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("docs")];
    let mut files: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"]
        .map(|name| root().join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        documents.push((file, text));
    }
    assert!(documents.len() > 20, "the documents were not found");
    Ok(documents)
}

#[test]
fn links_lead_to_files() -> Result<()> {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")?;
    let mut lost = Vec::new();
    for (file, text) in documents()? {
        let folder = file.parent().context("a file has a folder")?;
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            if !target.contains("://") && !folder.join(&target).exists() {
                lost.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    Ok(())
}

#[test]
fn settings_that_are_named_exist() -> Result<()> {
    let reference = fs::read_to_string(root().join("docs/config.md"))?;
    let variable = Regex::new(r"\b(?:PHOENIX|DB)_[A-Z0-9_]*[A-Z0-9]\b")?;
    let known: BTreeSet<&str> = variable.find_iter(&reference).map(|found| found.as_str()).collect();
    assert!(known.len() > 50, "the reference was not found");
    let mut unknown = BTreeSet::new();
    for (file, text) in documents()? {
        for name in variable.find_iter(&text).map(|found| found.as_str()) {
            let setting = name.strip_suffix("_FILE").filter(|_| !known.contains(name)).unwrap_or(name);
            if !known.contains(setting) && !NO_SETTINGS.contains(&name) {
                unknown.insert(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    Ok(())
}

// spec: G7
#[test]
fn the_troubleshooting_guide_covers_what_goes_wrong_most() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/operations/troubleshooting.md"))?;
    let sections: Vec<(&str, usize)> = text
        .split("\n## ")
        .skip(1)
        .map(|section| (section.lines().next().unwrap_or_default(), section.lines().count()))
        .collect();
    for subject in ["database connections", "Redis", "429", "gateway"] {
        let covered = sections
            .iter()
            .any(|(title, lines)| title.to_lowercase().contains(&subject.to_lowercase()) && *lines >= 5);
        assert!(covered, "no section about {subject} among {sections:?}");
    }
    Ok(())
}
