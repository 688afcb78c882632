//! How PostgreSQL is reached: options, and what the driver is told.

use std::fmt;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::connect_error::ConnectError;

/// Idle time after which the system probes whether the other end still exists, and between such probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// A statement waits for a lock at most this part of `query_timeout`, so that there is time to try again.
const LOCK_TIMEOUT_DIVISOR: u32 = 3;

/// Options of [`PgStore`](super::PgStore).
#[derive(Clone)]
pub struct PgConfig {
    /// `postgres://user:password@host:5432/database`.
    pub url: String,
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

impl PgConfig {
    /// What the driver needs, and what may be shown of it.
    pub(super) fn driver(&self) -> Result<(Config, Target), ConnectError> {
        refuse_tls(&self.url)?;
        let mut driver: Config = self.url.parse().map_err(|e| ConnectError::Address(Box::new(e)))?;
        if driver.get_ssl_mode() == SslMode::Require {
            return Err(ConnectError::TlsUnsupported { mode: "require".to_owned() });
        }
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(ConnectError::Address("the host is missing".into()));
        }
        let target = target(&driver);
        let given = driver.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        driver.options(given + &self.server_options());
        driver
            .application_name("phoenix")
            .ssl_mode(SslMode::Disable)
            .connect_timeout(self.connection_timeout)
            .tcp_user_timeout(self.query_timeout)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_PROBES);
        Ok((driver, target))
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

/// The stricter modes are unknown to the driver, which would call the whole address unreadable.
fn refuse_tls(url: &str) -> Result<(), ConnectError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mode = query.split('&').find_map(|pair| pair.strip_prefix("sslmode="));
    match mode {
        Some(mode @ ("require" | "verify-ca" | "verify-full")) => {
            Err(ConnectError::TlsUnsupported { mode: mode.to_owned() })
        }
        _ => Ok(()),
    }
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
    fn tls_is_refused_in_plain_words() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let error =
                config(&format!("postgres://a:b@c/d?sslmode={mode}")).driver().expect_err("no TLS yet");
            assert!(matches!(error, ConnectError::TlsUnsupported { .. }), "{error}");
        }
        assert!(config("postgres://a:b@c/d?sslmode=prefer").driver().is_ok());
    }

    #[test]
    fn nothing_shown_holds_the_password() {
        let shown = config("postgres://ada:hunter2@db.example:6432/app");
        let (_, target) = shown.driver().expect("an address");
        assert_eq!(target.server, "db.example:6432");
        assert_eq!((target.role.as_str(), target.database.as_str()), ("ada", "app"));
        assert!(!format!("{shown:?}{target:?}").contains("hunter2"));
        let error = config("postgres://ada:hunter2@db.example:port/app").driver().expect_err("no port");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
