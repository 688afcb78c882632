//! Reads `REDIS_URL`. One variable says where Redis is and how it is arranged:
//!
//! - `redis://[user:password@]host:6379[/db]`: one server, or a name that always leads to the master;
//! - `redis-sentinel://[user:password@]host:26379,host:26379/service[/db]`: the master that these sentinels name. The
//!   credentials are the servers'; the sentinels' own are the parameters `sentinel_username` and `sentinel_password`;
//! - `redis-cluster://[user:password@]host:6379,host:6379`: a cluster to which these nodes belong.
//!
//! `rediss`, `rediss-sentinel` and `rediss-cluster`, or `+tls` after the others, are the same under TLS: with everybody,
//! also the sentinels and the servers they name. It cannot be had without verification.
//!
//! The spelling is that of Lettuce and fred, with the service in the path. What a person gets to read about a wrong
//! URL is said by phoenix-config, which checks it first.

use redis::{ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError};

const SENTINEL_PORT: &str = "26379";

/// Where Redis is. The places do not say whether TLS is spoken there.
pub(super) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// The master of a service.
    Sentinel {
        /// Who knows the master; at least one.
        sentinels: Vec<ConnectionInfo>,
        /// What the sentinels call the master.
        service: String,
        /// Credentials and database of the master.
        settings: RedisConnectionInfo,
    },
    /// Nodes of a cluster; at least one.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// # Errors
    /// When it cannot be understood. The error holds no part of the URL.
    /// And whether TLS is asked for.
    pub(super) fn parse(url: &str) -> Result<(Self, bool), RedisError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("the scheme is missing"))?;
        let (plain, plus) = scheme.strip_suffix("+tls").map_or((scheme, false), |plain| (plain, true));
        let address = match plain {
            "redis-sentinel" | "rediss-sentinel" => Self::parse_sentinel(&Parts::split(rest))?,
            "redis-cluster" | "rediss-cluster" => Self::parse_cluster(&Parts::split(rest))?,
            "redis" | "rediss" => Self::Server(format!("redis://{rest}").into_connection_info()?),
            _ => return Err(wrong("the scheme is not redis, redis-sentinel or redis-cluster")),
        };
        Ok((address, plus || plain.starts_with("rediss")))
    }

    fn parse_sentinel(parts: &Parts<'_>) -> Result<Self, RedisError> {
        let (service, database) = parts.path.split_once('/').unwrap_or((parts.path, ""));
        if service.is_empty() {
            return Err(wrong("the name of the service is missing after the sentinels"));
        }
        let (mut user, mut password) = ("", "");
        for (name, value) in parts.query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "sentinel_username" => user = value,
                "sentinel_password" => password = value,
                _ => {}
            }
        }
        let own = if user.is_empty() && password.is_empty() {
            String::new()
        } else {
            format!("{user}:{password}@")
        };
        let sentinels = parts
            .hosts()
            .map(|host| {
                let port = if has_port(host) { String::new() } else { format!(":{SENTINEL_PORT}") };
                format!("redis://{own}{host}{port}").into_connection_info()
            })
            .collect::<Result<_, _>>()?;
        let master = format!("redis://{}localhost/{database}", parts.credentials).into_connection_info()?;
        Ok(Self::Sentinel {
            sentinels,
            service: service.to_owned(),
            settings: master.redis_settings().clone(),
        })
    }

    fn parse_cluster(parts: &Parts<'_>) -> Result<Self, RedisError> {
        if !matches!(parts.path, "" | "0") {
            return Err(wrong("a cluster has no databases"));
        }
        let nodes =
            parts.hosts().map(|host| format!("redis://{}{host}", parts.credentials).into_connection_info());
        Ok(Self::Cluster(nodes.collect::<Result<_, _>>()?))
    }
}

/// What follows the scheme, cut at its delimiters.
struct Parts<'a> {
    /// With the `@`, or empty.
    credentials: &'a str,
    hosts: &'a str,
    /// Without the first and the last `/`.
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(rest: &'a str) -> Self {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        Self { credentials, hosts, path: path.strip_suffix('/').unwrap_or(path), query }
    }

    fn hosts(&self) -> impl Iterator<Item = &'a str> {
        self.hosts.split(',')
    }
}

