//! `cargo xtask bench`: measurements that are compared with bars. This file owns the list and the dispatch.
//!
//! To write a benchmark `me`:
//! 1. add `src/bench/me.rs` with `pub(super) const BENCH: Bench = Bench { name: "me", about: "..", run };` and
//!    `fn run(context: Context) -> Result<Vec<Bar>>`;
//! 2. name it in [`BENCHES`].
//!
//! Inside `run`:
//! - [`build::release`] builds a binary and returns its path;
//! - [`pin::Cores::detect`] names a core for the server and one for the load; start the server with
//!   `phoenix_testkit::process::PhoenixProcess::builder(path).run_under(cores.server_prefix())`;
//! - [`reference::ReferenceServer`] is the bare hyper server for ratios;
//! - [`load::Plan`] describes the load, [`load::closed_loop`] and [`load::open_loop`] run it on one pinned thread;
//! - [`load::Asker`] asks one thing at a time, for benchmarks that look at every answer;
//! - [`cpu::used_by`] tells what the server's process has used, to see that its core was busy to the end;
//! - [`report::interleaved`] measures two things in turn, because a ratio of two separate runs measures the weather;
//! - [`report::Bar`] is one line of the result; print nothing else to standard output.
//!
//! `context.quick` asks for the form CI can afford: seconds instead of minutes, the same bars.

pub mod build;
pub mod cpu;
mod generator;
mod limits;
pub mod load;
mod me;
pub mod pin;
pub mod proxy;
pub mod reference;
pub mod report;
pub mod sessions;
mod zipf;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use report::{Bar, Machine};

/// All benchmarks, in the order of `--list`.
pub const BENCHES: &[Bench] = &[generator::BENCH, limits::BENCH, me::BENCH, proxy::BENCH, sessions::BENCH];

/// Benchmarks of which a part can be run alone, with the names of the parts.
pub const PARTS: &[(&str, &[&str])] = &[
    (limits::BENCH.name, limits::PARTS),
    (proxy::BENCH.name, proxy::PARTS),
    (sessions::BENCH.name, sessions::PARTS),
];

/// One benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// What the user types.
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// Measures. Runs in a release build.
    pub run: fn(Context) -> Result<Vec<Bar>>,
}

/// What a benchmark is told.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Take seconds, not minutes.
    pub quick: bool,
    /// Only this one of the benchmark's parts, see [`PARTS`].
    pub part: Option<&'static str>,
}

/// The command line of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Which one; all when none is named
    name: Option<String>,
    /// Name the benchmarks
    #[arg(long)]
    list: bool,
    /// The form that CI can afford
    #[arg(long)]
    quick: bool,
    /// Only a part of the benchmark
    #[arg(long, requires = "name")]
    part: Option<String>,
    /// One JSON object per benchmark instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs what was asked for. Exit status 1 when a bar is missed.
///
/// # Errors
/// When a benchmark does not exist or cannot be run.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for bench in BENCHES {
            println!("{:<12} {}", bench.name, bench.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen: Vec<&Bench> = match &arguments.name {
        None => BENCHES.iter().collect(),
        Some(name) => BENCHES.iter().filter(|bench| bench.name == name).collect(),
    };
    if chosen.is_empty() {
        bail!("no such benchmark; `cargo xtask bench --list` names them");
    }
    let part = arguments.part.as_deref().map(|part| named_part(chosen[0].name, part)).transpose()?;
    if cfg!(debug_assertions) {
        return Err(in_release());
    }
    let machine = Machine::detect();
    let mut missed = false;
    for bench in chosen {
        let bars = (bench.run)(Context { quick: arguments.quick, part }).with_context(|| bench.name)?;
        missed |= bars.iter().any(|bar| !bar.pass);
        let command = command_line(bench.name, arguments.quick, part);
        if arguments.json {
            println!("{}", report::json(bench.name, &bars, &machine, &command)?);
        } else {
            print!("{}", report::table(&bars, &machine, &command));
        }
    }
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The part of benchmark `name` that is called `part`.
fn named_part(name: &str, part: &str) -> Result<&'static str> {
    let parts = PARTS.iter().find(|(bench, _)| *bench == name).map_or(&[][..], |(_, parts)| parts);
    let found = parts.iter().find(|known| **known == part).copied();
    found.with_context(|| format!("{name} has no part {part}; its parts are: {}", parts.join(", ")))
}

fn command_line(name: &str, quick: bool, part: Option<&str>) -> String {
    let part = part.map_or_else(String::new, |part| format!(" --part {part}"));
    format!("cargo xtask bench {name}{part}{}", if quick { " --quick" } else { "" })
}

/// Replaces this process, a debug build, by a release build with the same arguments; returns only on failure.
fn in_release() -> anyhow::Error {
    let program = match build::release("xtask", "xtask") {
        Ok(program) => program,
        Err(error) => return error,
    };
    let error = Command::new(program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context("start the release build of xtask")
}

#[cfg(test)]
mod tests {
    use super::{BENCHES, PARTS, command_line, named_part};

    #[test]
    fn parts_belong_to_benchmarks_and_others_are_refused() {
        for (name, parts) in PARTS {
            assert!(BENCHES.iter().any(|bench| bench.name == *name));
            for part in *parts {
                assert_eq!(named_part(name, part).ok(), Some(*part));
                assert_eq!(
                    command_line(name, true, Some(part)),
                    format!("cargo xtask bench {name} --part {part} --quick")
                );
            }
        }
        let error = named_part("sessions", "calm").expect_err("there is no such part");
        assert!(error.to_string().ends_with("storms, steady, provider"), "{error}");
        assert!(named_part("me", "storms").is_err());
    }
}
