//! URLs of the database and of Redis: their form, whether they ask for TLS, and how to show them without the
//! password. Does not connect, and leaves the driver's own parameters to the driver.

use std::fmt::{self, Write as _};

use super::{Secret, secret::REDACTED};

/// Parameters whose values are shown; every other value might be a credential.
const SHOWN_PARAMETERS: &[&str] = &[
    "sslmode",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
];

const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Why a URL was refused. Never holds any part of the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UrlRefusal {
    pub(crate) reason: &'static str,
    pub(crate) remedy: &'static str,
}

#[derive(Clone)]
struct ServerUrl {
    text: Secret,
    redacted: String,
    tls_required: bool,
}

/// The URL of a PostgreSQL database, with credentials. `Debug` and `Display` show it without the password.
#[derive(Clone)]
pub struct DatabaseUrl(ServerUrl);

/// The URL of a Redis server, with credentials. `Debug` and `Display` show it without the password.
#[derive(Clone)]
pub struct RedisUrl(ServerUrl);

impl DatabaseUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, UrlRefusal> {
        let parts = Parts::split(text).filter(|parts| matches!(parts.scheme, "postgres" | "postgresql"));
        let parts = parts.ok_or(UrlRefusal {
            reason: "the scheme is not postgres:// or postgresql://",
            remedy: "use postgres://user:password@host:5432/database, or leave it out to use the embedded database",
        })?;
        parts.check()?;
        let mode = parts.parameters().find(|(name, _)| *name == "sslmode").map(|(_, value)| value);
        if mode.is_some_and(|mode| !SSL_MODES.contains(&mode)) {
            return Err(UrlRefusal {
                reason: "sslmode has an unknown value",
                remedy: "use disable, allow, prefer, require, verify-ca or verify-full",
            });
        }
        let tls_required = matches!(mode, Some("require" | "verify-ca" | "verify-full"));
        Ok(Self(parts.into_url(text, tls_required)))
    }

    /// The whole URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.text.expose()
    }

    /// True when `sslmode` is `require`, `verify-ca` or `verify-full`.
    #[must_use]
    pub fn tls_required(&self) -> bool {
        self.0.tls_required
    }
}

impl RedisUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, UrlRefusal> {
        let parts = Parts::split(text).filter(|parts| matches!(parts.scheme, "redis" | "rediss"));
        let parts = parts.ok_or(UrlRefusal {
            reason: "the scheme is not redis:// or rediss://",
            remedy: "use redis://:password@host:6379/0, or leave it out to keep caches and limits in memory",
        })?;
        parts.check()?;
        if parts.authority.is_empty() {
            return Err(UrlRefusal { reason: "the host is missing", remedy: "use redis://host:6379/0" });
        }
        let tls_required = parts.scheme == "rediss";
        Ok(Self(parts.into_url(text, tls_required)))
    }

    /// The whole URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.text.expose()
    }

    /// True when the scheme is `rediss`.
    #[must_use]
    pub fn tls_required(&self) -> bool {
        self.0.tls_required
    }
}

macro_rules! shown_without_password {
    ($($name:ident),+) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.redacted)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.redacted)
            }
        }
    )+ };
}
shown_without_password!(DatabaseUrl, RedisUrl);

