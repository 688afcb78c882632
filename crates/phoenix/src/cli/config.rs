//! `phoenix config ...`

use std::sync::Arc;

use clap::Subcommand;

use super::{Failure, SourceArgs, output, warn};
use crate::clock::SystemClock;
use crate::logging;
use crate::tls::TlsServer;

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Check the configuration without starting; exit code 2 if it is wrong
    Check,
    /// Show the effective configuration and where each value comes from; secrets are redacted
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON schema of phoenix.toml
    Schema,
    /// Print a commented phoenix.toml with every setting
    Example,
    /// Print the reference of all settings, in Markdown
    Reference,
}

pub(super) fn run(sources: &SourceArgs, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => {
            let config = sources.load()?;
            logging::check(&config.log).map_err(Failure::wrong)?;
            TlsServer::open(&config, Arc::new(SystemClock::start()))?;
            output::text("The configuration is valid.\n")
        }
        ConfigCommand::Show { json } => {
            let loaded = sources.load_all()?;
            warn(&loaded);
            output::value(*json, &loaded.effective.to_json(), || loaded.effective.to_text())
        }
        ConfigCommand::Schema => output::text(&format!("{:#}\n", phoenix_config::json_schema())),
        ConfigCommand::Example => output::text(&phoenix_config::example_toml()),
        ConfigCommand::Reference => output::text(&phoenix_config::reference_markdown()),
    }
}
