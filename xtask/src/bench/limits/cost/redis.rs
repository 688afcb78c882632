//! Decisions that Redis makes: how long they take at a fixed rate, how many of them ask it, and that refusals never do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use phoenix_limit::{Key, Keyer, Mode, Rule, Window};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;
use tokio::task::{JoinSet, yield_now};

use super::super::trio::{Ask, NODES, Node, Trio, runtime};
use super::super::{CLASSES, SECRET, keep_blocks, real};
use crate::bench::pin;
use crate::bench::report::Bar;
use crate::bench::zipf::Random;

/// Decisions a second, of one node, all made by Redis.
const RATE: f64 = 20_000.0;
/// Keys of these decisions: each is asked for less than once in five seconds, so none is leased.
const KEYS: u32 = 100_000;
const WARM_UP: Duration = Duration::from_secs(1);
/// Busy keys, and the requests a second for each of them over all nodes.
const BUSY_KEYS: u32 = 20;
const BUSY_RATE: u32 = 300;
/// A limit that leaves them room.
const ROOMY: Window = Window { limit: 10_000, span: Duration::from_mins(1) };
/// Refusals of each kind at each node.
const REFUSALS: u32 = 10_000;

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let duration = Duration::from_secs(if quick { 3 } else { 10 });
    let mut bars = latency(duration)?;
    bars.push(calls(duration)?);
    bars.extend(refusals()?);
    Ok(bars)
}

/// An open loop on one thread that never sleeps, so that latency from the moment a decision was due is exact.
fn latency(duration: Duration) -> Result<Vec<Bar>> {
    let redis = Redis::start()?;
    let keyer = Keyer::new(SECRET);
    // Beforehand: whoever keeps the thread for longer than the deadline loses Redis.
    let keys: Vec<Key> =
        (0..KEYS).map(|number| keyer.key("api", &[b"cold", &number.to_le_bytes()], b"")).collect();
    let cores = pin::Cores::detect();
    pin::process(redis.pid().context("Redis runs")?, cores.server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let times = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            pin::this_thread(cores.load);
            runtime.block_on(async {
                let trio = Trio::with(1, &redis.url(), |options| options)?;
                trio.until_shared().await?;
                open_loop(&trio.nodes[0], &keys, WARM_UP + duration).await
            })
        });
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
    })?;
    let mut times: Vec<Duration> =
        times.into_iter().filter(|(due, _)| *due >= WARM_UP).map(|(_, took)| took).collect();
    times.sort_unstable();
    let millis =
        |part: usize| times.get(times.len() * part / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    let rate = real(times.len() as u64) / duration.as_secs_f64();
    Ok(vec![
        Bar::at_least("Redis: decisions, all asked", rate, "1/s", 0.99 * RATE),
        Bar::at_most("Redis: p50 of a decision", millis(50), "ms", 0.5),
        Bar::info("Redis: p99 of a decision", millis(99), "ms"),
        Bar::info("Redis: its own time for a script", script_micros(&redis)?, "us"),
    ])
}

/// When each decision was due, and how long after that it was made. All that were due in `duration`.
async fn open_loop(node: &Node, keys: &[Key], duration: Duration) -> Result<Vec<(Duration, Duration)>> {
    let rule = Arc::new(CLASSES[1].rule(keep_blocks)?);
    let (mut random, mut waiting, mut times) = (Random::new(9), JoinSet::new(), Vec::new());
    let start = Instant::now();
    let mut number = 0;
    loop {
        let due = Duration::from_secs_f64(real(number) / RATE);
        if due >= duration {
            break;
        }
        while start.elapsed() < due {
            yield_now().await;
        }
        let key = keys[usize::try_from(random.next() % u64::from(KEYS)).unwrap_or(0)];
        let now = node.now();
        if node.limiter.decide_now(key, &rule, 1, Mode::Count, now).is_some() {
            // Redis was taken for lost: the decision does not count as one of Redis.
            number += 1;
            continue;
        }
        let (limiter, rule) = (Arc::clone(&node.limiter), Arc::clone(&rule));
        waiting.spawn(async move {
            let decision = limiter.decide(key, &rule, 1, Mode::Count, now).await;
            (due, start.elapsed().saturating_sub(due), decision.is_admitted())
        });
        while let Some(done) = waiting.try_join_next() {
            let (due, took, admitted) = done.context("a decision panicked")?;
            ensure!(admitted, "a request within its limit was refused");
            times.push((due, took));
        }
        number += 1;
    }
    while let Some(done) = waiting.join_next().await {
        let (due, took, _) = done.context("a decision panicked")?;
        times.push((due, took));
    }
    eprintln!("open loop: {:?}", node.health()?);
    Ok(times)
}

