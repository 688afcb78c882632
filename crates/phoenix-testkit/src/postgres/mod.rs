//! A private `PostgreSQL` server: own data directory, own port, gone with the test process.
//! What a test does with its databases lives in `database.rs`; finding the programs in `binaries.rs`.

pub mod binaries;
mod database;
mod tls;

pub use database::{Rows, database_name};

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::guardian::{EndWith, Guardian, quote};
use crate::{port, wait};

/// The superuser of every private server, and its password.
const USER: &str = "phoenix";
const PASSWORD: &str = "phoenix";
/// Longest time a server may take to accept connections, crash recovery included.
const START_BOUND: Duration = Duration::from_mins(1);
/// Longest time of a fast shutdown.
const STOP_BOUND: Duration = Duration::from_secs(30);
/// Ports tried before giving up: each is lost only when another process takes it within milliseconds.
const PORT_ATTEMPTS: usize = 10;

static SHARED: OnceLock<Postgres> = OnceLock::new();

/// Options of a server that is about to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    settings: Vec<(String, String)>,
}

impl Builder {
    /// Whether commits reach the disk before they are acknowledged (default `true`). `kill -9` loses nothing either
    /// way, because the pages stay with the kernel; `false` is faster.
    #[must_use]
    pub fn fsync(self, on: bool) -> Self {
        self.setting("fsync", if on { "on" } else { "off" })
    }

    /// `max_connections` (default 200).
    #[must_use]
    pub fn max_connections(self, connections: u32) -> Self {
        self.setting("max_connections", &connections.to_string())
    }

    /// Any setting of `postgresql.conf`. The last value of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Creates the data directory and starts the server; returns when it accepts connections.
    ///
    /// # Errors
    /// When no suitable `PostgreSQL` is installed or it does not start, with the end of its log.
    pub fn start(self) -> Result<Postgres> {
        let programs = binaries::directory()?;
        let guardian = Guardian::start("postgres", EndWith::Quit)?;
        guardian.init(&init_script(&guardian, &programs)?)?;
        let mut postgres = Postgres {
            guardian,
            programs,
            settings: Mutex::new(self.settings),
            port: 0,
            guard: Mutex::new(()),
        };
        for _ in 0..PORT_ATTEMPTS {
            postgres.port = port::free();
            match postgres.launch() {
                Err(error) if error.to_string().contains("could not bind") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(postgres),
            }
        }
        bail!("no port was free for PostgreSQL in {PORT_ATTEMPTS} attempts")
    }
}

/// A running (or stopped) private server. All calls block; dropping it ends the server and removes its files.
#[derive(Debug)]
pub struct Postgres {
    guardian: Guardian,
    programs: PathBuf,
    settings: Mutex<Vec<(String, String)>>,
    port: u16,
    /// Held while the server is started or stopped, so that two callers do not interleave.
    guard: Mutex<()>,
}

impl Postgres {
    /// Options: `fsync` on, 200 connections, small buffers; authentication by password (SCRAM).
    #[must_use]
    pub fn builder() -> Builder {
        let builder = Builder { settings: Vec::new() };
        // Dynamic shared memory as files of the data directory: they disappear with it, also after SIGKILL.
        builder
            .setting("dynamic_shared_memory_type", "mmap")
            .setting("shared_buffers", "32MB")
            .setting("huge_pages", "off")
            .setting("timezone", "UTC")
            .fsync(true)
            .max_connections(200)
    }

