//! Builds of the workspace's own binaries. Cargo's messages go to standard error.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::shell;

/// Builds binary `binary` of package `package` with optimisation and returns its path.
///
/// # Errors
/// When it does not build.
pub fn release(package: &str, binary: &str) -> Result<PathBuf> {
    built(package, binary, &["--release"])
}

/// Builds binary `binary` of package `package` as tests are built and returns its path.
///
/// # Errors
/// When it does not build.
pub fn debug(package: &str, binary: &str) -> Result<PathBuf> {
    built(package, binary, &[])
}

fn built(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = shell::cargo(&["build", "--package", package, "--bin", binary]);
    command.args(options);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("run cargo build")?;
    ensure!(output.status.success(), "{binary} does not build");
    let messages = String::from_utf8(output.stdout).context("cargo's messages")?;
    let executable = messages.lines().filter_map(|line| executable(line, binary)).next_back();
    executable.with_context(|| format!("cargo did not say where it put {binary}"))
}

/// The path in a `compiler-artifact` message about `binary`.
fn executable(line: &str, binary: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let about_it = message["reason"] == "compiler-artifact" && message["target"]["name"] == binary;
    message["executable"].as_str().filter(|_| about_it).map(PathBuf::from)
}