fn has_port(host: &str) -> bool {
    host.rfind(':').is_some_and(|colon| host.rfind(']').is_none_or(|bracket| colon > bracket))
}

fn wrong(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, why))
}

#[cfg(test)]
mod tests {
    use redis::ConnectionInfo;

    use super::Address;

    fn shown(nodes: &[ConnectionInfo]) -> Vec<String> {
        nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn one_server() {
        let Ok((Address::Server(info), false)) = Address::parse("redis://me:p%40ss@cache:6380/3") else {
            panic!("not understood")
        };
        assert_eq!(info.addr().to_string(), "cache:6380");
        assert_eq!(info.redis_settings().password(), Some("p@ss"));
        assert_eq!(info.redis_settings().db(), 3);
    }

    #[test]
    fn sentinels() {
        let url = "redis-sentinel://me:p%40ss@a,b:5000,[::1],[::2]:5001/main/2?sentinel_password=s%2Fs";
        let Ok((Address::Sentinel { sentinels, service, settings }, false)) = Address::parse(url) else {
            panic!("not understood")
        };
        assert_eq!(shown(&sentinels), ["a:26379", "b:5000", "::1:26379", "::2:5001"]);
        assert_eq!(service, "main");
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("me"), Some("p@ss"), 2));
        for sentinel in &sentinels {
            let own = sentinel.redis_settings();
            assert_eq!((own.username(), own.password(), own.db()), (None, Some("s/s"), 0));
        }
        let Ok((Address::Sentinel { sentinels, settings, .. }, false)) =
            Address::parse("redis-sentinel://a/main")
        else {
            panic!("not understood")
        };
        assert_eq!((settings.password(), settings.db()), (None, 0));
        assert_eq!(sentinels[0].redis_settings().password(), None);
    }

    #[test]
    fn clusters() {
        let Ok((Address::Cluster(nodes), false)) =
            Address::parse("redis-cluster://:secret@a:7000,b,[::1]:7002/0")
        else {
            panic!("not understood")
        };
        assert_eq!(shown(&nodes), ["a:7000", "b:6379", "::1:7002"]);
        assert!(nodes.iter().all(|node| node.redis_settings().password() == Some("secret")));
    }

    #[test]
    fn tls_is_said_by_the_scheme_and_the_rest_is_the_same() {
        for (plain, secure) in [
            ("redis://:p@a:7000/3", ["rediss://:p@a:7000/3", "redis+tls://:p@a:7000/3"]),
            (
                "redis-sentinel://a,b/main/2",
                ["rediss-sentinel://a,b/main/2", "redis-sentinel+tls://a,b/main/2"],
            ),
            ("redis-cluster://a,b:7000", ["rediss-cluster://a,b:7000", "redis-cluster+tls://a,b:7000"]),
        ] {
            let nodes = |url| match Address::parse(url).expect("an address") {
                (Address::Server(info), tls) => (shown(&[info]), tls),
                (Address::Sentinel { sentinels, service, .. }, tls) => {
                    assert_eq!(service, "main");
                    (shown(&sentinels), tls)
                }
                (Address::Cluster(nodes), tls) => (shown(&nodes), tls),
            };
            let (hosts, tls) = nodes(plain);
            assert!(!tls, "{plain}");
            for url in secure {
                assert_eq!(nodes(url), (hosts.clone(), true), "{url}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_repeated() {
        for url in [
            "redis-sentinel://hunter2",
            "redis-sentinel://hunter2/",
            "redis-sentinel://a,:hunter2,b/main",
            "redis-sentinel://a/main/hunter2",
            "redis-cluster://",
            "redis-cluster://a,,hunter2",
            "redis-cluster://a/1",
            "redis-cluster://a:hunter2",
            "redist://hunter2",
            "redist-cluster://hunter2",
            "http://hunter2",
            "hunter2",
            "",
        ] {
            let Err(error) = Address::parse(url) else { panic!("{url} was accepted") };
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