    /// Starts a server with the default options.
    ///
    /// # Errors
    /// See [`Builder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// The one server of this test process for tests that only need a database (`fsync=off`). Do not stop it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| {
            let started = Self::builder().fsync(false).start();
            started.unwrap_or_else(|error| panic!("the shared PostgreSQL could not be started: {error:#}"))
        })
    }

    /// The port on 127.0.0.1; the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// 127.0.0.1 and the port, for a [`crate::proxy::FaultProxy`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Pid of the postmaster while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guardian.running().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Temporary directory of this server. It disappears with the server.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.guardian.directory().to_owned()
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.guardian.directory().join("log")).unwrap_or_default()
    }

    /// Changes a setting from the next start on.
    pub fn set_for_restart(&self, name: &str, value: &str) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.push((name.to_owned(), value.to_owned()));
    }

    /// Fast shutdown: sessions are ended, nothing is lost. Returns when the server is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop(&self) -> Result<()> {
        let _guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.guardian.signal(Signal::INT)?;
        self.guardian.wait_exit(STOP_BOUND, "PostgreSQL to shut down");
        Ok(())
    }

    /// SIGKILL to the postmaster and all backends at once. Returns when they are gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        let _guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.guardian.kill_family()
    }

    /// Starts the server again on the same port with the same data, after a fast shutdown if it still runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self) -> Result<()> {
        if self.guardian.running().is_some() {
            self.stop()?;
        }
        let _guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.launch()
    }

    /// SIGSTOP to the postmaster and all backends: connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.guardian.stop_family().map(drop)
    }

    /// Ends [`Self::pause`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.guardian.continue_family()
    }

    fn launch(&self) -> Result<()> {
        let pid = self.guardian.launch(&self.start_script()?)?;
        let ready = wait::for_some_blocking(START_BOUND, "PostgreSQL to accept connections", || {
            if self.guardian.exit_status().is_some() {
                Some(false)
            } else {
                self.is_ready(pid).then_some(true)
            }
        });
        if !ready {
            bail!("PostgreSQL ended while it was being started:\n{}", self.guardian.log_tail());
        }
        Ok(())
    }

    /// The postmaster writes its own state into its lock file: the pid in line 1, the state in line 8.
    fn is_ready(&self, pid: Pid) -> bool {
        let lock = self.guardian.directory().join("data/postmaster.pid");
        let text = fs::read_to_string(lock).unwrap_or_default();
        let mut lines = text.lines();
        let mine = lines.next() == Some(pid.as_raw_nonzero().to_string().as_str());
        mine && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    fn start_script(&self) -> Result<String> {
        let directory = self.guardian.directory().to_str().context("the directory's name is not UTF-8")?;
        let mut script = format!(
            "exec {}{} -D {} -c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            as_unprivileged(),
            program(&self.programs, "postgres")?,
            quote(&format!("{directory}/data")),
            self.port,
            quote(directory),
        );
        for (name, value) in self.settings.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            write!(script, " -c {}", quote(&format!("{name}={value}")))?;
        }
        Ok(script)
    }
}

fn init_script(guardian: &Guardian, programs: &std::path::Path) -> Result<String> {
    let directory = guardian.directory().to_str().context("the directory's name is not UTF-8")?;
    let password = guardian.directory().join("password");
    fs::write(&password, PASSWORD).context("write the password file")?;
    let mut script = String::new();
    if let Some(account) = binaries::unprivileged_account() {
        writeln!(script, "chown -R {account} {} || exit 1", quote(directory))?;
    }
    writeln!(
        script,
        "exec {}{} -D {} -U {USER} --pwfile={} --auth-local=trust --auth-host=scram-sha-256 \
         --encoding=UTF8 --locale=C --no-sync",
        as_unprivileged(),
        program(programs, "initdb")?,
        quote(&format!("{directory}/data")),
        quote(&format!("{directory}/password")),
    )?;
    Ok(script)
}

fn program(directory: &std::path::Path, name: &str) -> Result<String> {
    Ok(quote(directory.join(name).to_str().context("the path of PostgreSQL is not UTF-8")?))
}

/// The words to put before a command so that it does not run as root; `exec`s, so the pid stays.
fn as_unprivileged() -> String {
    binaries::unprivileged_account().map_or_else(String::new, |account| {
        format!("setpriv --reuid={account} --regid=$(id -g {account}) --clear-groups ")
    })
}
