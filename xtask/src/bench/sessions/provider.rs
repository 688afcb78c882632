//! How seldom the identity provider is asked, and what that saves: cached look-ups against asking a provider that is
//! 100 ms away, tokens with unknown keys, and a new user whose first requests all come at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phoenix_testkit::stack_auth::{FakeStackAuth, JwksMode, NewUser, Route, UserType};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::cluster::{Cluster, Ground, me, real, stack_variables};
use crate::bench::load::{self, Asker, Expect, Plan, Requests};
use crate::bench::me::block_on;
use crate::bench::report::{Bar, median};

/// How far away the provider is.
const LATENCY: Duration = Duration::from_millis(100);
/// How much faster a cached look-up has to be.
const FASTER: f64 = 1000.0;
/// `PHOENIX_JWKS_COOL_DOWN`, the shortest that is allowed. A hundred thousand requests with unknown keys take longer.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// Connections that bring tokens with unknown keys.
const ATTACKERS: usize = 64;
/// Users whose first requests all come at once, one after another.
const NEWCOMERS: usize = 5;
/// Longest time for one request.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Look-ups at the provider.
    uncached: usize,
    /// Time for look-ups from memory.
    cached: Duration,
    /// Requests with unknown keys.
    forged: usize,
    /// First requests of one user.
    first: usize,
}

/// The form that counts.
pub(super) const FULL: Size =
    Size { uncached: 50, cached: Duration::from_secs(5), forged: 100_000, first: 1000 };
/// The form that CI can afford.
pub(super) const QUICK: Size =
    Size { uncached: 30, cached: Duration::from_secs(2), forged: 20_000, first: 1000 };
/// For a test of this part, on debug builds.
pub(super) const SHORT: Size = Size { uncached: 3, cached: Duration::from_secs(1), forged: 300, first: 60 };

pub(super) fn run(program: &Path, size: &Size) -> Result<Vec<Bar>> {
    let ground = Ground::set_up(program)?;
    let provider = FakeStackAuth::start()?;
    let cool_down = format!("{}s", COOL_DOWN.as_secs());
    let mut variables = stack_variables(&provider).to_vec();
    variables.push(("PHOENIX_JWKS_COOL_DOWN", &cool_down));
    // Nodes fetch the keys when they start. They shall not have them when the first token comes.
    provider.set_jwks(JwksMode::Status(503));
    let cluster = ground.cluster(&variables)?;
    provider.set_jwks(JwksMode::Normal);
    provider.set_latency(LATENCY);
    eprintln!("\nprovider, {LATENCY:?} away");
    let mut bars = look_ups(&cluster, &provider, size)?;
    bars.extend(block_on(unknown_keys(&cluster, &provider, size))?);
    bars.extend(block_on(newcomers(&cluster, &provider, size))?);
    Ok(bars)
}

/// One look-up after another: at the provider, for the first time at a node, and from the node's memory.
fn look_ups(cluster: &Cluster, provider: &FakeStackAuth, size: &Size) -> Result<Vec<Bar>> {
    let node = cluster.nodes[0].address();
    let user = provider.create_user(NewUser::normal().email("look-up@example.com"));
    let (first, second) = (provider.sign_in(&user.id), provider.sign_in(&user.id));
    let (without_keys, with_keys, uncached) = block_on(async {
        let mut asker = Asker::new(node, PATIENCE);
        let without_keys = timed(&mut asker, &me(&first.access_token)).await?;
        let with_keys = timed(&mut asker, &me(&second.access_token)).await?;
        let mut asker = Asker::new(provider.addr(), PATIENCE);
        let request = users_me(provider, &first.access_token);
        let mut uncached = Vec::with_capacity(size.uncached);
        for _ in 0..size.uncached {
            uncached.push(timed(&mut asker, &request).await?);
        }
        Ok((without_keys, with_keys, median(uncached)))
    })?;
    let outcome = load::closed_loop(&Plan {
        connections: 1,
        expect: Expect::status(200).with_header("x-cache-hit", "l1"),
        warm_up: size.cached / 5,
        duration: size.cached,
        ..Plan::new(node, Requests::Same(me(&first.access_token)))
    })?;
    outcome.ensure_clean()?;
    let cached = millis(outcome.quantile(0.5));
    Ok(vec![
        Bar::info("look-up: at the provider, p50", uncached, "ms"),
        Bar::info("look-up: first at Phoenix, without keys", without_keys, "ms"),
        Bar::info("look-up: first of a session, with keys", with_keys, "ms"),
        Bar::info("look-up: cached look-ups", real(outcome.completed), ""),
        Bar::info("look-up: cached, p50", cached, "ms"),
        Bar::info("look-up: cached, p99", millis(outcome.quantile(0.99)), "ms"),
        Bar::at_least("look-up: cached faster, medians", uncached / cached, "x", FASTER),
    ])
}

