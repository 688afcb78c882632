//! A private Redis server: nothing on disk, own port, gone with the test process. `cluster.rs` and `sentinel.rs` put
//! several of them together.

mod cluster;
mod sentinel;
mod tls;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::certificates::Leaf;
use crate::guardian::{EndWith, Guardian, quote};
use crate::postgres::binaries;
use crate::{port, wait};

/// Logical databases of one server, hence the most [`Redis::isolated`] calls of one test process.
const DATABASES: u32 = 1024;
const START_BOUND: Duration = Duration::from_secs(30);
const COMMAND_BOUND: Duration = Duration::from_secs(10);
const PORT_ATTEMPTS: usize = 10;

pub use cluster::Cluster;
pub use sentinel::Sentinels;

static SHARED: OnceLock<Redis> = OnceLock::new();

/// Options of a server that is about to be started.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    password: Option<String>,
    settings: Vec<(String, String)>,
    /// Lines of the configuration file of a sentinel; a server has no such file.
    sentinel: Option<String>,
    /// Its certificate, and the authority's, which it trusts.
    tls: Option<(Leaf, String)>,
}

impl Builder {
    /// Clients must authenticate with this password.
    #[must_use]
    pub fn requirepass(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Any setting of `redis.conf`, such as `maxmemory`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server; returns when it answers.
    ///
    /// # Errors
    /// When no Redis is installed or it does not start, with the end of its log.
    pub fn start(self) -> Result<Redis> {
        let program = binaries::redis_server()?;
        let program = quote(program.to_str().context("the path of redis-server is not UTF-8")?);
        let guardian = Guardian::start("redis", EndWith::Kill)?;
        let databases = AtomicU32::new(1);
        let mut redis = Redis { guardian, program, options: self, port: 0, tls_port: 0, databases };
        if let Some((leaf, authority)) = &redis.options.tls {
            redis.write_certificates(leaf, authority)?;
        }
        for _ in 0..PORT_ATTEMPTS {
            redis.port = port::free();
            if redis.options.tls.is_some() {
                redis.tls_port = port::free();
            }
            match redis.launch() {
                Err(error) if error.to_string().contains("Address already in use") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(redis),
            }
        }
        bail!("no port was free for Redis in {PORT_ATTEMPTS} attempts")
    }
}

/// A running (or killed) private server. All calls block; dropping it ends the server.
#[derive(Debug)]
pub struct Redis {
    guardian: Guardian,
    program: String,
    options: Builder,
    port: u16,
    /// 0 without TLS.
    tls_port: u16,
    databases: AtomicU32,
}

/// One test's part of a shared server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolated {
    /// Address with the number of a logical database that no other test of this process uses.
    pub url: String,
    /// A prefix no other test uses, for what logical databases do not separate: channels.
    pub prefix: String,
}

