//! A real `phoenix` process (or any program that announces its address the same way) on a free port, in a directory
//! of its own, with nothing of the caller's environment but `PATH` and `HOME`.

use std::env;
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::guardian::{EndWith, Guardian, quote, tail};
use crate::http::Client;
use crate::memory::Memory;
use crate::{port, wait};

/// What the program prints once it accepts connections, followed by its address; one for each scheme.
const ANNOUNCEMENTS: [&str; 2] = ["listening on http://", "listening on https://"];
const START_BOUND: Duration = Duration::from_mins(1);
const STOP_BOUND: Duration = Duration::from_mins(1);
const PORT_ATTEMPTS: usize = 10;

/// Options of a process that is about to be started.
#[derive(Clone, Debug)]
pub struct Builder {
    program: PathBuf,
    runner: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Builder {
    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable; the last value of a name counts. `PHOENIX_LISTEN` set here replaces the free
    /// port that is chosen otherwise.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Runs the program under another that `exec`s it, such as `["taskset", "-c", "0"]`.
    #[must_use]
    pub fn run_under<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.runner = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts the program; returns when it has announced its address.
    ///
    /// # Errors
    /// When it ends before, with the end of its output.
    pub fn start(self) -> Result<PhoenixProcess> {
        let guardian = Guardian::start("process", EndWith::Kill)?;
        let fixed = self.variables.iter().any(|(name, _)| name == "PHOENIX_LISTEN");
        let process = PhoenixProcess { guardian, options: self, address: Mutex::new(None) };
        for _ in 0..PORT_ATTEMPTS {
            let listen = (!fixed).then(|| format!("127.0.0.1:{}", port::free()));
            match process.launch(listen.as_deref()) {
                Err(error) if !fixed && error.to_string().contains("in use") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(process),
            }
        }
        bail!("no port was free in {PORT_ATTEMPTS} attempts")
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this status.
    Code(i32),
    /// It was ended by the signal with this number.
    Signal(i32),
}

/// A running (or ended) process. All calls block; dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct PhoenixProcess {
    guardian: Guardian,
    options: Builder,
    address: Mutex<Option<SocketAddr>>,
}

impl PhoenixProcess {
    /// Options for the program at this path: no arguments, no variables.
    #[must_use]
    pub fn builder(program: impl Into<PathBuf>) -> Builder {
        Builder { program: program.into(), runner: Vec::new(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// The address it announced; kept over a restart.
    ///
    /// # Panics
    /// Never: an address is known before there is a handle.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        address.expect("start() returns only after the announcement")
    }

    /// A new client of this process.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Its pid while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guardian.running().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Its resident memory.
    ///
    /// # Errors
    /// When it does not run, or there is no `/proc`.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid().context("the process does not run")?)
    }

    /// Its working directory, which disappears with it.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.guardian.directory().join("work")
    }

    /// Everything it wrote to standard output, over restarts.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.guardian.directory().join("stdout"))
    }

    /// Everything it wrote to standard error, over restarts.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.guardian.directory().join("stderr"))
    }

    /// SIGKILL. Returns when it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill9(&self) -> Result<()> {
        self.guardian.kill_family()
    }

    /// SIGSTOP: connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.guardian.signal(Signal::STOP)
    }

    /// Ends [`Self::pause`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.guardian.signal(Signal::CONT)
    }

    /// SIGTERM, without waiting.
    ///
    /// # Errors
    /// When it does not run.
    pub fn ask_to_end(&self) -> Result<()> {
        self.guardian.signal(Signal::TERM)
    }

    /// SIGTERM, then waits until it has ended.
    ///
    /// # Errors
    /// When it does not run.
    ///
    /// # Panics
    /// When it takes longer than 60 seconds.
    pub fn terminate(&self) -> Result<Exit> {
        self.ask_to_end()?;
        Ok(self.wait_exit())
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it takes longer than 60 seconds.
    #[must_use]
    pub fn wait_exit(&self) -> Exit {
        match self.guardian.wait_exit(STOP_BOUND, "the process to end") {
            status @ 0..=128 => Exit::Code(status),
            status => Exit::Signal(status - 128),
        }
    }

    /// Starts it again at the same address and in the same directory, after SIGTERM if it still runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self) -> Result<()> {
        if self.guardian.running().is_some() {
            self.terminate()?;
        }
        self.launch(Some(&self.address().to_string()))
    }

    fn launch(&self, listen: Option<&str>) -> Result<()> {
        let (stdout, stderr) = (self.stdout().len(), self.stderr().len());
        self.guardian.launch(&self.start_script(listen)?)?;
        let address = wait::for_some_blocking(START_BOUND, "the process to listen", || {
            // Asked before the output is read, so that the output is whole when the process has ended.
            let ended = self.guardian.exit_status().is_some();
            let found = announced(&self.stderr()[stderr..]).or_else(|| announced(&self.stdout()[stdout..]));
            if found.is_some() || ended { Some(found) } else { None }
        });
        let Some(address) = address else {
            let output = tail(&self.guardian.directory().join("stderr"));
            bail!("the process ended ({:?}) before it listened:\n{output}", self.guardian.exit_status());
        };
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        Ok(())
    }

    fn start_script(&self, listen: Option<&str>) -> Result<String> {
        let directory = text(self.guardian.directory())?;
        let mut script = format!(
            "mkdir -p {0}/work && cd {0}/work || exit 1\nexec >>{0}/stdout 2>>{0}/stderr\nexec env -i",
            quote(directory)
        );
        for name in ["PATH", "HOME"] {
            if let Ok(value) = env::var(name) {
                write!(script, " {}", quote(&format!("{name}={value}")))?;
            }
        }
        let listen = listen.map(|address| ("PHOENIX_LISTEN", address));
        let variables = self.options.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // A restart names the announced address last, so that it wins over `127.0.0.1:0`.
        for (name, value) in variables.chain(listen) {
            write!(script, " {}", quote(&format!("{name}={value}")))?;
        }
        let program = text(&self.options.program)?;
        let words = self.options.runner.iter().map(String::as_str).chain([program]);
        for word in words.chain(self.options.arguments.iter().map(String::as_str)) {
            write!(script, " {}", quote(word))?;
        }
        Ok(script)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The address after the announcement, once the character after it has been written.
fn announced(output: &str) -> Option<SocketAddr> {
    let rest = ANNOUNCEMENTS.iter().find_map(|mark| output.split_once(mark))?.1;
    let end = rest.find(|character: char| !character.is_ascii_hexdigit() && !".:[]".contains(character))?;
    rest[..end].parse().ok()
}