/// What an application without Phoenix asks for each request: whose token is this?
fn users_me(provider: &FakeStackAuth, token: &str) -> Vec<u8> {
    let headers = [
        ("host", "127.0.0.1"),
        ("x-stack-access-type", "server"),
        ("x-stack-project-id", provider.project_id()),
        ("x-stack-secret-server-key", &provider.project().secret_server_key),
        ("x-stack-access-token", token),
    ];
    load::request("GET", "/api/v1/users/me", &headers, b"")
}

/// Milliseconds until the answer, which has to be 200.
async fn timed(asker: &mut Asker, request: &[u8]) -> Result<f64> {
    let since = Instant::now();
    let answer = asker.ask(request, &Expect::status(200)).await?;
    ensure!(answer.good, "status {}", answer.status);
    Ok(millis(since.elapsed()))
}

/// Tokens that name keys which do not exist, each another, all to one node: it asks the provider once in a cool-down.
async fn unknown_keys(cluster: &Cluster, provider: &FakeStackAuth, size: &Size) -> Result<Vec<Bar>> {
    let inspector = cluster.inspector().await?;
    let good = provider.mint(&provider.token(UserType::Normal));
    let (_, rest) = good.split_once('.').context("a token has three parts")?;
    let rest: Arc<str> = rest.into();
    let (reads, calls) = (inspector.sum("databaseReads").await?, provider.calls(Route::Jwks));
    let start = Instant::now();
    let mut parts = JoinSet::new();
    for part in 0..ATTACKERS {
        let mut asker = Asker::new(cluster.nodes[0].address(), PATIENCE);
        let (rest, numbers) = (Arc::clone(&rest), (part..size.forged).step_by(ATTACKERS));
        parts.spawn(async move {
            let mut seen = Seen::default();
            for number in numbers {
                let request = me(&format!("{}.{rest}", header(number)));
                seen.count(asker.ask(&request, &Expect::status(401)).await.ok().map(|answer| answer.status));
            }
            seen
        });
    }
    let seen = parts.join_all().await.into_iter().fold(Seen::default(), Seen::plus);
    let (took, calls) = (start.elapsed(), provider.calls(Route::Jwks) - calls);
    let reads = inspector.sum("databaseReads").await? - reads;
    let cool_downs = took.as_secs() / COOL_DOWN.as_secs() + 1;
    ensure!(calls > 0, "the provider was not asked at all, so this proves nothing");
    eprintln!("unknown keys: {calls} calls for keys in {took:?}, that is {cool_downs} cool-downs begun");
    Ok(vec![
        Bar::info("unknown keys: requests", real(seen.all()), ""),
        Bar::info("unknown keys: requests", real(seen.all()) / took.as_secs_f64(), "1/s"),
        Bar::info("unknown keys: cool-down", COOL_DOWN.as_secs_f64(), "s"),
        Bar::at_most(
            "unknown keys: calls of the provider per cool-down",
            real(calls) / real(cool_downs),
            "",
            1.0,
        ),
        Bar::at_most("unknown keys: not answered 401", real(seen.all() - seen.refused), "", 0.0),
        Bar::at_most("unknown keys: answered 5xx, or not at all", real(seen.failed), "", 0.0),
        Bar::info("unknown keys: sessions looked up in the database", reads, ""),
    ])
}

/// The header of a token (RFC 7515) that was signed with key `number`.
fn header(number: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{number:012}"}}"#))
}

/// How requests were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    accepted: u64,
    /// 401.
    refused: u64,
    /// 5xx, and no answer.
    failed: u64,
    other: u64,
}

impl Seen {
    fn count(&mut self, status: Option<u16>) {
        match status {
            Some(200) => self.accepted += 1,
            Some(401) => self.refused += 1,
            None | Some(500..) => self.failed += 1,
            Some(_) => self.other += 1,
        }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            accepted: self.accepted + more.accepted,
            refused: self.refused + more.refused,
            failed: self.failed + more.failed,
            other: self.other + more.other,
        }
    }

    fn all(&self) -> u64 {
        self.accepted + self.refused + self.failed + self.other
    }
}

