//! `phoenix serve`: start, announce, serve, end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use phoenix_auth::AuthError;
use phoenix_auth::ops::{FirstAdministrator, SpecialAccount};
use phoenix_config::{Config, Loaded};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::VERSION;
use crate::app::{App, World};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::limits::reload::{Read, Reloader};
use crate::listener::{self, ConnectionLimits};

/// Background work that has not ended by then is dropped.
const STOP_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// The system's clock and randomness.
pub(crate) fn system_world() -> World {
    World { clock: Arc::new(SystemClock::start()), entropy: Arc::new(SystemEntropy) }
}

/// Serves until a signal ends it. `read` reads the configuration again.
pub(crate) async fn run(loaded: &Loaded, read: Read) -> anyhow::Result<()> {
    let config = &loaded.config;
    // Bound first: a taken port is found out before the database is touched; nobody is accepted yet.
    let socket = listener::bind(config.server.listen).with_context(|| {
        format!("cannot listen on {}; set PHOENIX_LISTEN to another address", config.server.listen)
    })?;
    let address = socket.local_addr().context("the listening address is unknown")?;
    let mut signals = Signals::new()?;
    // From here on: without anybody who waits for it, the signal ends the process.
    let hangups = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let app = tokio::select! {
        app = start(config) => app?,
        () = signals.next() => return Ok(()),
    };
    let administrator = first_accounts(&app, config).await?;
    announce(address, config, administrator.as_ref())?;
    let reloader =
        Reloader { read, effective: loaded.effective.clone(), rules: Arc::clone(&app.limit_rules) };
    app.lifecycle.spawn("configuration read again", reloader.run(hangups, app.lifecycle.clone()));
    serve(socket, &app, config, &mut signals).await
}

async fn start(config: &Config) -> anyhow::Result<App> {
    let app = App::build(config, system_world()).await?;
    app.start(config).await?;
    Ok(app)
}

async fn first_accounts(app: &App, config: &Config) -> anyhow::Result<Option<FirstAdministrator>> {
    let email = config.accounts.admin_email.as_ref().map(phoenix_config::EmailAddress::as_str);
    let password = config.accounts.admin_password.as_ref().map(phoenix_config::Secret::expose);
    let administrator = app.auth.ensure_administrator(email, password).await.map_err(|error| match error {
        AuthError::Invalid(fields) => {
            let reasons: Vec<_> = fields.iter().map(|f| format!("{} {}", f.field, f.reason)).collect();
            anyhow::anyhow!("the first administrator cannot be made (PHOENIX_ADMIN_EMAIL, PHOENIX_ADMIN_PASSWORD): {}", reasons.join("; "))
        }
        other => anyhow::Error::new(other).context("the first administrator cannot be made"),
    })?;
    app.auth.reconcile_special_accounts().await.context("the demonstration accounts cannot be set up")?;
    Ok(administrator)
}

fn announce(
    address: SocketAddr,
    config: &Config,
    administrator: Option<&FirstAdministrator>,
) -> anyhow::Result<()> {
    let mut text = format!("Phoenix {VERSION} listening on http://{address}\n");
    text += &format!("  sign in      POST http://{address}/api/auth/login\n");
    text += &format!("  API          http://{address}/api/phoenix/openapi.json\n");
    text += &format!("  dashboard    will be at http://{address}/phoenix/ (not in this version)\n");
    match &config.database.url {
        Some(_) => text += "  database     PostgreSQL\n",
        None => text += &format!("  database     embedded, in {}\n", config.data.dir.display()),
    }
    if config.stack.is_some() {
        text += "  Stack Auth   tokens of the configured project are accepted\n";
    }
    if let Some(FirstAdministrator { email, generated_password }) = administrator {
        text += "\n  The database was empty. An administrator was made:\n";
        text += &format!("    email      {email}\n");
        match generated_password {
            Some(password) => text += &format!("    password   {password}   (shown only this once)\n"),
            None => text += "    password   as configured\n",
        }
    }
    let mut special = Vec::new();
    if config.accounts.demo_mode {
        special.extend(SpecialAccount::DEMO);
    }
    if config.accounts.test_user {
        special.push(SpecialAccount::TEST);
    }
    for account in special {
        text += &format!("  account      {} / {} (published password)\n", account.email, account.password);
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

async fn serve(socket: TcpListener, app: &App, config: &Config, signals: &mut Signals) -> anyhow::Result<()> {
    let stack = app.stack(config)?;
    let limits = ConnectionLimits::of(config);
    let accepting = listener::serve(socket, stack, limits, app.clock(), app.lifecycle.clone());
    app.lifecycle.spawn("accept loop", accepting);
    signals.next().await;
    tracing::info!(drain = ?config.server.drain_timeout, "shutting down; a second signal ends it at once");
    app.word.set_draining();
    tokio::select! {
        drained = app.lifecycle.drain(config.server.drain_timeout) => {
            if !drained {
                tracing::warn!("some requests did not finish in time and are dropped");
            }
        }
        () = signals.next() => tracing::warn!("second signal: requests in flight are dropped"),
    }
    tokio::select! {
        () = app.stop(STOP_LIMIT) => tracing::info!("stopped"),
        () = signals.next() => tracing::warn!("another signal: ending at once"),
    }
    Ok(())
}

/// `SIGINT` and `SIGTERM`.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
