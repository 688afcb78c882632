//! `cargo xtask check`: everything that must hold besides the tests. All steps run, failures are listed at the end.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use crate::{regen, shell, spec};

/// Runs every step.
///
/// # Errors
/// Never because of a step: a step that cannot run has failed.
pub fn run(advisories: bool) -> Result<ExitCode> {
    let mut report = Report::default();
    report.step("format", || shell::succeeds(&mut shell::cargo(&["fmt", "--all", "--check"])));
    report.step("lints", || {
        // The driver of the fuzz targets cannot be linked without its engine, but it can be looked at.
        let what = ["clippy", "--workspace", "--all-targets", "--features", "phoenix-fuzz/driver"];
        shell::succeeds(shell::cargo(&what).args(["--", "-D", "warnings"]))
    });
    report.step("documentation", || {
        let mut command = shell::cargo(&["doc", "--workspace", "--no-deps"]);
        shell::succeeds(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.step("dependencies", || dependencies(advisories));
    report.step("specification", spec::check);
    report.step("generated files", || regen::generate(true));
    Ok(report.finish())
}

#[derive(Default)]
struct Report {
    failed: Vec<&'static str>,
}

impl Report {
    fn step(&mut self, name: &'static str, run: impl FnOnce() -> Result<bool>) {
        println!("\n== {name}");
        let start = Instant::now();
        let passed = run().unwrap_or_else(|error| {
            eprintln!("{error:#}");
            false
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("== {name}: {} in {seconds:.1} s", if passed { "ok" } else { "FAILED" });
        if !passed {
            self.failed.push(name);
        }
    }

    fn finish(self) -> ExitCode {
        if self.failed.is_empty() {
            println!("\nall checks passed");
            return ExitCode::SUCCESS;
        }
        println!("\nfailed: {}", self.failed.join(", "));
        ExitCode::FAILURE
    }
}

/// Licences, banned crates and sources; known vulnerabilities only on request, since that needs the network.
fn dependencies(advisories: bool) -> Result<bool> {
    let installed =
        Command::new("cargo-deny").arg("--version").output().is_ok_and(|out| out.status.success());
    if !installed && !shell::succeeds(&mut shell::cargo(&["install", "cargo-deny", "--locked"]))? {
        return Ok(false);
    }
    let mut command = shell::cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    shell::succeeds(&mut command)
}
