//! How PostgreSQL is reached: options, and what the driver is told.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::tls::{PgTls, TlsOptions};
use crate::connect_error::ConnectError;
use crate::tls::Authorities;

/// Idle time after which the system probes whether the other end still exists, and between such probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// A statement waits for a lock at most this part of `query_timeout`, so that there is time to try again.
const LOCK_TIMEOUT_DIVISOR: u32 = 3;

/// Options of [`PgStore`](super::PgStore).
#[derive(Clone)]
pub struct PgConfig {
    /// `postgres://user:password@host:5432/database`; `tls.rs` says which parameters concern TLS.
    pub url: String,
    /// Whom a server is believed that shows a certificate of theirs, unless the address names a file of its own.
    pub trusted: Authorities,
    /// Most connections of the pool, at least 1. Two more are shared by look-ups of sessions, and each listener has
    /// one.
    pub pool_max: usize,
    /// Connections of the pool kept open when there is nothing to do.
    pub pool_min: usize,
    /// Longest time to open a connection, and to wait for a free one.
    pub connection_timeout: Duration,
    /// A connection above `pool_min` that nobody used for this long is closed.
    pub idle_timeout: Duration,
    /// A connection of this age is replaced; each up to 10 % earlier, so that not all are replaced at once.
    pub max_lifetime: Duration,
    /// The server ends a statement after this.
    pub statement_timeout: Duration,
    /// Longest time of one operation, with everything: waiting for a connection, retries and the pauses between
    /// them. No request waits longer for the database, whatever the other options say.
    pub query_timeout: Duration,
    /// How often an operation is repeated when nothing of it can have been committed.
    pub max_retries: u32,
    /// Upper bound of the random pause before the first retry; it doubles with each.
    pub retry_delay: Duration,
    /// Writes every statement with its duration to the log at level debug.
    pub log_statements: bool,
    /// Random number, different in every process, so that nodes do not retry and reconnect in step.
    pub seed: u64,
}

impl fmt::Debug for PgConfig {
    /// Without the URL, which holds the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgConfig")
            .field("pool_max", &self.pool_max)
            .field("pool_min", &self.pool_min)
            .field("query_timeout", &self.query_timeout)
            .finish_non_exhaustive()
    }
}

/// Where a URL points, as far as it may be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    /// `host:port`, several separated by commas.
    pub(super) server: String,
    pub(super) role: String,
    pub(super) database: String,
}

/// How a server is reached.
pub(super) struct Way {
    pub(super) driver: Config,
    pub(super) tls: PgTls,
    /// What may be shown of it.
    pub(super) target: Target,
}

impl PgConfig {
    /// What the driver needs. Reads the files with certificates that the address names.
    pub(super) fn way(&self) -> Result<Way, ConnectError> {
        let (url, options) = TlsOptions::split(&self.url)?;
        let mut driver: Config = url.parse().map_err(|e| ConnectError::Address(Box::new(e)))?;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(ConnectError::Address("the host is missing".into()));
        }
        let tls = options.connector(&mut driver, &self.trusted)?;
        let target = target(&driver);
        let given = driver.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        driver.options(given + &self.server_options());
        driver
            .application_name("phoenix")
            .connect_timeout(self.connection_timeout)
            .tcp_user_timeout(self.query_timeout)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_PROBES);
        Ok(Way { driver, tls, target })
    }

    fn server_options(&self) -> String {
        format!(
            "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
            millis(self.statement_timeout),
            millis(self.query_timeout / LOCK_TIMEOUT_DIVISOR),
            millis(self.query_timeout * 2),
        )
    }
}

/// At least 1: to the server, 0 means "no limit".
fn millis(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX.unsigned_abs().into())
}

fn target(driver: &Config) -> Target {
    let ports = driver.get_ports();
    let port = |index: usize| ports.get(index).or(ports.last()).copied().unwrap_or(5432);
    let host = |(index, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        Host::Unix(path) => format!("{}:{}", path.display(), port(index)),
    };
    let mut servers: Vec<String> = driver.get_hosts().iter().enumerate().map(host).collect();
    if servers.is_empty() {
        let address = |(index, ip): (usize, &std::net::IpAddr)| format!("{ip}:{}", port(index));
        servers = driver.get_hostaddrs().iter().enumerate().map(address).collect();
    }
    let role = driver.get_user().unwrap_or_default().to_owned();
    let database = driver.get_dbname().map_or_else(|| role.clone(), str::to_owned);
    Target { server: servers.join(","), role, database }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> PgConfig {
        let second = Duration::from_secs(1);
        PgConfig {
            url: url.to_owned(),
            trusted: Authorities::none(),
            pool_max: 1,
            pool_min: 0,
            connection_timeout: second,
            idle_timeout: second,
            max_lifetime: second,
            statement_timeout: second,
            query_timeout: second,
            max_retries: 0,
            retry_delay: second,
            log_statements: false,
            seed: 0,
        }
    }

    #[test]
    fn nothing_shown_holds_the_password() {
        let shown = config("postgres://ada:hunter2@db.example:6432/app");
        let target = shown.way().expect("an address").target;
        assert_eq!(target.server, "db.example:6432");
        assert_eq!((target.role.as_str(), target.database.as_str()), ("ada", "app"));
        assert!(!format!("{shown:?}{target:?}").contains("hunter2"));
        let error = config("postgres://ada:hunter2@db.example:port/app").way().err().expect("no port");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