/// A URL cut at its delimiters, unchecked.
struct Parts<'a> {
    scheme: &'a str,
    /// `user:password`, when there is an `@`.
    credentials: Option<&'a str>,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(authority_end);
        let (credentials, authority) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(credentials, host)| (Some(credentials), host));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        Some(Self { scheme, credentials, authority, path, query })
    }

    /// Refuses what would make the redacted form lie: a password that holds `/`, `?`, `#` or `@` unescaped would
    /// end up in the host, the path or the query.
    fn check(&self) -> Result<(), UrlRefusal> {
        let after = [self.authority, self.path, self.query];
        if after.iter().any(|part| part.contains(['@', '#']))
            || self.credentials.is_some_and(|credentials| credentials.contains('@'))
        {
            return Err(UrlRefusal {
                reason: "it holds \"@\" or \"#\" in a place where they have no meaning",
                remedy: "percent-encode the password: / is %2F, ? is %3F, # is %23, @ is %40, % is %25",
            });
        }
        let credentials = self.credentials.unwrap_or_default();
        if [credentials]
            .iter()
            .chain(&after)
            .any(|part| part.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            return Err(UrlRefusal {
                reason: "it holds a space or a control character",
                remedy: "percent-encode it: a space is %20",
            });
        }
        if !self.authority.split(',').all(has_valid_port) {
            return Err(UrlRefusal {
                reason: "the port is not a number from 1 to 65535",
                remedy: "write host:port after the last @, and percent-encode / and : in the password (%2F, %3A)",
            });
        }
        Ok(())
    }

    fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    fn into_url(self, text: &str, tls_required: bool) -> ServerUrl {
        let credentials = match self.credentials.map(|credentials| credentials.split_once(':')) {
            None => String::new(),
            Some(Some((user, _))) => format!("{user}:{REDACTED}@"),
            Some(None) => format!("{}@", self.credentials.unwrap_or_default()),
        };
        let mut redacted = format!("{}://{credentials}{}{}", self.scheme, self.authority, self.path);
        for (index, (name, value)) in self.parameters().enumerate() {
            let value = if SHOWN_PARAMETERS.contains(&name) { value } else { REDACTED };
            redacted.push(if index == 0 { '?' } else { '&' });
            let _ = write!(redacted, "{name}={value}");
        }
        ServerUrl { text: Secret::new(text.to_owned()), redacted, tls_required }
    }
}

fn has_valid_port(host: &str) -> bool {
    let after_brackets = host.rfind(']').map_or(0, |end| end + 1);
    match host[after_brackets..].split_once(':') {
        None => true,
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        for (text, shown) in [
            ("postgres://me:hunter2@db:5432/app", "postgres://me:<redacted>@db:5432/app"),
            ("postgres://me:hun:ter2@db/app", "postgres://me:<redacted>@db/app"),
            ("postgresql://me@db", "postgresql://me@db"),
            ("postgres://a,b:5433/app?sslmode=prefer", "postgres://a,b:5433/app?sslmode=prefer"),
            ("postgres://db/app?password=hunter2&user=me", "postgres://db/app?password=<redacted>&user=me"),
            ("postgres://[::1]:5432/app", "postgres://[::1]:5432/app"),
            ("postgres:///app?host=/run/postgresql", "postgres:///app?host=/run/postgresql"),
        ] {
            let url = DatabaseUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
            assert_eq!(url.expose(), text);
        }
        let url = RedisUrl::parse("redis://:hunter2@cache:6379/1").expect("valid");
        assert_eq!(url.to_string(), "redis://:<redacted>@cache:6379/1");
    }

    #[test]
    fn an_unescaped_password_is_refused_rather_than_shown() {
        for text in [
            "postgres://me:12/hunter2@db/app",
            "postgres://me:12?hunter2@db/app",
            "postgres://me:12#hunter2@db/app",
            "postgres://me:hunter2#",
            "postgres://me:hun@ter2@db/app",
            "postgres://me:hunter2/app",
            "postgres://me:hunter 2@db/app",
            "postgres://db:70000/app",
        ] {
            assert!(DatabaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_schemes_say_what_would_do() {
        for text in ["mysql://db/app", "sqlite:app.db", "", "db:5432", "redis://cache"] {
            let refusal = DatabaseUrl::parse(text).expect_err(text);
            assert!(refusal.remedy.contains("postgres://") && refusal.remedy.contains("embedded"));
        }
        assert!(RedisUrl::parse("unix:///run/redis.sock").is_err());
        assert!(RedisUrl::parse("redis://").is_err());
    }

    #[test]
    fn tls_is_a_flag() {
        for (text, tls) in [
            ("postgres://db", false),
            ("postgres://db?sslmode=prefer", false),
            ("postgres://db?sslmode=require", true),
            ("postgres://db?x=y&sslmode=verify-full", true),
        ] {
            assert_eq!(DatabaseUrl::parse(text).expect(text).tls_required(), tls, "{text}");
        }
        assert!(DatabaseUrl::parse("postgres://db?sslmode=yes").is_err());
        assert!(RedisUrl::parse("rediss://cache").expect("valid").tls_required());
        assert!(!RedisUrl::parse("redis://cache").expect("valid").tls_required());
    }
}
