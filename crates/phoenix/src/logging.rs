//! Logs: for people on a terminal, JSON otherwise, always on standard error.

use std::io::{self, IsTerminal};

use anyhow::Context;
use phoenix_config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(config: &phoenix_config::Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter).with_context(|| {
        format!("log.filter (PHOENIX_LOG) is {:?}, which is no filter; use for example info or info,phoenix_store=debug", config.filter)
    })?;
    let human = match config.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only if logging was started already, as in tests that start several applications.
    let _ = if human {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    Ok(())
}
