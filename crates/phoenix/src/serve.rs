//! `phoenix serve`: start, announce, serve, end. With another process before or after it, or alone.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use phoenix_auth::AuthError;
use phoenix_auth::ops::{FirstAdministrator, SpecialAccount};
use phoenix_config::{Config, Loaded, Supervisor};
use phoenix_http::Stack;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, World};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::handover::{Activation, Notifier, Role, Sockets, Succession};
use crate::lifecycle::DrainTimes;
use crate::listener::{self, ConnectionLimits, Door, Redirect};
use crate::reload::{Read, Reloader};
use crate::tls::TlsServer;
use crate::{VERSION, spoe};

/// Background work that has not ended by then is dropped.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The system's clock and randomness.
pub(crate) fn system_world() -> World {
    World { clock: Arc::new(SystemClock::start()), entropy: Arc::new(SystemEntropy) }
}

/// What the program that started this process gave it.
pub(crate) struct Started {
    sockets: Activation,
    notifier: Notifier,
}

impl Started {
    /// Takes the sockets that were passed. Changes the environment, so it belongs before the first thread.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(crate) fn of(supervisor: &Supervisor) -> anyhow::Result<Self> {
        let sockets =
            Activation::of(supervisor).context("a socket passed by systemd (LISTEN_FDS) cannot be used")?;
        Ok(Self { sockets, notifier: Notifier::new(supervisor.notify_socket.clone()) })
    }
}

/// Serves until a signal ends it, or another process serves in its place. `read` reads the configuration again.
pub(crate) async fn run(loaded: &Loaded, read: Read, started: Started) -> anyhow::Result<()> {
    let config = &loaded.config;
    let world = system_world();
    // Before anything is touched: this needs files only.
    let tls = TlsServer::open(config, Arc::clone(&world.clock))?;
    let handover_path = config.server.handover_socket.as_deref();
    let mut sockets = Sockets::gather(handover_path, started.sockets).await?;
    // Bound first: a taken port is found out before the database is touched; nobody is accepted yet.
    let socket = sockets.listen(Role::Http, config.server.listen).with_context(|| {
        format!("cannot listen on {}; set PHOENIX_LISTEN to another address", config.server.listen)
    })?;
    let spoe = match config.forward_auth.spoe_listen {
        Some(address) => Some(sockets.listen(Role::Spoe, address).with_context(|| {
            format!("cannot listen on {address}; set PHOENIX_SPOE_LISTEN to another address")
        })?),
        None => None,
    };
    let address = socket.local_addr().context("the listening address is unknown")?;
    let redirect_socket = redirect_socket(&mut sockets, config)?;
    let (predecessor, held) = sockets.settle();
    let mut succession = Succession::prepare(handover_path, held)?;
    let mut signals = Signals::new()?;
    // From here on: without anybody who waits for it, the signal ends the process.
    let hangups = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let hangups_of_tls = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let app = tokio::select! {
        app = start(config, world) => app?.with_tls(tls),
        () = signals.next() => return Ok(()),
    };
    let administrator = first_accounts(&app, config).await?;
    let stack = app.stack(config)?;
    if let Some(spoe) = spoe {
        app.lifecycle.spawn_connection(spoe::serve(spoe, stack.clone(), app.lifecycle.clone()));
    }
    let mut announcement = Some(announcement(address, config, administrator.as_ref()));
    // A password is shown only this once: where that fails, the start has failed.
    if let Some(text) = announcement.take_if(|_| administrator.is_some()) {
        write_out(&text)?;
    }
    accept(socket, redirect_socket, stack, &app, config)?;
    // From here on both serve, until the predecessor has heard of it.
    if let Some(predecessor) = predecessor
        && let Err(error) = predecessor.take_over().await
    {
        leave(&app, config, &mut signals, false).await;
        return Err(error);
    }
    // From here on nobody else serves: nothing below may end this process.
    succession.take_place();
    if let Some(text) = announcement
        && let Err(error) = write_out(&text)
    {
        tracing::warn!(error = &*error as &dyn std::error::Error, "nobody was told that this process serves");
    }
    started.notifier.ready();
    if let Some(tls) = app.tls.clone() {
        app.lifecycle.spawn("certificates", tls.watch(hangups_of_tls, app.lifecycle.clone()));
    }
    let reloader = Reloader {
        read,
        effective: loaded.effective.clone(),
        rules: Arc::clone(&app.limit_rules),
        gateway: config.gateway.clone(),
        served: app.gateway.clone(),
    };
    app.lifecycle.spawn("configuration read again", reloader.run(hangups, app.lifecycle.clone()));
    until_the_end(&app, config, &mut signals, succession, &started.notifier).await;
    Ok(())
}

