//! The command line: what can be asked, and with which exit code it ends.
//!
//! 0 done, 1 failed (the message says why), 2 the command or the configuration is wrong.

mod config;
mod doctor;
mod health;
mod migrate;
mod output;
mod routes;
mod secret_input;
mod session;
mod user;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use phoenix_config::{Config, ConfigErrors, Loaded, Sources, Supervisor};

use crate::app::App;
use crate::reload::Read;
use crate::{gateway, logging, serve};

/// Phoenix: authentication and API protection in one binary.
#[derive(Parser, Debug)]
#[command(name = "phoenix", version, about, long_about = None, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from.
#[derive(Args, Debug, Clone)]
struct SourceArgs {
    /// Configuration file [default: ./phoenix.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one setting, for example --set server.listen=0.0.0.0:8080
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Same as --set server.listen=ADDRESS
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Same as --set data.dir=FOLDER
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start the server (the default)
    Serve,
    /// Bring the database to this version
    Migrate(migrate::MigrateArgs),
    /// Manage accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Check and explain the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// List the routes to the application, and say what would become of a request
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
    /// Ask a running server whether it is ready; exit code 0 if so
    Health(health::HealthArgs),
    /// Go through what production needs: what is missing, why it matters, how to mend it
    Doctor(doctor::DoctorArgs),
    /// Print the OpenAPI description
    Openapi,
    /// Print the reference of errors, in Markdown
    Errors,
}

/// Why a command ended without doing what it was asked.
pub(crate) enum Failure {
    /// The configuration or the command is wrong: exit code 2.
    Wrong(String),
    /// It could not be done: exit code 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// What is wrong in one sentence.
    fn wrong(error: impl std::fmt::Display) -> Self {
        Self::Wrong(format!("phoenix: {error}"))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<ConfigErrors>() {
            Ok(errors) => Self::Wrong(errors.to_string().trim_end().to_owned()),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Reads the command line, does what it says, and reports.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(Failure::Wrong(text)) => {
            complain(&text);
            ExitCode::from(2)
        }
        Err(Failure::Failed(error)) => {
            complain(&format!("phoenix: {}", chain(&error)));
            ExitCode::from(1)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let loaded = cli.sources.load_all()?;
            warn(&loaded);
            let config = &loaded.config;
            logging::start(&config.log).map_err(Failure::wrong)?;
            let sources = cli.sources.clone();
            let read: Read = Arc::new(move || sources.read());
            // Before there are threads: it changes the environment.
            let started = serve::Started::of(&Supervisor::from_process())?;
            runtime(config)?.block_on(serve::run(&loaded, read, started)).map_err(Failure::from)
        }
        Command::Migrate(args) => offline(&cli.sources, async |config| migrate::run(config, &args).await),
        Command::User(command) => offline(&cli.sources, async |config| user::run(config, command).await),
        Command::Session(command) => {
            offline(&cli.sources, async |config| session::run(config, command).await)
        }
        Command::Config(command) => config::run(&cli.sources, &command),
        Command::Routes(command) => routes::run(&cli.sources, &command),
        Command::Health(args) => {
            let config = cli.sources.load()?;
            runtime(&config)?.block_on(health::run(&config, &args))
        }
        Command::Doctor(args) => return doctor::run(&cli.sources, args),
        Command::Openapi => output::text(&phoenix_http::openapi::json()),
        Command::Errors => output::text(&phoenix_http::problem::reference_markdown()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Runs a command that works on the database without serving.
fn offline(
    sources: &SourceArgs,
    command: impl AsyncFnOnce(&Config) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = sources.load()?;
    let quiet = phoenix_config::Log { filter: "warn".to_owned(), ..config.log.clone() };
    logging::start(&quiet).map_err(Failure::wrong)?;
    runtime(&config)?.block_on(command(&config))
}

/// Opens the database for a command, and closes it after.
async fn with_app<T>(
    config: &Config,
    command: impl AsyncFnOnce(&App) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let app = App::build(config, serve::system_world()).await?;
    let outcome = command(&app).await;
    app.stop(std::time::Duration::from_secs(5)).await;
    outcome
}

fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().context("the number of cores is unknown")?;
    let workers = config.server.workers.or_automatic(cores).get();
    // One worker needs no scheduler that steals.
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.worker_threads(workers).thread_name("phoenix").enable_all();
    builder.build().context("the runtime cannot start")
}

impl SourceArgs {
    fn sources(&self) -> Result<Sources, ConfigErrors> {
        let mut overrides = self.set.clone();
        overrides.extend(self.listen.iter().map(|value| ("server.listen".to_owned(), value.clone())));
        overrides.extend(self.data_dir.iter().map(|value| ("data.dir".to_owned(), value.clone())));
        Sources::from_process(self.config.clone(), overrides)
    }

    fn read(&self) -> Result<Loaded, ConfigErrors> {
        let loaded = phoenix_config::load(&self.sources()?)?;
        gateway::routes::check_all(&loaded)?;
        Ok(loaded)
    }

    fn load_all(&self) -> Result<Loaded, Failure> {
        self.read().map_err(|errors| Failure::Wrong(errors.to_string().trim_end().to_owned()))
    }

    fn load(&self) -> Result<Config, Failure> {
        let loaded = self.load_all()?;
        warn(&loaded);
        Ok(loaded.config)
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("expected KEY=VALUE, for example server.listen=0.0.0.0:8080")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The error and its causes in one line, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

/// To standard error; that it cannot be written there can be told nobody.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
