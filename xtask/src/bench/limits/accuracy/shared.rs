//! Three nodes on one Redis: decisions in the order in which Redis saw them. In real time, so the windows are those of
//! the product's classes made shorter, and for leases larger.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use phoenix_limit::{Keyer, LeaseBounds, Rule, SharedOptions, Window};
use phoenix_testkit::redis::Redis;

use super::super::traffic::Shape;
use super::super::trio::{Answer, Ask, NODES, Trio, runtime};
use super::super::{CLASSES, SECRET, real};
use super::tally::{Judged, Made, judge};
use crate::bench::report::Bar;
use crate::bench::zipf::Random;

/// Length of every window.
const SPAN: Duration = Duration::from_secs(2);
const BLOCK: Duration = Duration::from_millis(1_500);
/// Not `ClockSteps`: the clock is that of Redis.
const SHAPES: [Shape; 4] = [Shape::NearLimit, Shape::Bursty, Shape::Attacker, Shape::Zipf];
/// Clients of each shape under each rule, without leases.
const CLIENTS: u32 = 2;
/// Limits of the run with leases: with room for them, and not far above the smallest that is leased.
const LEASED: [u32; 3] = [150, 500, 1_500];

/// Requests of one kind of traffic under one rule.
struct Lane {
    rule: Arc<Rule>,
    shape: Shape,
}

/// Of which lane and which client a request of the schedule is.
type Origin = (usize, u32);

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let spans = if quick { 4 } else { 15 };
    let mut bars = Vec::new();
    let block = |limit: u32, block: Option<Duration>| Rule::new(&[Window { limit, span: SPAN }], block);
    let mut rules = Vec::new();
    for class in &CLASSES {
        rules.extend([block(class.limit, Some(BLOCK))?, block(class.limit, None)?]);
    }
    let (exact, at_once) = share(&rules, CLIENTS, spans, without_leases)?;
    bars.push(Bar::info("3 nodes without leases: decisions without I/O", at_once, "%"));
    bars.extend(exact.own.exact_bars("3 nodes without leases"));
    let rules = LEASED.map(|limit| block(limit, None)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let (leased, at_once) = share(&rules, 1, spans, |options| options)?;
    bars.push(Bar::info("3 nodes with leases: decisions", real(leased.own.decisions), ""));
    bars.push(Bar::info("3 nodes with leases: decisions without I/O", at_once, "%"));
    bars.push(Bar::at_most("3 nodes with leases: wrong decisions", leased.own.percent(), "%", 0.05));
    bars.push(Bar::info("3 nodes with leases: wrong, given what was admitted", leased.given.percent(), "%"));
    let excess = f64::from(leased.own.excess);
    bars.push(Bar::at_most("3 nodes with leases: most above a limit", excess, "units", 0.0));
    Ok(bars)
}

/// All shapes under all rules at once. What was judged, and how many decisions took no I/O, in percent.
fn share(
    rules: &[Rule],
    clients: u32,
    spans: u32,
    change: impl Fn(SharedOptions) -> SharedOptions,
) -> Result<(Judged, f64)> {
    let (lanes, origins, asks) = schedule(rules, clients, spans);
    let redis = Redis::start()?;
    let answers = runtime()?.block_on(async {
        let trio = Trio::on(&redis.url(), change)?;
        trio.until_shared().await?;
        trio.drive(&asks).await
    })?;
    let mut made: Vec<Vec<Made>> = lanes.iter().map(|_| Vec::new()).collect();
    for ((lane, client), Answer { decision, .. }) in origins.into_iter().zip(&answers) {
        made[lane].push(Made { client, at: decision.at, cost: 1, admitted: decision.is_admitted() });
    }
    let mut all = Judged::default();
    for (lane, made) in lanes.iter().zip(&made) {
        let judged = judge(&lane.rule, made);
        let limit = lane.rule.longest().limit;
        eprintln!(
            "3 nodes, {limit} per 2 s, {}: {} wrong of {}, {} given what was admitted, {} above the limit",
            lane.shape.name(),
            judged.own.wrong,
            judged.own.decisions,
            judged.given.wrong,
            judged.own.excess,
        );
        all.add(judged);
    }
    let at_once = answers.iter().filter(|answer| answer.at_once).count();
    Ok((all, 100.0 * real(at_once as u64) / real(answers.len() as u64)))
}

const fn without_leases(options: SharedOptions) -> SharedOptions {
    SharedOptions { leases: LeaseBounds { from_rate: u32::MAX, ..options.leases }, ..options }
}

fn schedule(rules: &[Rule], clients: u32, spans: u32) -> (Vec<Lane>, Vec<Origin>, Vec<Ask>) {
    let (keyer, mut random) = (Keyer::new(SECRET), Random::new(3));
    let mut lanes = Vec::new();
    let mut requests = Vec::new();
    for (seed, (rule, shape)) in (1..).zip(rules.iter().flat_map(|rule| SHAPES.map(|shape| (rule, shape)))) {
        let lane = lanes.len();
        let made = shape.requests(rule.longest(), clients, spans, seed);
        requests.extend(made.into_iter().map(|request| (lane, request)));
        lanes.push(Lane { rule: Arc::new(rule.clone()), shape });
    }
    requests.sort_by_key(|(_, request)| request.at);
    let asks = requests.iter().map(|(lane, request)| Ask {
        due: Duration::from_micros(request.at),
        node: usize::try_from(random.next() % NODES as u64).unwrap_or(0),
        key: keyer.key("shared", &[&lane.to_le_bytes(), &request.client.to_le_bytes()], b""),
        rule: Arc::clone(&lanes[*lane].rule),
        cost: request.cost,
    });
    let asks = asks.collect();
    (lanes, requests.iter().map(|(lane, request)| (*lane, request.client)).collect(), asks)
}
