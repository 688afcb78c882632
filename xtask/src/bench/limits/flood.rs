//! Part `flood`: ten million addresses through a memory limiter of 64 MB, while a thousand clients go on. Are their
//! decisions right, does the memory stay bounded, and how much slower is it?

use std::time::{Duration, Instant};

use anyhow::Result;
use phoenix_limit::{Key, Keyer, Memory, Mode, Rule, Verdict};
use phoenix_testkit::memory::Memory as Resident;

use super::accuracy::Tally;
use super::oracle::{Oracle, excess, micros};
use super::{CAPACITY, CLASSES, SECRET, keep_blocks, real};
use crate::bench::report::{Bar, interleaved, median};
use crate::bench::zipf::Random;

/// Distinct addresses of the flood.
const ADDRESSES: u64 = 10_000_000;
/// Distinct addresses of the run that it is compared with, asked in turn. They find memory.
const FEW: u64 = 100_000;
/// Requests of each of them: within the limit. Then others come, and the limiter is a new one.
const REQUESTS: u64 = 10;
/// Clients that were there before.
const ESTABLISHED: u32 = 1_000;
/// One of so many decisions is an established client's.
const EVERY: u64 = 50;
/// Runs of each kind.
const ROUNDS: usize = 3;

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let decisions = if quick { ADDRESSES / 10 } else { ADDRESSES };
    let rounds = if quick { 1 } else { ROUNDS };
    // The first run has touched all memory that later ones use again, so it alone shows the growth.
    let mut first = None;
    let ratios = interleaved(
        rounds,
        || {
            let seen = flood(decisions, ADDRESSES)?;
            let rate = seen.rate;
            first.get_or_insert(seen);
            Ok(rate)
        },
        || calm(decisions),
    )?;
    let mut bars = vec![Bar::info("flood: addresses", real(decisions), "")];
    if let Some(seen) = first {
        bars.extend(seen.bars());
    }
    bars.push(Bar::info("flood: decisions", median(ratios.iter().map(|pair| pair.0)), "1/s"));
    bars.push(Bar::info(
        "100,000 addresses, ten requests each: decisions",
        median(ratios.iter().map(|pair| pair.1)),
        "1/s",
    ));
    let ratio = median(ratios.iter().map(|(flood, few)| flood / few));
    bars.push(Bar::at_least("flood: throughput, part of that", ratio, "", 0.7));
    Ok(bars)
}

/// What was seen in one run.
struct Seen {
    /// Decisions a second.
    rate: f64,
    /// Growth of the process.
    growth: u64,
    /// What the limiter says it uses, at most.
    bytes: u64,
    keys: u64,
    /// Addresses of the flood that were refused, because they share a log.
    refused: u64,
    tally: Tally,
}

impl Seen {
    fn bars(&self) -> Vec<Bar> {
        let megabytes = |bytes: u64| real(bytes) / 1e6;
        let capacity = megabytes(CAPACITY);
        let mut bars = vec![
            Bar::at_most("flood: memory, as the limiter counts it", megabytes(self.bytes), "MB", capacity),
            Bar::at_most("flood: memory, growth of the process", megabytes(self.growth), "MB", capacity),
            Bar::info("flood: keys with a log of their own", real(self.keys), ""),
            Bar::info("flood: addresses refused, in a log of their network", real(self.refused), ""),
        ];
        bars.extend(self.tally.exact_bars("flood, established clients"));
        bars
    }
}

/// Decisions a second of as many requests without a flood.
fn calm(decisions: u64) -> Result<f64> {
    let runs = decisions / (FEW * REQUESTS);
    let rates =
        (0..runs).map(|_| Ok(1.0 / flood(FEW * REQUESTS, FEW)?.rate)).collect::<Result<Vec<f64>>>()?;
    Ok(real(runs) / rates.iter().sum::<f64>())
}

