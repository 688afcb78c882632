//! What the parts run against: one `PostgreSQL`, one Redis, and nodes that reach each of them through a proxy of
//! their own, so that a single node can be cut off. Breaking things is `fault.rs`'s.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::{Postgres, database_name};
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::proxy::FaultProxy;
use phoenix_testkit::redis::Redis;
use phoenix_testkit::stack_auth::FakeStackAuth;
use serde_json::{Value, json};

use crate::bench::load;
use crate::bench::me::seed;

/// Nodes of every cluster.
pub(super) const NODES: usize = 3;
/// The administrator's account, to read the counters with.
const ADMIN: (&str, &str) = ("bench-admin@example.com", "a password only for this benchmark");
/// Longest time until all nodes call themselves well again.
const RECOVERY: Duration = Duration::from_secs(30);
/// Pause between two looks at how the nodes are.
const LOOK: Duration = Duration::from_millis(20);

/// The servers that nodes share.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    /// Name of the database.
    pub(super) database: String,
    program: PathBuf,
}

/// One server under test.
#[derive(Debug)]
pub(super) struct Node {
    process: PhoenixProcess,
    pub(super) to_redis: FaultProxy,
    pub(super) to_database: FaultProxy,
}

/// Running nodes.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) ground: Ground,
    pub(super) nodes: Vec<Node>,
}

impl Ground {
    /// Starts `PostgreSQL` and Redis; the database has the schema and an administrator.
    pub(super) fn set_up(program: &Path) -> Result<Self> {
        // Nothing here depends on surviving a crash of the machine.
        let postgres = Postgres::builder().fsync(false).setting("shared_buffers", "512MB").start()?;
        let database = database_name(&postgres.create_database()).to_owned();
        let ground = Self {
            postgres: Arc::new(postgres),
            redis: Arc::new(Redis::start()?),
            database,
            program: program.to_owned(),
        };
        // The first start makes the schema and the administrator.
        drop(ground.node(&[])?);
        Ok(ground)
    }

    /// Address of the database.
    pub(super) fn database_url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Starts the nodes, with the cheapest passwords that are allowed.
    pub(super) fn cluster(&self, variables: &[(&str, &str)]) -> Result<Cluster> {
        let nodes = (0..NODES).map(|_| self.node(variables)).collect::<Result<_>>()?;
        Ok(Cluster { ground: self.clone(), nodes })
    }

    fn node(&self, variables: &[(&str, &str)]) -> Result<Node> {
        let to_redis = FaultProxy::start(self.redis.address())?;
        let to_database = FaultProxy::start(self.postgres.address())?;
        let mut builder = PhoenixProcess::builder(&self.program)
            .env("DATABASE_URL", self.postgres.url_via(to_database.addr(), &self.database))
            .env("REDIS_URL", self.redis.url_via(to_redis.addr()))
            .env("PHOENIX_SECRET_KEY", seed::SECRET)
            .env("PHOENIX_ADMIN_EMAIL", ADMIN.0)
            .env("PHOENIX_ADMIN_PASSWORD", ADMIN.1)
            .env("PHOENIX_ARGON2_MEMORY", "7MiB")
            .env("PHOENIX_ARGON2_ITERATIONS", "5")
            .env("PHOENIX_HASH_WAIT", "30s")
            // All load comes from one address; `bench limits` measures limits.
            .env("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128")
            .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "10000");
        for (name, value) in variables {
            builder = builder.env(name, *value);
        }
        Ok(Node { process: builder.start()?, to_redis, to_database })
    }
}

impl Node {
    pub(super) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub(super) fn client(&self) -> Client {
        self.process.client()
    }

    /// Whether it is ready and calls itself well.
    async fn is_well(&self, client: &Client) -> bool {
        client.get("/readyz").send().await.is_ok_and(|answer| {
            answer.status == 200 && answer.header("x-system-status").is_some_and(|word| word == "ok")
        })
    }
}

impl Cluster {
    /// Waits until every node is ready and calls itself well. Returns how long it took.
    pub(super) async fn recover(&self) -> Result<Duration> {
        let start = std::time::Instant::now();
        for (number, node) in self.nodes.iter().enumerate() {
            let client = node.client().with_bound(RECOVERY);
            while !node.is_well(&client).await {
                if start.elapsed() > RECOVERY {
                    bail!("node {number} was not well {RECOVERY:?} after a fault was over");
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(start.elapsed())
    }

    /// Signs the administrator in, to read the counters of every node.
    pub(super) async fn inspector(&self) -> Result<Inspector> {
        let clients: Vec<Client> = self.nodes.iter().map(Node::client).collect();
        let first = clients.first().context("a cluster has nodes")?;
        let token = log_in(first, ADMIN.0, ADMIN.1).await?;
        Ok(Inspector { clients, token })
    }
}

/// Reads the counters of every node as the administrator.
#[derive(Clone, Debug)]
pub(super) struct Inspector {
    clients: Vec<Client>,
    token: String,
}

impl Inspector {
    /// The status report of each node. A reading is an authenticated request, answered from memory after the first.
    pub(super) async fn reports(&self) -> Result<Vec<Value>> {
        let mut reports = Vec::new();
        for client in &self.clients {
            let answer = client.get("/api/phoenix/status").bearer(&self.token).send().await?;
            reports.push(answer.json());
        }
        Ok(reports)
    }

    /// The sum over all nodes of a counter of the tiers.
    pub(super) async fn sum(&self, name: &str) -> Result<f64> {
        sum(&self.reports().await?, name)
    }
}

/// The sum over all nodes of a counter of the tiers.
pub(super) fn sum(reports: &[Value], name: &str) -> Result<f64> {
    let one = |report: &Value| {
        report["tiers"][name].as_f64().with_context(|| format!("the status has no counter {name}"))
    };
    reports.iter().map(one).sum()
}

/// What a node has to be told so that it accepts the tokens of `provider`.
pub(super) fn stack_variables(provider: &FakeStackAuth) -> [(&str, &str); 4] {
    let project = provider.project();
    [
        ("STACK_PROJECT_ID", &project.id),
        ("STACK_SECRET_SERVER_KEY", &project.secret_server_key),
        ("STACK_PUBLISHABLE_CLIENT_KEY", &project.publishable_client_key),
        ("STACK_API_URL", provider.url()),
    ]
}

/// Signs in and returns the token.
pub(super) async fn log_in(client: &Client, email: &str, password: &str) -> Result<String> {
    let body = json!({"email": email, "password": password, "transport": "bearer"});
    token_of(&client.post("/api/auth/login").json(&body).send().await?)
}

/// The token in the answer to a login or a registration.
pub(super) fn token_of(answer: &phoenix_testkit::http::Response) -> Result<String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let token = body["token"].as_str().map(str::to_owned);
    token.with_context(|| format!("no token, but status {}: {}", answer.status, answer.text()))
}

/// An encoded `GET /api/auth/me` with the token.
pub(super) fn me(token: &str) -> Vec<u8> {
    with_token("GET", "/api/auth/me", token)
}

/// An encoded request without a body, with the token.
pub(super) fn with_token(method: &str, path: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    load::request(method, path, &[("host", "127.0.0.1"), ("authorization", &bearer)], b"")
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}
