//! A realistic mix: many users, few of whom make most of the requests, who sign in and out now and then, on all
//! nodes in turn. How often is the database asked?
//!
//! Every user begins with one open session, and each of them has been asked for once, so Redis has them all. Of a
//! hundred actions five sign in, which opens a session that its user goes on with, and one is a logout, after which
//! the user does nothing until they sign in again; the others are `GET /api/auth/me`.
//!
//! Nine of ten sign in at the identity provider: the first request with the new token opens the session. The others do
//! it with a password. If all did, the rate would be what two cores can hash, though passwords cost the least that is
//! allowed here, and the nodes' clocks would ask the database more often than anything else.
//!
//! The bar counts all statements but those that signing in and out is made of; what the nodes ask by the clock counts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::{FakeStackAuth, NewUser};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::cluster::{
    Cluster, Ground, Inspector, NODES, Node, log_in, me, real, stack_variables, sum, with_token,
};
use super::statements::Statements;
use crate::bench::load::{Asker, Expect};
use crate::bench::me::{block_on, seed};
use crate::bench::report::Bar;
use crate::bench::zipf::{Random, Zipf};

/// Actions a second.
const RATE: u32 = 3000;
/// Actors: at most so many actions are under way at once.
const ACTORS: u32 = 48;
const EXPONENT: f64 = 0.99;
const LOGINS: f64 = 0.05;
const LOGOUTS: f64 = 0.01;
/// Part of the logins that cost a password's hash, about 20 ms of a core.
const WITH_PASSWORD: f64 = 0.1;
/// Identities inserted by one statement.
const CHUNK: usize = 10_000;
/// Mixed traffic before anything is counted.
const WARM_UP: Duration = Duration::from_secs(5);
const PASSWORD: &str = "seven green bicycles at noon";
const PATIENCE: Duration = Duration::from_secs(30);

const HIT_RATE: f64 = 0.99;
const STATEMENTS: f64 = 0.01;

/// `tokens` has one for each user, in the order of the users.
pub(super) fn run(ground: &Ground, tokens: &[String], quick: bool) -> Result<Vec<Bar>> {
    // What is counted is not how soon entries expire at this rate, which is far below what real nodes carry.
    let provider = Arc::new(FakeStackAuth::start()?);
    let mut variables = stack_variables(&provider).to_vec();
    variables.extend([("PHOENIX_L1_TTL", "1h"), ("PHOENIX_L2_TTL", "1h")]);
    let cluster = Arc::new(ground.cluster(&variables)?);
    let identities = give_identities(ground, &provider, tokens.len())?;
    let duration = Duration::from_secs(if quick { 15 } else { 60 });
    block_on(async {
        give_passwords(ground, &cluster.nodes[0].client()).await?;
        fill(&cluster, tokens).await?;
        let inspector = cluster.inspector().await?;
        let town = Arc::new(Town::new(&cluster, tokens, provider, identities));
        let mut actors = JoinSet::new();
        for number in 0..ACTORS {
            let town = Arc::clone(&town);
            actors.spawn(async move { Actor::new(town, number).run().await });
        }
        tokio::time::sleep(WARM_UP).await;
        let before = Reading::take(&town, &inspector).await?;
        tokio::time::sleep(duration).await;
        let after = Reading::take(&town, &inspector).await?;
        town.stop.store(true, Ordering::Relaxed);
        while let Some(actor) = actors.join_next().await {
            actor.context("an actor panicked")??;
        }
        bars(&before, &after, duration)
    })
}

/// Makes every user one of the provider's, with the address that both have verified; returns their names there.
fn give_identities(ground: &Ground, provider: &FakeStackAuth, users: usize) -> Result<Vec<String>> {
    let user = |number: usize| NewUser::normal().email(&format!("user{number}@example.com"));
    let names: Vec<String> = (0..users).map(|number| provider.create_user(user(number)).id).collect();
    for (chunk, names) in names.chunks(CHUNK).enumerate() {
        let (project, first) = (provider.project_id(), chunk * CHUNK);
        let statement = format!(
            "INSERT INTO phoenix.identities (issuer, subject, user_id) \
             SELECT 'stack:{project}', n.subject, u.id \
             FROM unnest('{{{}}}'::text[]) WITH ORDINALITY AS n (subject, number) JOIN phoenix.users u \
             ON u.email_key = 'user' || (n.number - 1 + {first}) || '@example.com'",
            names.join(","),
        );
        ground.postgres.execute(&ground.database, &statement)?;
    }
    let verified = "UPDATE phoenix.users SET email_verified = true; ANALYZE phoenix.identities";
    ground.postgres.execute(&ground.database, verified)?;
    Ok(names)
}