fn flood(decisions: u64, addresses: u64) -> Result<Seen> {
    let rule = CLASSES[1].rule(keep_blocks)?;
    let keyer = Keyer::new(SECRET);
    let before = Resident::of(std::process::id())?.resident_bytes;
    let memory = Memory::new(CAPACITY);
    let mut town = Town::new(&rule, &keyer);
    // Every established client has asked before.
    for number in 0..ESTABLISHED {
        town.ask(&memory, number, Duration::ZERO);
    }
    let start = Instant::now();
    let (mut refused, mut bytes) = (0, 0);
    for number in 0..decisions {
        let now = start.elapsed();
        let decision = memory.decide(address(&keyer, number % addresses), &rule, 1, Mode::Count, now);
        refused += u64::from(!decision.is_admitted());
        if number % EVERY == 0 {
            let client = town.draw();
            town.ask(&memory, client, now);
        }
        if number % 100_000 == 0 {
            bytes = bytes.max(memory.stats(now).bytes);
        }
    }
    let took = start.elapsed();
    let stats = memory.stats(took);
    let after = Resident::of(std::process::id())?.resident_bytes;
    // What the oracle keeps is not the limiter's.
    let own = town.bytes();
    Ok(Seen {
        rate: real(decisions + decisions / EVERY) / took.as_secs_f64(),
        growth: after.saturating_sub(before).saturating_sub(own),
        bytes: bytes.max(stats.bytes),
        keys: stats.keys,
        refused,
        tally: town.judge(),
    })
}

/// The key of an address: every second one IPv6, of which a /64 is one client, the others IPv4. They share a log with
/// their /48 or /16 when memory is full.
fn address(keyer: &Keyer, number: u64) -> Key {
    // Multiplication by an odd number leaves them distinct, and spreads them as the addresses of a botnet are.
    let spread = (number & 0xffff_ffff).wrapping_mul(0x9e37_79b1) & 0xffff_ffff;
    let bytes = (0x2001_0db8_0000_0000 | spread).to_be_bytes();
    if number.is_multiple_of(2) {
        keyer.key("api", &[b"6", &bytes], &bytes[..6])
    } else {
        keyer.key("api", &[b"4", &bytes[4..]], &bytes[4..6])
    }
}

/// Established clients: what they are told, and what is right. Judged after the run, so that it costs no time in it.
struct Town {
    keys: Vec<Key>,
    rule: Rule,
    random: Random,
    made: Vec<(u32, Duration, phoenix_limit::Decision)>,
}

impl Town {
    fn new(rule: &Rule, keyer: &Keyer) -> Self {
        let key = |number: u32| keyer.key("api", &[b"established", &number.to_le_bytes()], b"established");
        Self {
            keys: (0..ESTABLISHED).map(key).collect(),
            rule: rule.clone(),
            random: Random::new(1),
            made: Vec::with_capacity(usize::try_from(ADDRESSES / EVERY).unwrap_or(0) + ESTABLISHED as usize),
        }
    }

    /// A tenth of the clients asks nine tenths, and so reaches its limit.
    fn draw(&mut self) -> u32 {
        let number = u32::try_from(self.random.next() % u64::from(ESTABLISHED)).unwrap_or(0);
        if self.random.unit() < 0.9 { number / 10 } else { number }
    }

    fn ask(&mut self, memory: &Memory, client: u32, now: Duration) {
        let decision = memory.decide(self.keys[client as usize], &self.rule, 1, Mode::Count, now);
        self.made.push((client, now, decision));
    }

    fn bytes(&self) -> u64 {
        (self.made.len() * size_of::<(u32, Duration, phoenix_limit::Decision)>()) as u64
    }

    fn judge(self) -> Tally {
        let (mut oracle, mut tally) = (Oracle::new(&self.rule), Tally::default());
        let mut admitted: Vec<Vec<u64>> = vec![Vec::new(); self.keys.len()];
        for (client, now, decision) in &self.made {
            let right = oracle.decide(*client, micros(*now), 1, false);
            tally.compare(*client, right, decision);
            if matches!(decision.verdict, Verdict::Admitted(_)) {
                admitted[*client as usize].push(micros(*now));
            }
        }
        tally.excess = admitted.iter_mut().map(|units| excess(&self.rule, units)).max().unwrap_or_default();
        tally
    }
}
