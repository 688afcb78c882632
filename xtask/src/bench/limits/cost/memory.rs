//! Decisions from memory: two threads over a million keys, and what a refusal allocates.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use phoenix_limit::{Key, Keyer, Memory, Mode, Rule};

use super::super::{CLASSES, SECRET, keep_blocks, real};
use crate::bench::pin;
use crate::bench::report::{Bar, median};
use crate::bench::zipf::Random;

/// Keys of the limiter.
const KEYS: u32 = 1_000_000;
/// Memory for so many.
const CAPACITY: u64 = 512 * 1024 * 1024;
/// Decisions between two readings of the clock, which costs about 30 ns.
const BATCH: usize = 32;
/// Decisions of each thread.
const DECISIONS: usize = 8_000_000;
/// Refusals whose allocations are counted.
const REFUSALS: u32 = 100_000;
/// Virtual time of a thread moves by so much with each decision: a million keys then ask four times in a window.
const STEP: Duration = Duration::from_micros(15);

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let decisions = if quick { DECISIONS / 4 } else { DECISIONS };
    let keyer = Keyer::new(SECRET);
    let mut keys: Vec<Key> =
        (0..KEYS).map(|number| keyer.key("api", &[&number.to_le_bytes()], b"")).collect();
    shuffle(&mut keys);
    let rule = CLASSES[1].rule(keep_blocks)?;
    let memory = Memory::new(CAPACITY);
    for key in &keys {
        ensure!(decide(&memory, *key, &rule, Duration::ZERO), "a first request was refused");
    }
    let stats = memory.stats(Duration::ZERO);
    ensure!(stats.keys >= u64::from(KEYS), "only {} keys are held", stats.keys);
    let work = Work { memory: &memory, rule: &rule, keys: &keys, decisions };
    let batches = thread::scope(|scope| {
        let threads = [0, 1].map(|number| scope.spawn(move || work.run(number)));
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked")))
            .collect::<Result<Vec<_>>>()
    })?;
    let nanos = batches.concat();
    let mut bars = vec![
        Bar::info("memory: keys", real(stats.keys), ""),
        Bar::info("memory: bytes a key", real(stats.bytes) / real(stats.keys), ""),
        Bar::at_most("memory: decision, median, 2 threads", median(nanos.iter().copied()), "ns", 200.0),
    ];
    bars.push(Bar::info("memory: reading 128 bytes at random in 128 MB", random_read(), "ns"));
    bars.extend(refusals(&memory, &keys)?);
    Ok(bars)
}

/// Nanoseconds to read what a key takes from memory that is not in the processor's caches: what this machine makes of a
/// decision that does nothing.
fn random_read() -> f64 {
    let memory: Vec<[u64; 16]> = (0..u64::from(KEYS)).map(|number| [number; 16]).collect();
    let mut random = Random::new(3);
    let order: Vec<usize> =
        (0..KEYS).map(|_| usize::try_from(random.next() % u64::from(KEYS)).unwrap_or(0)).collect();
    let batches = order.chunks_exact(BATCH).map(|batch| {
        let start = Instant::now();
        let sum = batch.iter().fold(0_u64, |sum, place| {
            // Each place depends on what was read before, as it does behind a lock.
            let line = &memory[(*place + black_box(usize::from(sum == u64::MAX))) % memory.len()];
            sum.wrapping_add(line[0]) ^ line[15]
        });
        black_box(sum);
        start.elapsed().as_secs_f64() * 1e9 / real(BATCH as u64)
    });
    median(batches)
}

/// Decisions of one thread.
#[derive(Clone, Copy)]
struct Work<'a> {
    memory: &'a Memory,
    rule: &'a Rule,
    keys: &'a [Key],
    decisions: usize,
}

impl Work<'_> {
    /// Nanoseconds of a decision, one value a batch. The threads go through all keys, from different ends.
    fn run(self, number: usize) -> Vec<f64> {
        let cores = pin::Cores::detect();
        pin::this_thread(if number == 0 { cores.server } else { cores.load });
        let half = number * self.keys.len() / 2;
        let keys: Vec<Key> = self.keys.iter().cycle().skip(half).take(self.keys.len()).copied().collect();
        let mut now = Duration::from_secs(1);
        let mut times = Vec::with_capacity(self.decisions / BATCH);
        for batch in keys.chunks_exact(BATCH).cycle().take(self.decisions / BATCH) {
            let start = Instant::now();
            for key in batch {
                now += STEP;
                black_box(decide(self.memory, *key, self.rule, now));
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / real(BATCH as u64));
        }
        times
    }
}

/// What refusals allocate: of a blocked client, and of one whose window is full.
fn refusals(memory: &Memory, keys: &[Key]) -> Result<Vec<Bar>> {
    let later = Duration::from_hours(1);
    let rules = [("blocked", CLASSES[0].rule(keep_blocks)?), ("window full", CLASSES[0].rule(|_| None)?)];
    let mut bars = Vec::new();
    for ((name, rule), key) in rules.iter().zip(keys) {
        while decide(memory, *key, rule, later) {}
        let mut admitted = 0;
        let counted = allocation_counter::measure(|| {
            for _ in 0..REFUSALS {
                admitted += u32::from(black_box(decide(memory, *key, rule, later)));
            }
        });
        ensure!(admitted == 0, "a request above the limit was admitted");
        let allocations = real(counted.count_total);
        bars.push(Bar::at_most(
            format!("memory: allocations of 100,000 refusals, {name}"),
            allocations,
            "",
            0.0,
        ));
    }
    Ok(bars)
}

fn decide(memory: &Memory, key: Key, rule: &Rule, now: Duration) -> bool {
    memory.decide(key, rule, 1, Mode::Count, now).is_admitted()
}

/// Fisher and Yates, so that neighbours in the list are none in memory.
fn shuffle(keys: &mut [Key]) {
    let mut random = Random::new(7);
    for last in (1..keys.len()).rev() {
        let other = usize::try_from(random.next() % (last as u64 + 1)).unwrap_or(0);
        keys.swap(last, other);
    }
}
