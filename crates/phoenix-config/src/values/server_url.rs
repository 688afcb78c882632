//! URLs of the database and of Redis: their form, whether they ask for TLS, and how to show them without the
//! password. Does not connect, and leaves the driver's own parameters to the driver.

use std::fmt::{self, Write as _};

use super::{Secret, secret::REDACTED};

/// Parameters whose values are shown; every other value might be a credential.
const SHOWN_PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "host",
    "port",
    "dbname",
    "user",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
];

/// Credentials of sentinels, when they have their own.
const SENTINEL_PARAMETERS: &[&str] = &["sentinel_username", "sentinel_password"];

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

/// Where Redis is and how it is arranged, with credentials. `Debug` and `Display` show it without the passwords.
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
        let parts = Parts::split(text);
        let form = parts.as_ref().and_then(|parts| RedisForm::of(parts.scheme));
        let (Some(parts), Some((form, tls_required))) = (parts, form) else {
            return Err(UrlRefusal {
                reason: "the scheme is not redis://, redis-sentinel:// or redis-cluster://",
                remedy: "use redis://:password@host:6379/0, or leave it out to keep caches and limits in memory",
            });
        };
        parts.check()?;
        form.check(&parts)?;
        Ok(Self(parts.into_url(text, tls_required)))
    }

    /// The whole URL with its password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.text.expose()
    }

    /// True when the scheme asks for TLS, such as `rediss`.
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

/// How Redis is arranged.
#[derive(Clone, Copy)]
enum RedisForm {
    Server,
    Sentinel,
    Cluster,
}

impl RedisForm {
    /// The form, and whether TLS is asked for.
    fn of(scheme: &str) -> Option<(Self, bool)> {
        let (scheme, plus) = scheme.strip_suffix("+tls").map_or((scheme, false), |rest| (rest, true));
        let (form, tls) = match scheme {
            "redis" => (Self::Server, false),
            "rediss" => (Self::Server, true),
            "redis-sentinel" => (Self::Sentinel, false),
            "rediss-sentinel" => (Self::Sentinel, true),
            "redis-cluster" => (Self::Cluster, false),
            "rediss-cluster" => (Self::Cluster, true),
            _ => return None,
        };
        Some((form, tls || plus))
    }

    fn check(self, parts: &Parts<'_>) -> Result<(), UrlRefusal> {
        let remedy = match self {
            Self::Server => "use redis://host:6379/0",
            Self::Sentinel => "use redis-sentinel://host1:26379,host2:26379/service/0",
            Self::Cluster => "use redis-cluster://host1:6379,host2:6379",
        };
        let refuse = |reason| Err(UrlRefusal { reason, remedy });
        if parts.authority.split(',').any(|host| host.is_empty() || host.starts_with(':')) {
            return refuse("the host is missing");
        }
        let path = parts.path.strip_prefix('/').unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let (service, database) = match self {
            Self::Sentinel => path.split_once('/').unwrap_or((path, "")),
            Self::Server | Self::Cluster => ("", path),
        };
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return refuse("the database is not a number");
        }
        match self {
            Self::Server if parts.authority.contains(',') => Err(UrlRefusal {
                reason: "several hosts are neither a cluster nor sentinels in this form",
                remedy: "use redis-cluster://host1:6379,host2:6379 or redis-sentinel://host1:26379,host2:26379/service",
            }),
            Self::Sentinel if !is_service(service) => refuse(
                "the name of the service that the sentinels watch is missing or has other characters than A-Z a-z 0-9 . _ -",
            ),
            Self::Sentinel if parts.parameters().any(|(name, _)| !SENTINEL_PARAMETERS.contains(&name)) => {
                Err(UrlRefusal {
                    reason: "it has an unknown parameter",
                    remedy: "use sentinel_username and sentinel_password for sentinels with credentials of their own",
                })
            }
            Self::Cluster if !matches!(database, "" | "0") => refuse("a cluster has no databases but 0"),
            Self::Cluster if !parts.query.is_empty() => refuse("a cluster's URL has no parameters"),
            Self::Server | Self::Sentinel | Self::Cluster => Ok(()),
        }
    }
}

/// The characters that Sentinel allows in a name.
fn is_service(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

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
            (
                "postgres://db?sslrootcert=/a.pem&sslkey=/b.pem",
                "postgres://db?sslrootcert=/a.pem&sslkey=/b.pem",
            ),
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
        for (text, shown) in [
            ("redis://:hunter2@cache:6379/1", "redis://:<redacted>@cache:6379/1"),
            (
                "redis-sentinel://me:hunter2@a,b:26380,[::1]:26379/main/3?sentinel_password=hunter2",
                "redis-sentinel://me:<redacted>@a,b:26380,[::1]:26379/main/3?sentinel_password=<redacted>",
            ),
            ("redis-cluster://:hunter2@a:7000,b", "redis-cluster://:<redacted>@a:7000,b"),
        ] {
            let url = RedisUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
            assert_eq!(url.expose(), text);
        }
    }

    #[test]
    fn each_form_of_redis_says_what_is_wrong() {
        for (text, reason) in [
            ("redis://", "host is missing"),
            ("redis://:6379", "host is missing"),
            ("redis://a,b/0", "several hosts"),
            ("redis://a/b", "not a number"),
            ("redis://a/-1", "not a number"),
            ("redis://a:0", "port"),
            ("redis-sentinel://a,b", "service"),
            ("redis-sentinel://a,b/", "service"),
            ("redis-sentinel://a/my%20master", "service"),
            ("redis-sentinel://a//0", "service"),
            ("redis-sentinel://a/main/x", "not a number"),
            ("redis-sentinel://a/main/0/1", "not a number"),
            ("redis-sentinel:///main", "host is missing"),
            ("redis-sentinel://a,,b/main", "host is missing"),
            ("redis-sentinel://a,b:x/main", "port"),
            ("redis-sentinel://a/main?password=hunter2", "unknown parameter"),
            ("redis-cluster://", "host is missing"),
            ("redis-cluster://a,", "host is missing"),
            ("redis-cluster://a,b/1", "no databases"),
            ("redis-cluster://a,b/x", "not a number"),
            ("redis-cluster://a?x=y", "no parameters"),
            ("redis-cluster://me:12/hunter2@a", "no meaning"),
            ("redis+sentinel://a/main", "the scheme is not"),
            ("REDIS://a", "the scheme is not"),
        ] {
            let refusal = RedisUrl::parse(text).expect_err(text);
            assert!(refusal.reason.contains(reason), "{text}: {}", refusal.reason);
            assert!(!refusal.reason.contains("hunter2") && !refusal.remedy.contains("hunter2"));
        }
        for text in [
            "redis://a",
            "redis://a/",
            "redis://[::1]:6379/15",
            "redis-sentinel://a/main",
            "redis-sentinel://a:26379,b:26380/main.1_x-y/2?sentinel_username=u&sentinel_password=p",
            "redis-cluster://a",
            "redis-cluster://a:7000,[::1]:7001/0",
        ] {
            assert!(RedisUrl::parse(text).is_ok(), "{text}");
        }
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
        for (text, tls) in [
            ("redis://a", false),
            ("rediss://a", true),
            ("redis+tls://a", true),
            ("redis-sentinel://a/main", false),
            ("rediss-sentinel://a/main", true),
            ("redis-sentinel+tls://a/main", true),
            ("redis-cluster://a", false),
            ("rediss-cluster://a", true),
            ("redis-cluster+tls://a", true),
        ] {
            assert_eq!(RedisUrl::parse(text).expect(text).tls_required(), tls, "{text}");
        }
    }
}
