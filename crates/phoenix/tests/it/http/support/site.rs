//! One database with one configuration and one clock: what the nodes of an installation share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phoenix::app::{App, World};
use phoenix::clock::SystemClock;
use phoenix::entropy::SystemEntropy;
use phoenix_auth::ports::Clock;
use phoenix_config::{Config, Sources, load};
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::redis::Redis;
use tempfile::TempDir;

use super::{ADMIN, ManualClock, Node, PASSWORD};

/// Where sessions and users are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Backend {
    /// The embedded database.
    Sqlite,
    /// A database of its own on the shared server.
    Postgres,
    /// The same, and a part of the shared Redis.
    PostgresAndRedis,
}

/// One installation, without the nodes that serve it.
pub(in crate::http) struct Site {
    pub(in crate::http) clock: Arc<ManualClock>,
    sources: Sources,
    world: World,
    _directory: TempDir,
}

impl Site {
    /// An empty installation.
    pub(in crate::http) fn new(backend: Backend) -> Self {
        let directory = TempDir::new().unwrap();
        let mut sources = Sources::default();
        let data_dir = directory.path().join("data");
        for (name, value) in [
            ("PHOENIX_DATA_DIR", data_dir.to_str().unwrap()),
            // The cheapest hash that is allowed; waits that a loaded machine does not exceed.
            ("PHOENIX_ARGON2_MEMORY", "7MiB"),
            ("PHOENIX_ARGON2_ITERATIONS", "5"),
            ("PHOENIX_HASH_WAIT", "1m"),
            ("PHOENIX_REQUEST_TIMEOUT", "2m"),
            ("PHOENIX_HEADER_READ_TIMEOUT", "5m"),
            ("PHOENIX_MAX_CONNECTION_AGE", "7d"),
            ("PHOENIX_REDIS_COMMAND_TIMEOUT", "5s"),
            ("PHOENIX_REDIS_CONNECT_TIMEOUT", "5s"),
            ("PHOENIX_CLEANUP_INTERVAL", "1d"),
            // Tests that are not about limits ask as often as they like.
            ("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128"),
            // Caches fill as they are used, so that a test can tell what filled them.
            ("PHOENIX_WARM_ENTRIES", "0"),
            ("PHOENIX_ADMIN_EMAIL", ADMIN),
            ("PHOENIX_ADMIN_PASSWORD", PASSWORD),
            ("DB_POOL_MIN", "1"),
            ("DB_POOL_MAX", "8"),
            ("DB_CONNECTION_TIMEOUT", "60000"),
        ] {
            sources = sources.with_env(name, value);
        }
        if backend != Backend::Sqlite {
            sources = sources.with_env("DATABASE_URL", Postgres::shared().create_database());
        }
        if backend == Backend::PostgresAndRedis {
            sources = sources.with_env("REDIS_URL", Redis::shared().isolated().url);
        }
        let clock = Arc::new(ManualClock::default());
        let world = World {
            clock: Arc::<ManualClock>::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(SystemEntropy),
        };
        Self { clock, sources, world, _directory: directory }
    }

    /// An empty installation with a Redis that belongs to the test.
    pub(in crate::http) fn with_redis(redis: &Redis) -> Self {
        Self::new(Backend::Postgres).with("REDIS_URL", &redis.url())
    }

    /// Changes a setting, for nodes started from now on.
    pub(in crate::http) fn with(mut self, name: &str, value: &str) -> Self {
        self.sources = self.sources.with_env(name, value);
        self
    }

    /// Nodes started from now on have the system's clock.
    pub(in crate::http) fn in_real_time(mut self) -> Self {
        self.world.clock = Arc::new(SystemClock::start());
        self
    }

    /// Monotonic time as the nodes see it.
    pub(in crate::http) fn now(&self) -> Duration {
        self.world.clock.now().mono
    }

    /// The configuration of a node.
    pub(in crate::http) fn config(&self) -> Config {
        load(&self.sources).unwrap().config
    }

    /// Starts a node; the first one makes the administrator.
    pub(in crate::http) async fn node(&self) -> Node {
        Node::start(self.config(), self.world.clone()).await
    }

    /// Starts a node at this address.
    pub(in crate::http) async fn node_at(&self, listen: SocketAddr) -> Node {
        Node::start_at(listen, self.config(), self.world.clone()).await
    }

    /// Starts a node with another setting than the rest; an empty value is none.
    pub(in crate::http) async fn node_with(&self, name: &str, value: &str) -> Node {
        let sources = self.sources.clone().with_env(name, value);
        Node::start(load(&sources).unwrap().config, self.world.clone()).await
    }

    /// An application on the same database that runs nothing in the background: it tells nobody what it does.
    pub(in crate::http) async fn silent(&self) -> App {
        App::build(&self.config(), self.world.clone()).await.unwrap()
    }

    /// Tokens of sessions that are in the database and in no cache, one for each address: made by a node without
    /// Redis that has ended. No other node may run on the embedded database meanwhile.
    pub(in crate::http) async fn cold_tokens<const N: usize>(&self, emails: [&str; N]) -> [String; N] {
        let node = self.node_with("REDIS_URL", "").await;
        let mut tokens = Vec::new();
        for email in emails {
            tokens.push(node.registered(email).await.token());
        }
        node.stop().await;
        tokens.try_into().unwrap()
    }
}