/// Calls of Redis for each decision on busy keys, of any kind, with what runs by the clock.
fn calls(duration: Duration) -> Result<Bar> {
    let redis = Redis::start()?;
    let rule = Arc::new(Rule::new(&[ROOMY], None)?);
    let (keyer, mut random) = (Keyer::new(SECRET), Random::new(13));
    let every = Duration::from_secs(1) / (BUSY_KEYS * BUSY_RATE);
    let asks: Vec<Ask> = (0..u32::try_from((WARM_UP + duration).as_micros() / every.as_micros())?)
        .map(|number| Ask {
            due: every * number,
            node: usize::try_from(random.next() % NODES as u64).unwrap_or(0),
            key: keyer.key("busy", &[&(number % BUSY_KEYS).to_le_bytes()], b""),
            rule: Arc::clone(&rule),
            cost: 1,
        })
        .collect();
    let first = asks.partition_point(|ask| ask.due < WARM_UP);
    let asked = runtime()?.block_on(async {
        let trio = Trio::on(&redis.url(), |options| options)?;
        trio.until_shared().await?;
        let (warm_up, rest) = asks.split_at(first);
        trio.drive(warm_up).await?;
        let before = commands(&redis)?;
        // Their times count from the begin of the warm-up.
        let rest: Vec<Ask> =
            rest.iter().map(|ask| Ask { due: ask.due.saturating_sub(WARM_UP), ..ask.clone() }).collect();
        let answers = trio.drive(&rest).await?;
        ensure!(
            answers.iter().all(|answer| answer.decision.is_admitted()),
            "a request within its limit was refused"
        );
        anyhow::Ok(commands(&redis)? - before)
    })?;
    let decisions = real((asks.len() - first) as u64);
    Ok(Bar::at_most("Redis: calls a decision, keys asked for 300 times a second", asked / decisions, "", 0.1))
}

/// Refusals ask Redis for nothing and allocate nothing, at any node, of a blocked client and of one whose window is full.
fn refusals() -> Result<Vec<Bar>> {
    let redis = Redis::start()?;
    let keyer = Keyer::new(SECRET);
    let cases = [("blocked", CLASSES[0].rule(keep_blocks)?), ("window full", CLASSES[0].rule(|_| None)?)];
    runtime()?.block_on(async {
        let mut trio = Trio::on(&redis.url(), |options| options)?;
        trio.until_shared().await?;
        let mut bars = Vec::new();
        for (name, rule) in &cases {
            let key = keyer.key(name, &[], b"");
            // One more than the limit, and then once at every node.
            for number in 0..=CLASSES[0].limit as usize + NODES {
                trio.nodes[number % NODES]
                    .limiter
                    .decide(key, rule, 1, Mode::Count, trio.nodes[number % NODES].now())
                    .await;
            }
        }
        trio.be_quiet();
        // What was under way when that ended comes to an end.
        let (mut last, mut same) = (commands(&redis)?, 0);
        wait::until(Duration::from_secs(5), "Redis to be asked for nothing", || {
            let now = commands(&redis).unwrap_or_default();
            same = if (now - last).abs() < 0.5 { same + 1 } else { 0 };
            last = now;
            std::future::ready(same > 5)
        })
        .await;
        for (name, rule) in &cases {
            let key = keyer.key(name, &[], b"");
            let before = commands(&redis)?;
            let mut known = 0;
            let counted = allocation_counter::measure(|| {
                for node in &trio.nodes {
                    for _ in 0..REFUSALS {
                        let decision = node.limiter.decide_now(key, rule, 1, Mode::Count, node.now());
                        known += u32::from(decision.is_some_and(|decision| !decision.is_admitted()));
                    }
                }
            });
            let all = REFUSALS * u32::try_from(NODES)?;
            ensure!(known == all, "only {known} of {all} refusals were known at the node: {name}");
            let asked = commands(&redis)? - before;
            bars.push(Bar::at_most(format!("Redis: commands of 30,000 refusals, {name}"), asked, "", 0.0));
            let allocations = real(counted.count_total);
            bars.push(Bar::at_most(format!("Redis: allocations of them, {name}"), allocations, "", 0.0));
        }
        Ok(bars)
    })
}

/// What a script took in Redis, on average, in microseconds.
fn script_micros(redis: &Redis) -> Result<f64> {
    let text = redis.command(&["INFO", "commandstats"])?;
    let line = text.lines().find(|line| line.starts_with("cmdstat_evalsha:")).context("scripts were run")?;
    let word = line.split(',').find_map(|word| word.strip_prefix("usec_per_call="));
    word.context("the time of a call")?.parse().context("the time of a call")
}

/// Commands that Redis has run for clients, and not within scripts: those of the limiter are scripts, and what its
/// connection begins with.
fn commands(redis: &Redis) -> Result<f64> {
    let text = redis.command(&["INFO", "commandstats"])?;
    let calls = |line: &str| -> Option<f64> {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let counted = matches!(name, "eval" | "evalsha" | "fcall" | "ping" | "publish") || name.contains('|');
        rest.split(',').next()?.parse().ok().filter(|_| counted)
    };
    Ok(text.lines().filter_map(calls).sum())
}
