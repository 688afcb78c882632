//! Logs: for people on a terminal, JSON otherwise, always on standard error.

use std::io::{self, IsTerminal};

use phoenix_config::LogFormat;
use tracing::subscriber::set_global_default;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The configured filter is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "log.filter (PHOENIX_LOG) is {0:?}, which is no filter; use for example info or info,phoenix_store=debug"
)]
pub(crate) struct BadFilter(String);

/// Whether the filter can be read: only what filters can say, so the configuration takes any text.
///
/// # Errors
/// When it cannot.
pub(crate) fn check(config: &phoenix_config::Log) -> Result<EnvFilter, BadFilter> {
    EnvFilter::try_new(&config.filter).map_err(|_| BadFilter(config.filter.clone()))
}

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(config: &phoenix_config::Log) -> Result<(), BadFilter> {
    let filter = check(config)?;
    let human = match config.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    // Not `init`: that may also take over what libraries write through `log`, and the database driver writes the
    // parameters of its statements there. Fails only if logging was started already, as in tests that start several
    // applications.
    let _ = if human {
        set_global_default(builder.with_ansi(io::stderr().is_terminal()).finish())
    } else {
        let json = builder.json().flatten_event(true).with_current_span(true).with_span_list(false);
        set_global_default(json.finish())
    };
    Ok(())
}