/// The socket of plain HTTP beside HTTPS, if there is to be one.
fn redirect_socket(sockets: &mut Sockets, config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.tls.redirect_listen else { return Ok(None) };
    let socket = sockets.listen(Role::Redirect, address).with_context(|| {
        format!("cannot listen on {address}; set PHOENIX_TLS_REDIRECT_LISTEN to another address")
    })?;
    Ok(Some(socket))
}

async fn start(config: &Config, world: World) -> anyhow::Result<App> {
    let app = App::build(config, world).await?;
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

/// What whoever started this process reads.
fn announcement(address: SocketAddr, config: &Config, administrator: Option<&FirstAdministrator>) -> String {
    let scheme = if config.tls.certificates.is_empty() { "http" } else { "https" };
    let mut text = format!("Phoenix {VERSION} listening on {scheme}://{address}\n");
    text += &format!("  sign in      POST {scheme}://{address}/api/auth/login\n");
    text += &format!("  API          {scheme}://{address}/api/phoenix/openapi.json\n");
    text += &format!("  dashboard    will be at {scheme}://{address}/phoenix/ (not in this version)\n");
    if let Some(address) = config.forward_auth.spoe_listen {
        text += &format!("  HAProxy      may ask at {address} (SPOE)\n");
    }
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
    text
}

fn write_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Accepts connections from now on.
fn accept(
    socket: TcpListener,
    redirect_socket: Option<TcpListener>,
    stack: Stack,
    app: &App,
    config: &Config,
) -> anyhow::Result<()> {
    let limits = ConnectionLimits::of(config);
    if let (Some(from), Some(tls)) = (redirect_socket, app.tls.clone()) {
        let https_port = socket.local_addr().context("the listening address is unknown")?.port();
        let door = Door::Redirect(Arc::new(Redirect::new(config, tls, https_port)));
        let (stack, limits) = (stack.clone(), limits.for_redirect());
        let accepting = listener::serve_door(from, door, stack, limits, app.clock(), app.lifecycle.clone());
        app.lifecycle.spawn_connection(accepting);
    }
    let accepting =
        listener::serve_door(socket, app.door(), stack, limits, app.clock(), app.lifecycle.clone());
    app.lifecycle.spawn_connection(accepting);
    Ok(())
}

/// Why it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was told to, by this signal.
    Signal,
    /// Another process serves in its place.
    Successor,
}

async fn until_the_end(
    app: &App,
    config: &Config,
    signals: &mut Signals,
    mut succession: Succession,
    notifier: &Notifier,
) {
    let end = tokio::select! {
        () = signals.next() => End::Signal,
        () = succession.next() => End::Successor,
    };
    let server = &config.server;
    let mut at_once = false;
    match end {
        End::Signal => {
            tracing::info!(drain = ?server.drain_timeout, "shutting down; a second signal ends it at once");
            app.word.set_draining();
            notifier.stopping();
            tokio::select! {
                () = wait(server.drain_delay) => {}
                () = signals.next() => at_once = true,
                () = succession.next() => app.lifecycle.succeeded().cancel(),
            }
        }
        // Whoever asks whether it is ready means the service, and that is.
        End::Successor => {
            tracing::info!(drain = ?server.drain_timeout, "another process serves; requests under way finish");
            notifier.stopping();
            app.lifecycle.succeeded().cancel();
        }
    }
    // Its copies of the listening sockets would let clients connect to nobody.
    drop(succession);
    leave(app, config, signals, at_once).await;
}

/// Accepts no more, lets requests under way finish, unless it must be `at_once`, and ends what runs beside them.
async fn leave(app: &App, config: &Config, signals: &mut Signals, at_once: bool) {
    let server = &config.server;
    let times = DrainTimes { idle: server.drain_idle, limit: server.drain_timeout };
    tokio::select! {
        biased;
        () = async { if !at_once { signals.next().await } } => {
            tracing::warn!("second signal: requests in flight are dropped");
        }
        drained = app.lifecycle.drain(times) => {
            if !drained {
                tracing::warn!("some requests did not finish in time and are dropped");
            }
        }
    }
    tokio::select! {
        () = app.stop(STOP_LIMIT) => tracing::info!("stopped"),
        () = signals.next() => tracing::warn!("another signal: ending at once"),
    }
}

async fn wait(pause: Duration) {
    if !pause.is_zero() {
        let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
    }
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
