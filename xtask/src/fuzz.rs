//! `cargo xtask fuzz`: builds the targets of `fuzz/` with libFuzzer and runs them. Works with the stable compiler; takes a
//! C++ compiler, because libFuzzer is one file of C++ after the other.
//!
//! What is found stays in `target/`: inputs that reach new code in `target/fuzz/corpus/<target>`, failures in
//! `target/fuzz/failures/<target>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Seconds for one target, if nothing else is said.
const SECONDS: u64 = 60;
/// Seconds for each target of `--quick`.
const QUICK_SECONDS: u64 = 5;
/// Most bytes of an input: enough for every form, and small enough that many are tried.
const MAX_INPUT_BYTES: usize = 4096;
/// Most memory of a target in MiB. More is a failure.
const MAX_MEMORY_MIB: usize = 1024;
/// Most seconds for one input. More is a failure.
const MAX_INPUT_SECONDS: usize = 5;

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// The target; without one they are listed
    target: Option<String>,
    /// How long to run it
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Run all targets for a few seconds each
    #[arg(long, conflicts_with_all = ["target", "seconds", "reproduce"])]
    quick: bool,
    /// Run this one input, as it was written when it failed
    #[arg(long, requires = "target")]
    reproduce: Option<PathBuf>,
}

/// Lists the targets, or runs some.
///
/// # Errors
/// When there is no such target, or the targets cannot be built.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let targets = targets()?;
    let chosen: Vec<&Target> = match &arguments.target {
        Some(name) => targets.iter().filter(|target| target.name == *name).collect(),
        None if arguments.quick => targets.iter().collect(),
        None => {
            for Target { name, reads } in &targets {
                println!("{name:<15} {reads}");
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    if chosen.is_empty() {
        bail!("there is no such target; `cargo xtask fuzz` lists them");
    }
    let program = build()?;
    let seconds = if arguments.quick { QUICK_SECONDS } else { arguments.seconds };
    let mut failed = Vec::new();
    for target in chosen {
        let passed = match &arguments.reproduce {
            Some(input) => shell::succeeds(target.command(&program).arg(absolute(input)?))?,
            None => target.run(&program, seconds)?,
        };
        if !passed {
            failed.push(target.name.as_str());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// As the user wrote it: targets run at the root.
fn absolute(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("find {}", path.display()))
}

struct Target {
    name: String,
    /// The first line of its file.
    reads: String,
}

/// The targets, by the files in `fuzz/src/targets`; a test of `fuzz/` makes sure that each is one.
fn targets() -> Result<Vec<Target>> {
    let folder = shell::root().join("fuzz/src/targets");
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).context("list fuzz/src/targets")? {
        let path = entry?.path();
        let name = path.file_stem().context("a file's name")?.to_string_lossy().into_owned();
        if name != "mod" {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let first = text.lines().next().unwrap_or_default();
            targets.push(Target { name, reads: first.trim_start_matches("//! ").to_owned() });
        }
    }
    targets.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(targets)
}

/// Builds the driver, with crates of ours instrumented.
fn build() -> Result<PathBuf> {
    let mut command = shell::cargo(&["build", "-p", "phoenix-fuzz", "--features", "engine"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", shell::root().join("fuzz/instrumented"));
    if !shell::succeeds(&mut command)? {
        bail!("the fuzz targets cannot be built; libFuzzer needs a C++ compiler");
    }
    Ok(target_directory()?.join("debug/phoenix-fuzz"))
}

/// Where cargo builds.
fn target_directory() -> Result<PathBuf> {
    let output = shell::cargo(&["metadata", "--format-version", "1", "--no-deps"]).output();
    let metadata: serde_json::Value = serde_json::from_slice(&output.context("start cargo metadata")?.stdout)
        .context("read cargo metadata")?;
    let directory = metadata["target_directory"].as_str().context("cargo names no target directory")?;
    Ok(PathBuf::from(directory))
}

impl Target {
    /// The driver, for this target, with bounds for each input.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(shell::root())
            .env("PHOENIX_FUZZ_TARGET", &self.name)
            .arg(format!("-max_len={MAX_INPUT_BYTES}"))
            .arg(format!("-rss_limit_mb={MAX_MEMORY_MIB}"))
            .arg(format!("-timeout={MAX_INPUT_SECONDS}"));
        command
    }

    fn run(&self, program: &Path, seconds: u64) -> Result<bool> {
        let work = target_directory()?.join("fuzz");
        let (corpus, failures) =
            (work.join("corpus").join(&self.name), work.join("failures").join(&self.name));
        for folder in [&corpus, &failures] {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        println!("\n== {}: {}", self.name, self.reads);
        let mut command = self.command(program);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg("-print_final_stats=1")
            .args(["-verbosity=0", "-print_funcs=0"])
            // New inputs go to the first folder, so none goes to the repository.
            .args([&corpus, &shell::root().join("fuzz/seeds").join(&self.name)]);
        let passed = shell::succeeds(&mut command)?;
        if !passed {
            println!(
                "The input is in {}. To run it again:\n\n    cargo xtask fuzz {} --reproduce <file>\n\n\
                 When it is mended, a short one belongs into fuzz/seeds/{}: every test run tries it.",
                failures.display(),
                self.name,
                self.name
            );
        }
        Ok(passed)
    }
}
