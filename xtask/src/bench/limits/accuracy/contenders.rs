//! The same traffic through Phoenix, through the two algorithms most limiters use, and through two limiters of others.
//! All on Redis, or by the clock of the schedule; in real time, so the windows are short.

use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use phoenix_limit::{Keyer, Memory, Mode, Rule, Window};
use phoenix_testkit::redis::Redis;

use super::super::approximate::{Approximate, Kind};
use super::super::oracle::micros;
use super::super::peers::{Ask, PEERS, Peer};
use super::super::traffic::{Request, Shape};
use super::super::{CAPACITY, SECRET, trio};
use super::tally::{Judged, Made, judge};
use crate::bench::report::Bar;
use crate::bench::zipf::Random;

/// Windows of whole seconds: what all contenders can do.
const SPAN: Duration = Duration::from_secs(2);
const LIMITS: [u32; 2] = [5, 20];
/// Not `ClockSteps`: the peers read the clock of the machine.
const SHAPES: [Shape; 4] = [Shape::NearLimit, Shape::Bursty, Shape::Attacker, Shape::Zipf];
const CLIENTS: u32 = 12;
/// Time between the first requests of a schedule and the start, so that a peer has read it.
const LEAD: u64 = 200_000;

/// One kind of traffic under one limit.
struct Lane {
    shape: Shape,
    window: Window,
    rule: Rule,
}

/// All traffic of the comparison: which lane, and the request.
struct Schedule {
    lanes: Vec<Lane>,
    requests: Vec<(usize, Request)>,
}

