//! Benchmark `me`: `GET /api/auth/me`, from each tier, under a stampede and under logins, and the embedded default's
//! start and size.
#![expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]

mod embedded;
mod logins;
pub(super) mod seed;
mod stampede;
mod tiers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::redis::Redis;
use serde_json::{Value, json};

use super::pin::Cores;
use super::report::Bar;
use super::{Bench, Context};

/// The entry of the list.
pub(super) const BENCH: Bench = Bench {
    name: "me",
    about: "GET /api/auth/me from each tier, under stampede and logins; the embedded default",
    run,
};

/// The administrator's account, to read the counters with.
const ADMIN: (&str, &str) = ("bench-admin@example.com", "a password only for this benchmark");

/// What all parts share.
struct Stage {
    quick: bool,
    cores: Cores,
    program: PathBuf,
    /// Outlives the servers that use it.
    _postgres: Postgres,
    redis: Redis,
    database_url: String,
    tokens: Vec<String>,
}

fn run(context: Context) -> Result<Vec<Bar>> {
    let stage = Stage::set_up(context.quick)?;
    let mut bars = vec![Bar::info("sessions in the database", seed::count(context.quick) as f64, "")];
    bars.extend(tiers::throughput(&stage)?);
    bars.extend(tiers::database(&stage)?);
    bars.extend(tiers::redis(&stage)?);
    bars.extend(stampede::run(&stage)?);
    bars.extend(logins::run(&stage)?);
    bars.extend(embedded::run(&stage)?);
    Ok(bars)
}

impl Stage {
    fn set_up(quick: bool) -> Result<Self> {
        // What users get.
        let program = crate::dist::optimised()?;
        // Nothing here depends on surviving a crash of the machine.
        let postgres = Postgres::builder().fsync(false).setting("shared_buffers", "1GB").start()?;
        let database_url = postgres.create_database();
        let redis = Redis::start()?;
        let mut stage = Self {
            quick,
            cores: Cores::detect(),
            program,
            _postgres: postgres,
            redis,
            database_url,
            tokens: Vec::new(),
        };
        // The first start makes the schema and the administrator.
        drop(stage.start(&[])?);
        stage.tokens = seed::fill(&stage.database_url, seed::count(quick))?;
        Ok(stage)
    }

    /// A server on its own core, on the filled database.
    fn start(&self, variables: &[(&str, &str)]) -> Result<PhoenixProcess> {
        let mut builder = PhoenixProcess::builder(&self.program)
            .run_under(self.cores.server_prefix())
            .env("DATABASE_URL", &self.database_url)
            .env("PHOENIX_SECRET_KEY", seed::SECRET)
            .env("PHOENIX_ADMIN_EMAIL", ADMIN.0)
            .env("PHOENIX_ADMIN_PASSWORD", ADMIN.1)
            .env("PHOENIX_L1_TTL", "1h")
            // Each part fills the tiers as it means to.
            .env("PHOENIX_WARM_ENTRIES", "0")
            .env("PHOENIX_L1_MAX_BYTES", "2GiB")
            // All load comes from one address; `bench limits` measures limits.
            .env("PHOENIX_LIMITS_EXEMPT", "127.0.0.0/8,::1/128")
            .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "10000");
        for (name, value) in variables {
            builder = builder.env(name, *value);
        }
        builder.start()
    }

    fn seconds(&self, full: u64) -> Duration {
        Duration::from_secs(if self.quick { full.div_ceil(5).max(2) } else { full })
    }
}

/// An encoded `GET /api/auth/me` with the session cookie.
fn me(token: &str) -> Vec<u8> {
    let cookie = format!("phoenix_session={token}");
    super::load::request("GET", "/api/auth/me", &[("host", "127.0.0.1"), ("cookie", &cookie)], b"")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Runs a future to its end on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// The counters, as an administrator sees them.
async fn status(client: &Client) -> Result<Value> {
    let body = json!({"email": ADMIN.0, "password": ADMIN.1, "transport": "bearer"});
    let login = client.post("/api/auth/login").json(&body).send().await?;
    let token = login.json()["token"].as_str().context("the administrator cannot sign in")?.to_owned();
    Ok(client.get("/api/phoenix/status").bearer(&token).send().await?.json())
}

fn counter(status: &Value, name: &str) -> Result<f64> {
    status["tiers"][name].as_f64().with_context(|| format!("the status has no counter {name}"))
}
