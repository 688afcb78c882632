//! A private Redis with a replica, watched by three sentinels that fail over within a few seconds.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Builder, Redis, START_BOUND};
use crate::certificates::Authority;
use crate::guardian::quote;
use crate::wait;

const SERVICE: &str = "phoenix-test";
const SENTINELS: usize = 3;
/// A server that does not answer for this long is taken for dead. Large enough for a loaded machine.
const DOWN_AFTER: Duration = Duration::from_secs(1);
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// A running set. Dropping it ends all of it.
#[derive(Debug)]
pub struct Sentinels {
    servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Starts a master, a replica and three sentinels; returns when the sentinels know all of them.
    ///
    /// # Errors
    /// When one of them does not start.
    ///
    /// # Panics
    /// When they do not find each other within 30 seconds.
    pub fn start() -> Result<Self> {
        Self::with_password(None)
    }

    /// The same; servers and clients use this password, sentinels have none.
    ///
    /// # Errors
    /// See [`Self::start`].
    ///
    /// # Panics
    /// See [`Self::start`].
    pub fn with_password(password: Option<&str>) -> Result<Self> {
        Self::of(password, &|builder| builder)
    }

    /// The same without a password; all five speak TLS, among themselves and with clients, and have certificates for
    /// 127.0.0.1.
    ///
    /// # Errors
    /// See [`Self::start`].
    ///
    /// # Panics
    /// See [`Self::start`].
    pub fn start_with_tls(authority: &Authority) -> Result<Self> {
        Self::of(None, &|builder| builder.tls(authority.issue_local(), authority))
    }

    fn of(password: Option<&str>, finished: &dyn Fn(Builder) -> Builder) -> Result<Self> {
        let master = finished(server(password)).start()?;
        let port = announced(&master);
        let address = format!("127.0.0.1 {port}");
        let replica = finished(server(password)).setting("replicaof", &address).start()?;
        wait::until_blocking(START_BOUND, "the replica to follow the master", || {
            replica.command(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
        });
        let sentinels = (0..SENTINELS)
            .map(|_| {
                let sentinel = Some(lines(port, password));
                finished(Builder { sentinel, ..Builder::default() }).start()
            })
            .collect::<Result<Vec<_>>>()?;
        let set = Self { servers: [master, replica], sentinels };
        set.until_complete();
        Ok(set)
    }

    /// The two servers: the first started as the master.
    #[must_use]
    pub fn servers(&self) -> &[Redis; 2] {
        &self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Name under which the sentinels know the master.
    #[must_use]
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// Address for a client: all sentinels, the service, and a logical database.
    #[must_use]
    pub fn url(&self) -> String {
        let password =
            self.servers[0].options.password.as_ref().map_or_else(String::new, |word| format!(":{word}@"));
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        format!("redis-sentinel://{password}{}/{SERVICE}/1", hosts.join(","))
    }

    /// Address for a client that speaks TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| sentinel.tls_address().to_string()).collect();
        format!("rediss-sentinel://{}/{SERVICE}/1", hosts.join(","))
    }

    /// The server that the first sentinel takes for the master.
    ///
    /// # Errors
    /// When the sentinel does not answer.
    pub fn master(&self) -> Result<usize> {
        let reply = self.sentinels[0].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])?;
        let port = reply.lines().last().context("a port")?;
        let port: u16 = port.trim().parse().with_context(|| format!("{reply} ends with a port"))?;
        self.servers.iter().position(|server| announced(server) == port).context("one of the servers")
    }

    fn until_complete(&self) {
        for sentinel in &self.sentinels {
            wait::until_blocking(START_BOUND, "a sentinel to know the others and the replica", || {
                sentinel.command(&["SENTINEL", "MASTER", SERVICE]).is_ok_and(|reply| {
                    let fields: Vec<&str> = reply.lines().collect();
                    let is = |name: &str, value: &str| {
                        // Between a name and its value is the line with the value's length.
                        fields.windows(3).any(|line| line[0] == name && line[2] == value)
                    };
                    is("num-slaves", "1") && is("num-other-sentinels", "2")
                })
            });
        }
    }
}

/// The port that others are told.
fn announced(server: &Redis) -> u16 {
    if server.tls_port == 0 { server.port } else { server.tls_port }
}

fn server(password: Option<&str>) -> Builder {
    let builder = Redis::builder().setting("repl-diskless-sync-delay", "0");
    match password {
        Some(password) => builder.requirepass(password).setting("masterauth", password),
        None => builder,
    }
}

fn lines(master: u16, password: Option<&str>) -> String {
    let mut lines = format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {SERVICE} {}\n\
         sentinel failover-timeout {SERVICE} {}\n",
        DOWN_AFTER.as_millis(),
        FAILOVER_TIMEOUT.as_millis(),
    );
    if let Some(password) = password {
        let _ = writeln!(lines, "sentinel auth-pass {SERVICE} {password}");
    }
    lines
}

/// Starts the sentinel; what it learned before stays in its file.
pub(super) fn start_script(program: &str, directory: &str, port: u16, lines: &str) -> Result<String> {
    let mut script = format!("cd {0} || exit 1\nif [ ! -e sentinel.conf ]; then\n", quote(directory));
    writeln!(
        script,
        "cat >sentinel.conf <<'END'\nport {port}\nbind 127.0.0.1\ndir {directory}\n{lines}END\nfi"
    )?;
    write!(script, "exec {program} sentinel.conf --sentinel")?;
    Ok(script)
}
