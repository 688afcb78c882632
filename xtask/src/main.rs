//! `cargo xtask`: everything about this repository that is longer than one command line. This file only parses the
//! command line; each command has a module of its own in the library.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{bench, check, dist, fuzz, regen, spec, test};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the Phoenix repository", disable_version_flag = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all tests; installs PostgreSQL and Redis where it may
    Test {
        /// Passed on to `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _arguments: Vec<String>,
    },
    /// Format, lints, documentation, licences, specification and generated files
    Check {
        /// Also look for known vulnerabilities, which needs the network
        #[arg(long)]
        advisories: bool,
    },
    /// Show which test proves which line of spec.txt
    Spec,
    /// Write the generated files
    Regen {
        /// Compare instead of writing
        #[arg(long)]
        check: bool,
    },
    /// Build the binary without shared libraries, and run it in an empty root directory
    Dist(dist::Arguments),
    /// Measure, and compare with the bars
    Bench(bench::Arguments),
    /// Try made-up bytes on everything that reads what strangers send
    Fuzz(fuzz::Arguments),
    /// The server that benchmarks compare with
    #[command(hide = true)]
    BenchReferenceServer {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// End when standard input is closed
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// The application behind the proxies that are compared
    #[command(hide = true)]
    BenchOrigin {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// End when standard input is closed
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// The bare proxy that Phoenix is compared with
    #[command(hide = true)]
    BenchBareProxy {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The application
        #[arg(long)]
        origin: SocketAddr,
        /// End when standard input is closed
        #[arg(long)]
        until_stdin_closes: bool,
    },
}

fn main() -> Result<ExitCode> {
    match CommandLine::parse().command {
        // As they were typed: clap would swallow the `--` that separates arguments of the tests.
        Command::Test { .. } => test::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Command::Check { advisories } => check::run(advisories),
        Command::Spec => spec::run(),
        Command::Regen { check } => regen::run(check),
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BenchReferenceServer { listen, until_stdin_closes } => {
            bench::reference::serve(listen, until_stdin_closes)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::BenchOrigin { listen, until_stdin_closes } => {
            if until_stdin_closes {
                bench::reference::end_with_stdin();
            }
            bench::proxy::serve_origin(listen)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::BenchBareProxy { listen, origin, until_stdin_closes } => {
            if until_stdin_closes {
                bench::reference::end_with_stdin();
            }
            bench::proxy::serve_bare(listen, origin)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
