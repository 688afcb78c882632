//! `phoenix doctor`

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Args;

use super::{Failure, SourceArgs, output, runtime};
use crate::doctor::{self, Report, Request, State};

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    /// Origin of a running server to look at, for example `http://127.0.0.1:8080` [default: the configured address]
    #[arg(long, value_name = "ORIGIN")]
    url: Option<String>,
    /// How many nodes there are [default: as many as Redis knows, else 1]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: Option<u32>,
    /// Print all checks in Markdown instead, and make none
    #[arg(long, conflicts_with_all = ["json", "strict", "url", "nodes"])]
    list: bool,
}

/// Exit code 0: nothing failed; 1: something did, or with `--strict` is worth a look; 2: the configuration is wrong.
pub(super) fn run(sources: &SourceArgs, args: DoctorArgs) -> Result<ExitCode, Failure> {
    if args.list {
        output::text(&doctor::list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = match sources.read() {
        Ok(loaded) => loaded,
        Err(errors) => {
            show(&doctor::unreadable(&errors), args.json)?;
            return Ok(ExitCode::from(2));
        }
    };
    let request = Request { nodes: args.nodes, url: args.url };
    let runtime = runtime(&loaded.config)?;
    let report = runtime.block_on(doctor::examine(&loaded, &request));
    // A look at a disk that does not answer may still hold a thread.
    runtime.shutdown_background();
    show(&report, args.json)?;
    let is_bad = report.count(State::Failure) > 0 || (args.strict && report.count(State::Warning) > 0);
    Ok(if is_bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn show(report: &Report, json: bool) -> Result<(), Failure> {
    output::value(json, &report.json(), || report.text(io::stdout().is_terminal()))
}
