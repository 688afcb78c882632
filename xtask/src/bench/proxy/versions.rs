//! Part `versions`: a node of the previous version and one of this on one PostgreSQL and one Redis, in both orders of
//! start. What sessions and limits promise for several nodes must hold between the two.
//!
//! The previous version is the commit that `PHOENIX_PREVIOUS` names, else [`PREVIOUS`], built in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use phoenix_testkit::http::Client;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::redis::Redis;
use serde_json::json;

use super::{millis, real};
use crate::bench::build;
use crate::bench::me::block_on;
use crate::bench::report::Bar;
use crate::shell;

/// The last commit before the gateway.
const PREVIOUS: &str = "4c8b7fa";
const PASSWORD: &str = "seven green bicycles at noon";
/// The default of `cache.revocation_bound`.
const BOUND: Duration = Duration::from_secs(2);
/// The default limit of the class `search`, for a minute.
const SEARCHES: u64 = 30;

pub(super) fn run(_quick: bool) -> Result<Vec<Bar>> {
    let (previous, present) = (previous()?, build::release("phoenix", "phoenix")?);
    let mut bars = Vec::new();
    for (order, first, second) in [("old first", &previous, &present), ("new first", &present, &previous)] {
        let outcome = scenario(first, second).with_context(|| order.to_owned())?;
        let name = |what: &str| format!("versions, {order}: {what}");
        bars.extend([
            Bar::at_least(name("sessions of one known to the other"), real(outcome.known), "", 2.0),
            Bar::at_most(
                name("a revocation at one refused at the other"),
                millis(outcome.lag),
                "ms",
                millis(BOUND),
            ),
            Bar::at_least(
                name("a token replaced at one counts at the other"),
                real(outcome.refreshed),
                "",
                1.0,
            ),
            Bar::at_most(name("admitted by both of a limit"), real(outcome.admitted), "", real(SEARCHES)),
            Bar::at_least(name("of the same limit, at least"), real(outcome.admitted), "", real(SEARCHES)),
            Bar::at_least(name("blocked at one, refused at the other"), real(outcome.blocked), "", 1.0),
        ]);
    }
    Ok(bars)
}

/// Builds the previous version, unless it was.
fn previous() -> Result<PathBuf> {
    let commit = std::env::var("PHOENIX_PREVIOUS").unwrap_or_else(|_| PREVIOUS.to_owned());
    let folder = shell::root().join("target/previous");
    let git = |arguments: &[&str]| -> Result<bool> {
        shell::succeeds(Command::new("git").args(arguments).current_dir(shell::root()).stdout(Stdio::null()))
    };
    let path = folder.to_string_lossy().into_owned();
    if folder.exists() {
        git(&["worktree", "remove", "--force", &path])?;
    }
    git(&["worktree", "prune"])?;
    ensure!(git(&["worktree", "add", "--detach", &path, &commit])?, "there is no commit {commit}");
    let target = shell::root().join("target/previous-build");
    let mut cargo = shell::cargo(&["build", "--package", "phoenix", "--bin", "phoenix"]);
    cargo.current_dir(&folder).env("CARGO_TARGET_DIR", &target);
    let built = shell::succeeds(&mut cargo);
    git(&["worktree", "remove", "--force", &path])?;
    ensure!(built?, "the previous version does not build");
    Ok(target.join("debug/phoenix"))
}

/// What two nodes made of the same sessions and limits.
struct Outcome {
    known: u64,
    lag: Duration,
    refreshed: u64,
    admitted: u64,
    blocked: u64,
}

fn scenario(first: &Path, second: &Path) -> Result<Outcome> {
    let (postgres, redis) = (Postgres::start()?, Redis::start()?);
    let url = postgres.create_database();
    let start = |program: &Path| {
        PhoenixProcess::builder(program)
            .env("DATABASE_URL", &url)
            .env("REDIS_URL", redis.url())
            .env("PHOENIX_LOG", "warn")
            .start()
    };
    // The second begins on what the first has made of the database.
    let (one, other) = (start(first)?, start(second)?);
    block_on(judge(&one.client(), &other.client()))
}

async fn judge(one: &Client, other: &Client) -> Result<Outcome> {
    let mut known = 0;
    let mut tokens = Vec::new();
    for (here, there, name) in [(one, other, "ada"), (other, one, "bob")] {
        let token = register(here, name).await?;
        known += u64::from(is_live(there, &token).await?);
        tokens.push(token);
    }
    let [ada, bob] = tokens.try_into().ok().context("two tokens")?;
    let begun = Instant::now();
    let ended = one.post("/api/auth/logout").bearer(&ada).send().await?;
    ensure!(ended.status.is_success(), "logout: {}", ended.text());
    while is_live(other, &ada).await? {
        ensure!(begun.elapsed() < BOUND * 5, "the session goes on at the other node");
    }
    let lag = begun.elapsed();
    let replaced = other.post("/api/auth/refresh").bearer(&bob).send().await?;
    let successor = token_of(&replaced.text())?;
    let refreshed = u64::from(is_live(one, &successor).await?);
    let mut admitted = 0;
    for number in 0..SEARCHES * 2 {
        let node = if number % 2 == 0 { one } else { other };
        admitted +=
            u64::from(node.get("/api/search").bearer(&successor).send().await?.status.as_u16() != 429);
    }
    let mut blocked = 0;
    for node in [one, other] {
        blocked += u64::from(node.get("/api/search").bearer(&successor).send().await?.status.as_u16() == 429);
    }
    Ok(Outcome { known, lag, refreshed, admitted, blocked: blocked / 2 })
}

async fn register(node: &Client, name: &str) -> Result<String> {
    let body = json!({
        "email": format!("{name}@example.com"), "password": PASSWORD, "firstName": name, "transport": "bearer",
    });
    let answer = node.post("/api/auth/register").json(&body).send().await?;
    ensure!(answer.status.as_u16() == 201, "register: {}", answer.text());
    token_of(&answer.text())
}

async fn is_live(node: &Client, token: &str) -> Result<bool> {
    let answer = node.get("/api/auth/me").bearer(token).send().await?;
    ensure!(matches!(answer.status.as_u16(), 200 | 401), "me: {}", answer.text());
    Ok(answer.status.as_u16() == 200)
}

fn token_of(body: &str) -> Result<String> {
    let from = body.find("phx_s_").with_context(|| format!("no token in {body}"))?;
    Ok(body[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
}
