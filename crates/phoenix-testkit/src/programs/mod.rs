//! Real proxies of others (nginx, Caddy, HAProxy) with a configuration of the test's, on a free port of 127.0.0.1, gone
//! with the test process.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::guardian::{EndWith, Guardian, quote};
use crate::{port, wait};

const START_BOUND: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: usize = 5;

/// A program that can be started here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads `nginx.conf`.
    Nginx,
    /// Reads `Caddyfile`.
    Caddy,
    /// Reads `haproxy.cfg`.
    HaProxy,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::HaProxy => "haproxy",
        }
    }

    /// The path of the program.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn program(self) -> Result<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        let mut files = folders.map(|folder| folder.join(self.name()));
        files
            .find(|file| file.is_file())
            .with_context(|| format!("{} is not installed; run `cargo xtask test`", self.name()))
    }

    fn arguments(self) -> &'static str {
        match self {
            Self::Nginx => {
                "-p . -c nginx.conf -e error.log -g 'daemon off; master_process off; pid nginx.pid;'"
            }
            Self::Caddy => "run --config Caddyfile --adapter caddyfile",
            Self::HaProxy => "-db -f haproxy.cfg",
        }
    }
}

/// A running program. All calls block; dropping it kills the program and removes its directory.
#[derive(Debug)]
pub struct Program {
    guardian: Guardian,
    address: SocketAddr,
}

impl Program {
    /// Starts it on files made by `files` from the address that it is to listen on and the directory it runs in; returns
    /// when it accepts connections.
    ///
    /// # Errors
    /// When it is not installed or does not start, with the end of its output.
    pub fn start(kind: Kind, files: impl Fn(SocketAddr, &Path) -> Vec<(String, String)>) -> Result<Self> {
        let program = kind.program()?;
        let program = program.to_str().context("the path of the program is not UTF-8")?;
        for _ in 0..PORT_ATTEMPTS {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
            let guardian = Guardian::start(kind.name(), EndWith::Kill)?;
            let directory = guardian.directory().to_owned();
            for (name, text) in files(address, &directory) {
                fs::write(directory.join(&name), text).with_context(|| format!("write {name}"))?;
            }
            let folder = quote(directory.to_str().context("the directory is not UTF-8")?);
            let script = format!(
                "cd {folder} || exit 1\nexport HOME={folder} XDG_DATA_HOME={folder} XDG_CONFIG_HOME={folder}\nexec {} {}",
                quote(program),
                kind.arguments()
            );
            guardian.launch(&script)?;
            let is_up = wait::for_some_blocking(START_BOUND, "the program to listen", || {
                if guardian.exit_status().is_some() {
                    return Some(false);
                }
                TcpStream::connect(address).is_ok().then_some(true)
            });
            if is_up {
                return Ok(Self { guardian, address });
            }
            let log = guardian.log_tail();
            if !log.contains("in use") && !log.contains("cannot bind") {
                bail!("{} ended ({:?}) before it listened:\n{log}", kind.name(), guardian.exit_status());
            }
        }
        bail!("no port was free for {} in {PORT_ATTEMPTS} attempts", kind.name())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its pid while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guardian.running().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.guardian.log_tail()
    }
}