/// Gives every user the password of one who registered at `node`.
async fn give_passwords(ground: &Ground, node: &Client) -> Result<()> {
    let body = json!({"email": "mix@example.com", "password": PASSWORD, "transport": "bearer"});
    let answer = node.post("/api/auth/register").json(&body).send().await?;
    ensure!(answer.status == 201, "registration failed: {}", answer.text());
    let ground = ground.clone();
    let copied = tokio::task::spawn_blocking(move || {
        ground.postgres.execute(
            &ground.database,
            "UPDATE phoenix.users u SET password_hash = m.password_hash FROM phoenix.users m \
             WHERE m.email_key = 'mix@example.com' AND u.password_hash = '-'; ANALYZE phoenix.users",
        )
    });
    copied.await?
}

/// Asks for every session once, each at one of the nodes.
async fn fill(cluster: &Arc<Cluster>, tokens: &[String]) -> Result<()> {
    let mut parts = JoinSet::new();
    for part in 0..NODES * 4 {
        let address = cluster.nodes[part % NODES].address();
        let requests: Vec<_> = tokens.iter().skip(part).step_by(NODES * 4).map(|token| me(token)).collect();
        parts.spawn(async move {
            let mut asker = Asker::new(address, PATIENCE);
            for request in requests {
                let answer = asker.ask(&request, &Expect::status(200)).await?;
                ensure!(answer.good, "status {}", answer.status);
            }
            Ok(())
        });
    }
    while let Some(part) = parts.join_next().await {
        part??;
    }
    Ok(())
}

/// What all actors share.
struct Town {
    nodes: Vec<Client>,
    addresses: Vec<std::net::SocketAddr>,
    zipf: Zipf,
    provider: Arc<FakeStackAuth>,
    /// How the provider calls each user.
    identities: Vec<String>,
    /// The token of each user who is signed in.
    users: Mutex<Vec<Option<Arc<str>>>>,
    turn: AtomicUsize,
    stop: AtomicBool,
    asked: AtomicU64,
    logins: AtomicU64,
    /// First requests with a new session of the provider.
    sights: AtomicU64,
    logouts: AtomicU64,
    /// Requests that were refused because their session was ended while they were under way.
    raced: AtomicU64,
}

impl Town {
    fn new(
        cluster: &Cluster,
        tokens: &[String],
        provider: Arc<FakeStackAuth>,
        identities: Vec<String>,
    ) -> Self {
        Self {
            nodes: cluster.nodes.iter().map(|node| node.client().with_bound(PATIENCE)).collect(),
            addresses: cluster.nodes.iter().map(Node::address).collect(),
            zipf: Zipf::new(tokens.len(), EXPONENT),
            provider,
            identities,
            users: Mutex::new(tokens.iter().map(|token| Some(token.as_str().into())).collect()),
            turn: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            sights: AtomicU64::new(0),
            logouts: AtomicU64::new(0),
            raced: AtomicU64::new(0),
        }
    }

    fn with_user<T>(&self, user: usize, act: impl FnOnce(&mut Option<Arc<str>>) -> T) -> T {
        act(&mut self.users.lock().unwrap_or_else(PoisonError::into_inner)[user])
    }

    fn token(&self, user: usize) -> Option<Arc<str>> {
        self.with_user(user, |token| token.clone())
    }
}

/// One of those who act for the users.
struct Actor {
    town: Arc<Town>,
    random: Random,
    number: u32,
    askers: Vec<Asker>,
}

impl Actor {
    fn new(town: Arc<Town>, number: u32) -> Self {
        let askers = town.addresses.iter().map(|address| Asker::new(*address, PATIENCE)).collect();
        Self { town, random: Random::new(u64::from(number) << 32), number, askers }
    }

    async fn run(mut self) -> Result<()> {
        let period = Duration::from_secs(1) * ACTORS / RATE;
        let mut ticks = interval_at(Instant::now() + period * self.number / ACTORS, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.town.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let node = self.town.turn.fetch_add(1, Ordering::Relaxed) % NODES;
            let kind = self.random.unit();
            if kind < LOGINS * WITH_PASSWORD {
                self.log_in(node).await?;
            } else if kind < LOGINS {
                self.come_from_provider(node).await?;
            } else if kind < LOGINS + LOGOUTS {
                self.log_out(node).await?;
            } else {
                self.ask(node).await?;
            }
        }
        Ok(())
    }