impl Redis {
    /// Options: no password, nothing on disk.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a server with the default options.
    ///
    /// # Errors
    /// See [`Builder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// The one server of this test process for tests that do not disturb it; take a part with [`Self::isolated`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| {
            Self::start().unwrap_or_else(|error| panic!("the shared Redis could not be started: {error:#}"))
        })
    }

    /// A logical database and a key prefix for one test.
    ///
    /// # Panics
    /// When all 1023 are taken.
    #[must_use]
    pub fn isolated(&self) -> Isolated {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        assert!(number < DATABASES, "all {DATABASES} logical databases are taken");
        Isolated { url: format!("{}/{number}", self.url()), prefix: format!("test{number}:") }
    }

    /// Address of the server for a client.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_via(self.address())
    }

    /// Address of the server through another one, such as a [`crate::proxy::FaultProxy`].
    #[must_use]
    pub fn url_via(&self, address: SocketAddr) -> String {
        let password = self.options.password.as_ref().map_or_else(String::new, |word| format!(":{word}@"));
        format!("redis://{password}{address}")
    }

    /// The port on 127.0.0.1; the same for the server's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// 127.0.0.1 and the port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Pid of the server while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.guardian.running().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Temporary directory of this server. It disappears with the server.
    #[must_use]
    pub fn directory(&self) -> std::path::PathBuf {
        self.guardian.directory().to_owned()
    }

    /// SIGKILL. Returns when the server is gone; everything it held is lost.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<()> {
        self.guardian.kill_family()
    }

    /// Starts the server again on the same port, empty, after killing it if it still runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&self) -> Result<()> {
        if self.guardian.running().is_some() {
            self.kill()?;
        }
        self.launch()
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

    /// Runs one command in logical database 0 and returns the reply as Redis wrote it (`+OK`, `$3\r\nabc`, `:1`).
    ///
    /// # Errors
    /// When the server does not answer within 10 seconds or replies with an error.
    pub fn command(&self, words: &[&str]) -> Result<String> {
        let mut stream =
            TcpStream::connect_timeout(&self.address(), COMMAND_BOUND).context("connect to Redis")?;
        stream.set_read_timeout(Some(COMMAND_BOUND))?;
        let mut request = String::new();
        let mut expected = 1;
        if let Some(password) = &self.options.password {
            encode(&mut request, &["AUTH", password])?;
            expected = 2;
        }
        encode(&mut request, words)?;
        // QUIT makes the server close after the last reply, so that its end needs no parsing. A sentinel does not know
        // it, but closes when nothing more can come.
        let is_sentinel = self.options.sentinel.is_some();
        if !is_sentinel {
            encode(&mut request, &["QUIT"])?;
        }
        stream.write_all(request.as_bytes()).context("send to Redis")?;
        if is_sentinel {
            stream.shutdown(Shutdown::Write).context("end the request")?;
        }
        let mut reply = String::new();
        stream.read_to_string(&mut reply).context("read from Redis")?;
        let reply = if is_sentinel { &reply } else { reply.strip_suffix("+OK\r\n").unwrap_or(&reply) };
        let reply = if expected == 2 { reply.strip_prefix("+OK\r\n").unwrap_or(reply) } else { reply };
        ensure!(!reply.starts_with('-'), "Redis replied {reply}");
        Ok(reply.trim_end().to_owned())
    }

    fn launch(&self) -> Result<()> {
        self.guardian.launch(&self.start_script()?)?;
        let ready = wait::for_some_blocking(START_BOUND, "Redis to answer", || {
            if self.guardian.exit_status().is_some() {
                return Some(false);
            }
            self.command(&["PING"]).is_ok_and(|reply| reply == "+PONG").then_some(true)
        });
        ensure!(ready, "Redis ended while it was being started:\n{}", self.guardian.log_tail());
        Ok(())
    }

    fn start_script(&self) -> Result<String> {
        let directory = self.guardian.directory().to_str().context("the directory's name is not UTF-8")?;
        if let Some(lines) = &self.options.sentinel {
            let mut lines = lines.clone();
            for (name, value) in self.tls_settings() {
                writeln!(lines, "{name} {value}")?;
            }
            return sentinel::start_script(&self.program, directory, self.port, &lines);
        }
        let mut script = format!(
            "exec {} --port {} --bind 127.0.0.1 --save '' --appendonly no --databases {DATABASES} --dir {}",
            self.program,
            self.port,
            quote(directory),
        );
        let password = self.options.password.iter().map(|word| ("requirepass", word.as_str()));
        let others = self.options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in password.chain(others) {
            write!(script, " --{name} {}", quote(value))?;
        }
        for (name, value) in self.tls_settings() {
            write!(script, " --{name} {}", quote(&value))?;
        }
        Ok(script)
    }
}

fn encode(request: &mut String, words: &[&str]) -> Result<()> {
    write!(request, "*{}\r\n", words.len())?;
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len())?;
    }
    Ok(())
}