/// Users whom no node has seen, each with all first requests at once, spread over the nodes.
async fn newcomers(cluster: &Cluster, provider: &FakeStackAuth, size: &Size) -> Result<Vec<Bar>> {
    let mut askers = connect(cluster, size.first).await?;
    let (mut seen, mut accounts, mut sessions, mut slowest) = (Seen::default(), 0.0_f64, 0.0_f64, 0.0_f64);
    for number in 0..NEWCOMERS {
        let email = format!("newcomer{number}@example.com");
        let token = provider.sign_up(NewUser::normal().email(&email).name("New")).access_token;
        let since = Instant::now();
        seen = seen.plus(all_at_once(&mut askers, me(&token)).await);
        slowest = slowest.max(millis(since.elapsed()));
        let (users, opened) = rows(&cluster.ground, &email).await?;
        ensure!(users > 0.0 && opened > 0.0, "{users} accounts and {opened} sessions of a new user");
        (accounts, sessions) = (accounts.max(users), sessions.max(opened));
    }
    let name = |what: &str| format!("first requests of a new user: {what}");
    Ok(vec![
        Bar::info(name("at once"), real(u64::try_from(size.first)?), ""),
        Bar::at_most(name("accounts"), accounts, "", 1.0),
        Bar::at_most(name("sessions"), sessions, "", 1.0),
        Bar::at_most(name("not answered 200"), real(seen.all() - seen.accepted), "", 0.0),
        Bar::info(name("until all are answered"), slowest, "ms"),
    ])
}

/// Open connections, at the nodes in turn.
async fn connect(cluster: &Cluster, count: usize) -> Result<Vec<Asker>> {
    let ready = load::request("GET", "/readyz", &[("host", "127.0.0.1")], b"");
    let mut askers = Vec::with_capacity(count);
    for node in cluster.nodes.iter().cycle().take(count) {
        let mut asker = Asker::new(node.address(), PATIENCE);
        let answer = asker.ask(&ready, &Expect::status(200)).await?;
        ensure!(answer.good, "a node is not ready: status {}", answer.status);
        askers.push(asker);
    }
    Ok(askers)
}

async fn all_at_once(askers: &mut Vec<Asker>, request: Vec<u8>) -> Seen {
    let start = Arc::new(Barrier::new(askers.len()));
    let request: Arc<[u8]> = request.into();
    let mut asked = JoinSet::new();
    for mut asker in askers.drain(..) {
        let (start, request) = (Arc::clone(&start), Arc::clone(&request));
        asked.spawn(async move {
            start.wait().await;
            let answer = asker.ask(&request, &Expect::status(200)).await;
            (asker, answer.ok().map(|answer| answer.status))
        });
    }
    let mut seen = Seen::default();
    for (asker, status) in asked.join_all().await {
        seen.count(status);
        askers.push(asker);
    }
    seen
}

/// Accounts with this address, and their sessions.
async fn rows(ground: &Ground, email: &str) -> Result<(f64, f64)> {
    let (ground, question) = (
        ground.clone(),
        format!(
            "SELECT count(DISTINCT u.id), count(s.id) FROM phoenix.users u \
             LEFT JOIN phoenix.sessions s ON s.user_id = u.id WHERE u.email = '{email}'"
        ),
    );
    let asked = tokio::task::spawn_blocking(move || ground.postgres.query(&ground.database, &question));
    let rows = asked.await??;
    let row = rows.first().context("a count has a row")?;
    let column = |index: usize| -> Result<f64> {
        Ok(row.get(index).and_then(Option::as_deref).context("a count is a number")?.parse()?)
    };
    Ok((column(0)?, column(1)?))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::{Seen, header};

    #[test]
    fn every_status_is_counted_once() {
        let mut seen = Seen::default();
        for status in [Some(200), Some(401), Some(401), Some(500), Some(503), None, Some(403)] {
            seen.count(status);
        }
        assert_eq!(seen, Seen { accepted: 1, refused: 2, failed: 3, other: 1 });
        assert_eq!((seen.all(), seen.plus(seen).all()), (7, 14));
    }

    #[test]
    fn headers_name_different_keys() {
        // {"alg":"ES256","kid":"000000000007"}
        assert_eq!(header(7), "eyJhbGciOiJFUzI1NiIsImtpZCI6IjAwMDAwMDAwMDAwNyJ9");
        assert_ne!(header(7), header(8));
    }
}