    async fn log_in(&mut self, node: usize) -> Result<()> {
        let user = self.town.zipf.draw(&mut self.random);
        let token = log_in(&self.town.nodes[node], &format!("user{user}@example.com"), PASSWORD).await?;
        self.town.with_user(user, |current| *current = Some(token.into()));
        self.town.logins.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Signs in at the provider and asks with the new token.
    async fn come_from_provider(&mut self, node: usize) -> Result<()> {
        let user = self.town.zipf.draw(&mut self.random);
        let token = self.town.provider.sign_in(&self.town.identities[user]).access_token;
        let answer = self.askers[node].ask(&me(&token), &Expect::status(200)).await?;
        ensure!(answer.good, "a new session of the provider was answered {}", answer.status);
        self.town.with_user(user, |current| *current = Some(token.into()));
        self.town.sights.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn log_out(&mut self, node: usize) -> Result<()> {
        let (_, token) = self.somebody(|town, user| town.with_user(user, Option::take));
        let request = with_token("POST", "/api/auth/logout", &token);
        let answer = self.askers[node].ask(&request, &Expect::status(200)).await?;
        ensure!(answer.good, "a logout was answered {}", answer.status);
        self.town.logouts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn ask(&mut self, node: usize) -> Result<()> {
        let (user, token) = self.somebody(Town::token);
        let answer = self.askers[node].ask(&me(&token), &Expect::status(200)).await?;
        if answer.good {
            self.town.asked.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // Another actor may have signed the user out meanwhile.
        let same = self.town.token(user).is_some_and(|now| now == token);
        ensure!(answer.status == 401 && !same, "a signed-in user was answered {}", answer.status);
        self.town.raced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A user who is signed in, and what `take` makes of it.
    fn somebody(&mut self, take: impl Fn(&Town, usize) -> Option<Arc<str>>) -> (usize, Arc<str>) {
        loop {
            let user = self.town.zipf.draw(&mut self.random);
            if let Some(token) = take(&self.town, user) {
                return (user, token);
            }
        }
    }
}

/// All counters of a moment.
struct Reading {
    asked: u64,
    logins: u64,
    sights: u64,
    logouts: u64,
    raced: u64,
    reports: Vec<Value>,
}

impl Reading {
    async fn take(town: &Town, inspector: &Inspector) -> Result<Self> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Self {
            asked: read(&town.asked),
            logins: read(&town.logins),
            sights: read(&town.sights),
            logouts: read(&town.logouts),
            raced: read(&town.raced),
            reports: inspector.reports().await?,
        })
    }
}

fn bars(before: &Reading, after: &Reading, duration: Duration) -> Result<Vec<Bar>> {
    let hits = |tier| anyhow::Ok(sum(&after.reports, tier)? - sum(&before.reports, tier)?);
    let (l1, l2, l3) = (hits("l1Hits")?, hits("l2Hits")?, hits("l3Hits")?);
    let statements = Statements::of(&after.reports)?.since(&Statements::of(&before.reports)?);
    let totals = statements.totals();
    let (asked, logouts) = (real(after.asked - before.asked), real(after.logouts - before.logouts));
    let (logins, sights) = (real(after.logins - before.logins), real(after.sights - before.sights));
    ensure!(asked > 0.0, anyhow!("nothing was asked"));
    let actions = asked + logins + sights + logouts;
    let raced = after.raced - before.raced;
    eprintln!(
        "\nmix: {asked} me, {logins} logins with a password, {sights} first sights of a session of the provider,"
    );
    eprintln!("{logouts} logouts, {raced} me that lost a race with a logout");
    eprintln!("hits: {l1} in memory, {l2} in Redis, {l3} in the database; statements:");
    statements.show();
    Ok(vec![
        Bar::info("mix: users", real(u64::try_from(seed::USERS)?), ""),
        Bar::info("mix: actions", actions / duration.as_secs_f64(), "1/s"),
        Bar::info("mix: new sessions of them", (logins + sights) / actions, ""),
        Bar::info("mix: new sessions by password", logins / (logins + sights), ""),
        // Not a part of all hits: a use from a new place is looked up in memory twice.
        Bar::at_least("mix: hits in memory or Redis", 1.0 - l3 / asked, "", HIT_RATE),
        Bar::at_most(
            "mix: statements per me, without signing in and out",
            (totals.all - totals.signing) / asked,
            "",
            STATEMENTS,
        ),
        Bar::info(
            "mix: the same without the clock",
            (totals.all - totals.signing - totals.clock) / asked,
            "",
        ),
        Bar::info("mix: statements per me, all", totals.all / asked, ""),
        Bar::info("mix: statements by the clock", totals.clock / duration.as_secs_f64(), "1/s"),
    ])
}