/// A contender's decisions, one for each request of the schedule.
struct Row {
    name: String,
    lanes: Vec<Judged>,
}

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let schedule = Schedule::new(if quick { 4 } else { 20 })?;
    let mut rows = vec![
        schedule.virtually("Phoenix, memory", |lane| {
            let (memory, keyer) = (Memory::new(CAPACITY), Keyer::new(SECRET));
            let rule = lane.rule.clone();
            Box::new(move |request| {
                let key = keyer.key("contender", &[&request.client.to_le_bytes()], b"");
                let now = Duration::from_micros(request.at);
                memory.decide(key, &rule, 1, Mode::Count, now).is_admitted()
            })
        }),
        schedule.virtually("two counters", |lane| approximate(Kind::TwoCounters, lane)),
        schedule.virtually("fixed window", |lane| approximate(Kind::Fixed, lane)),
    ];
    rows.push(schedule.shared()?);
    let peers = thread::scope(|scope| {
        let runs: Vec<_> = PEERS.iter().map(|peer| scope.spawn(|| schedule.through(peer))).collect();
        runs.into_iter()
            .map(|run| run.join().map_err(|_| anyhow!("a peer's thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    rows.extend(peers.into_iter().flatten());
    eprint!("{}", table(&schedule.lanes, &rows));
    Ok(rows.iter().flat_map(|row| row.bars(&schedule.lanes)).collect())
}

type Decide = Box<dyn FnMut(&Request) -> bool>;

fn approximate(kind: Kind, lane: &Lane) -> Decide {
    let mut counters = Approximate::new(kind, lane.window);
    Box::new(move |request| counters.admits(request.client, request.at))
}

impl Schedule {
    fn new(spans: u32) -> Result<Self> {
        let mut lanes = Vec::new();
        let mut requests = Vec::new();
        for (seed, (limit, shape)) in
            (1..).zip(LIMITS.iter().flat_map(|limit| SHAPES.map(|shape| (*limit, shape))))
        {
            let window = Window { limit, span: SPAN };
            let lane = lanes.len();
            lanes.push(Lane { shape, window, rule: Rule::new(&[window], None)? });
            let made = shape.requests(window, CLIENTS, spans, seed);
            requests
                .extend(made.into_iter().map(|request| (lane, Request { at: request.at + LEAD, ..request })));
        }
        requests.sort_by_key(|(_, request)| request.at);
        Ok(Self { lanes, requests })
    }

    /// What a contender says that goes by the time of the schedule; `make` makes one for a lane.
    fn virtually(&self, name: &str, make: impl Fn(&Lane) -> Decide) -> Row {
        let mut contenders: Vec<Decide> = self.lanes.iter().map(make).collect();
        let answers = self.requests.iter().map(|(lane, request)| (request.at, contenders[*lane](request)));
        self.row(name, answers.collect())
    }

    /// What three nodes of Phoenix say that share a Redis; the requests go to them at random.
    fn shared(&self) -> Result<Row> {
        let (keyer, mut random) = (Keyer::new(SECRET), Random::new(5));
        let rules: Vec<Arc<Rule>> = self.lanes.iter().map(|lane| Arc::new(lane.rule.clone())).collect();
        let asks: Vec<trio::Ask> = self
            .requests
            .iter()
            .map(|(lane, request)| trio::Ask {
                due: Duration::from_micros(request.at),
                node: usize::try_from(random.next() % trio::NODES as u64).unwrap_or(0),
                key: keyer.key("contender", &[&lane.to_le_bytes(), &request.client.to_le_bytes()], b""),
                rule: Arc::clone(&rules[*lane]),
                cost: request.cost,
            })
            .collect();
        let redis = Redis::start()?;
        let answers = trio::runtime()?.block_on(async {
            let trio = trio::Trio::on(&redis.url(), |options| options)?;
            trio.until_shared().await?;
            trio.drive(&asks).await
        })?;
        let answers = answers.iter().map(|answer| (answer.decision.at, answer.decision.is_admitted()));
        Ok(self.row("Phoenix, 3 nodes on Redis", answers.collect()))
    }

    /// What a peer says on a Redis of its own. `None`, and a line, if it cannot be installed.
    fn through(&self, peer: &Peer) -> Result<Option<Row>> {
        if let Err(error) = peer.install() {
            eprintln!("not installed: {}: {error:#}", peer.name);
            return Ok(None);
        }
        let redis = Redis::start()?;
        let asks: Vec<Ask> = self
            .requests
            .iter()
            .map(|(lane, request)| Ask {
                request: *request,
                limit: self.lanes[*lane].window.limit,
                span: micros(SPAN),
                key: format!("{lane}-{}", request.client),
            })
            .collect();
        let said = peer.decide(redis.port(), &asks).with_context(|| peer.name)?;
        Ok(Some(self.row(peer.name, said.iter().map(|said| (said.at, said.admitted)).collect())))
    }

    /// Judges the answers, each a time and whether it was admitted, in the order of the requests.
    fn row(&self, name: &str, answers: Vec<(u64, bool)>) -> Row {
        let mut lanes: Vec<Vec<Made>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for ((lane, request), (at, admitted)) in self.requests.iter().zip(answers) {
            lanes[*lane].push(Made { client: request.client, at, cost: 1, admitted });
        }
        let judged = self.lanes.iter().zip(&lanes).map(|(lane, made)| judge(&lane.rule, made));
        Row { name: name.to_owned(), lanes: judged.collect() }
    }
}

impl Row {
    /// Phoenix must be right; what others do is shown.
    fn bars(&self, lanes: &[Lane]) -> Vec<Bar> {
        let mut all = Judged::default();
        let mut bars = Vec::new();
        for (lane, judged) in lanes.iter().zip(&self.lanes) {
            let name = format!("{}, {} per 2 s, {}", self.name, lane.window.limit, lane.shape.name());
            bars.push(Bar::info(format!("{name}: wrong decisions"), judged.own.percent(), "%"));
            bars.push(Bar::info(
                format!("{name}: most above the limit"),
                f64::from(judged.own.excess),
                "units",
            ));
            all.add(judged.clone());
        }
        if self.name.starts_with("Phoenix") {
            return all.own.exact_bars(&format!("the same traffic: {}", self.name));
        }
        bars
    }
}

/// Wrong decisions in percent, and the most units above the limit.
fn table(lanes: &[Lane], rows: &[Row]) -> String {
    let mut text = String::from("\n| wrong decisions, most above the limit |");
    for lane in lanes {
        let _ = write!(text, " {} per 2 s, {} |", lane.window.limit, lane.shape.name());
    }
    let _ = writeln!(text, "\n|---|{}", "--:|".repeat(lanes.len()));
    for row in rows {
        let _ = write!(text, "| {} |", row.name);
        for judged in &row.lanes {
            let _ = write!(text, " {:.2} %, {} |", judged.own.percent(), judged.own.excess);
        }
        text.push('\n');
    }
    text
}
