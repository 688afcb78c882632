//! One node, memory only: every decision, every time to wait and every number of units left must be what the oracle
//! says. Time is virtual, so the windows are those of the product's classes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use anyhow::Result;
use phoenix_limit::{Key, Keyer, Memory, Mode, Rule, Ticket, Window};

use super::super::oracle::{Oracle, excess, micros};
use super::super::real;
use super::super::traffic::{Request, SHAPES, Shape};
use super::super::{CAPACITY, CLASSES, SECRET, keep_blocks};
use super::tally::Tally;
use crate::bench::report::Bar;
use crate::bench::zipf::Random;

/// A rule and how it is used.
struct Case {
    name: String,
    rule: Rule,
    /// Every request costs 1 to this.
    most_cost: u32,
    /// Admissions are reserved, and then confirmed or taken back.
    reserves: bool,
}

/// Clients and windows of each kind of traffic.
const FULL: (u32, u32) = (60, 30);
const QUICK: (u32, u32) = (20, 10);
/// Part of the reservations that is taken back.
const REFUNDED: f64 = 0.4;

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let (clients, spans) = if quick { QUICK } else { FULL };
    let mut bars = Vec::new();
    let mut all = Tally::default();
    for shape in SHAPES {
        let mut tally = Tally::default();
        for (seed, case) in (1..).zip(cases()?) {
            if case.reserves && shape == Shape::ClockSteps {
                // What a reservation's time means after the clock was set is the library's own affair.
                continue;
            }
            let requests = shape.requests(case.rule.longest(), clients, spans, seed);
            let one = Replay::new(&case, seed).run(&requests);
            eprintln!("memory, {}, {}: {} wrong of {}", shape.name(), case.name, one.wrong, one.decisions);
            tally.add(one);
        }
        bars.extend(tally.exact_bars(&format!("memory, {}", shape.name())));
        all.add(tally);
    }
    bars.push(Bar::at_most("memory: untrue times to wait", real(all.untrue_waits), "", 0.0));
    bars.push(Bar::at_most("memory: untrue units left", real(all.untrue_rooms), "", 0.0));
    Ok(bars)
}

/// The product's classes with their blocks and without, costs above 1, two windows, reservations.
fn cases() -> Result<Vec<Case>> {
    let case = |name: &str, rule: Rule| Case { name: name.to_owned(), rule, most_cost: 1, reserves: false };
    let mut cases = Vec::new();
    for class in &CLASSES {
        cases.push(case(class.name, class.rule(keep_blocks)?));
        cases.push(case(&format!("{} without a block", class.name), class.rule(|_| None)?));
        cases.push(Case {
            reserves: true,
            ..case(&format!("{} reserved", class.name), class.rule(keep_blocks)?)
        });
        cases.push(Case {
            most_cost: 4,
            ..case(&format!("{} with costs", class.name), class.rule(|_| None)?)
        });
    }
    let windows = [
        Window { limit: 10, span: Duration::from_secs(10) },
        Window { limit: 30, span: Duration::from_mins(1) },
        Window { limit: 100, span: Duration::from_mins(10) },
    ];
    cases.push(case("three windows", Rule::new(&windows, None)?));
    cases.push(case("three windows and a block", Rule::new(&windows, Some(Duration::from_secs(90)))?));
    Ok(cases)
}

/// One case under one kind of traffic.
struct Replay<'a> {
    case: &'a Case,
    memory: Memory,
    oracle: Oracle,
    random: Random,
    keyer: Keyer,
    tally: Tally,
    /// Reservations by when they will be settled.
    open: BinaryHeap<Reverse<(u64, u32, u64, u32)>>,
    tickets: HashMap<(u32, u64, u32), Vec<Ticket>>,
    admitted: HashMap<u32, Vec<u64>>,
}

impl<'a> Replay<'a> {
    fn new(case: &'a Case, seed: u64) -> Self {
        Self {
            case,
            memory: Memory::new(CAPACITY),
            oracle: Oracle::new(&case.rule),
            random: Random::new(seed),
            keyer: Keyer::new(SECRET),
            tally: Tally::default(),
            open: BinaryHeap::new(),
            tickets: HashMap::new(),
            admitted: HashMap::new(),
        }
    }

    fn run(mut self, requests: &[Request]) -> Tally {
        for request in requests {
            self.settle_until(request.at);
            self.one(*request);
        }
        // A clock that is set has windows that time has not; a refund makes room in windows that have been.
        let steps = requests.windows(2).any(|pair| pair[1].at < pair[0].at);
        if !steps && !self.case.reserves {
            let worst = self.admitted.values_mut().map(|units| excess(&self.case.rule, units)).max();
            self.tally.excess = worst.unwrap_or_default();
        }
        self.tally
    }

    fn one(&mut self, Request { at, client, .. }: Request) {
        let cost = if self.case.most_cost == 1 { 1 } else { self.draw_cost() };
        let mode = if self.case.reserves { Mode::Reserve } else { Mode::Count };
        let now = Duration::from_micros(at);
        let right = self.oracle.decide(client, at, cost, self.case.reserves);
        let decision = self.memory.decide(self.key(client), &self.case.rule, cost, mode, now);
        self.tally.compare(client, right, &decision);
        if let Some(ticket) = decision.ticket() {
            self.admitted.entry(client).or_default().extend((0..cost).map(|_| at));
            if self.case.reserves {
                self.tickets.entry((client, at, cost)).or_default().push(ticket);
                let span = micros(self.case.rule.longest().span);
                self.open.push(Reverse((at + self.random.next() % (span / 50), client, at, cost)));
            }
        }
    }

    fn settle_until(&mut self, now: u64) {
        while let Some(Reverse((_, client, at, cost))) =
            self.open.peek().copied().filter(|next| next.0.0 <= now)
        {
            self.open.pop();
            let refund = self.random.unit() < REFUNDED;
            let Some(ticket) = self.tickets.get_mut(&(client, at, cost)).and_then(Vec::pop) else { continue };
            let found = if refund { self.memory.refund(ticket) } else { self.memory.confirm(ticket) };
            if !found {
                self.tally.first.get_or_insert_with(|| format!("{ticket:?} was not found"));
            }
            self.oracle.settle(client, at, cost, refund);
        }
    }

    fn draw_cost(&mut self) -> u32 {
        let most = u64::from(self.case.most_cost);
        u32::try_from(1 + self.random.next() % most).unwrap_or(1)
    }

    fn key(&self, client: u32) -> Key {
        self.keyer.key(&self.case.name, &[&client.to_le_bytes()], &client.to_le_bytes()[..2])
    }
}
