//! Every order of what a node, its truth and the messages between them can do, on the code itself: short scripts, one
//! for each part, interleaved step by step in all ways. Every beginning of every order is judged, so each message is
//! also lost, and each answer also never comes.
//!
//! One step at a time: what threads can do to each other within a step is explored by `interleavings`.

use std::sync::Arc;
use std::time::Duration;

use phoenix_cache::{Freshness, Key, Memory, Seq, Tag};

/// Ticks of the clock.
const BOUND: u64 = 2;
const GRACE: u64 = 1;

/// The session whose hits are judged. Others only make the log longer.
const JUDGED: u8 = 0;
const OTHER: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Tick,
    /// The stamp is taken and the truth read.
    LoadStart,
    /// The value arrives and fills the cache.
    LoadFinish,
    /// The truth commits a revoke, which gets the next number.
    Revoke(u8),
    /// The node is told of this number, once it is committed.
    Push(u64),
    /// A reader, of two, begins: it reads the latest number.
    ReadLast(usize),
    /// It reads the entries after what is applied by then.
    ReadPage(usize),
    /// The entries arrive.
    ReadFinish(usize),
}

use Step::{LoadFinish, LoadStart, Push, ReadFinish, ReadLast, ReadPage, Revoke, Tick};

#[derive(Default)]
struct Read {
    started: u64,
    last: Seq,
    entries: Vec<(Seq, Tag)>,
}

struct World {
    now: u64,
    log: Vec<(Seq, Tag)>,
    /// When the judged session was revoked, and its number.
    revoked: Option<(u64, Seq)>,
    /// Whether the node was told of it.
    noted: bool,
    load: Option<(Seq, bool)>,
    reads: [Read; 2],
    freshness: Freshness,
    memory: Memory<u8>,
}

fn at(tick: u64) -> Duration {
    Duration::from_secs(tick)
}

fn tag(session: u8) -> Tag {
    Tag(u128::from(session))
}

impl World {
    /// A `warm` node has read the empty log at time 0 and holds the session.
    fn new(warm: bool, log_capacity: usize) -> Self {
        let world = Self {
            now: 0,
            log: Vec::new(),
            revoked: None,
            noted: false,
            load: None,
            reads: <[Read; 2]>::default(),
            freshness: Freshness::new(at(BOUND), log_capacity),
            memory: Memory::new(1 << 16, 1 << 12),
        };
        if warm {
            world.freshness.renew(at(0), &[], Seq(0));
            world.fill(Seq(0));
        }
        world
    }

    fn fill(&self, stamp: Seq) {
        let tags = [tag(JUDGED), Tag(100)];
        self.memory.insert(Key::new([JUDGED; 32]), Arc::new(JUDGED), 8, tags, stamp, at(1000));
    }

    fn last(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Tick => self.now += 1,
            LoadStart => self.load = Some((self.freshness.applied(), self.revoked.is_none())),
            LoadFinish => {
                if let Some((stamp, true)) = self.load {
                    self.fill(stamp);
                }
            }
            Revoke(session) => {
                let seq = Seq(self.last().0 + 1);
                self.log.push((seq, tag(session)));
                if session == JUDGED {
                    self.revoked = Some((self.now, seq));
                }
            }
            Push(seq) => {
                let (seq, tag) = self.log[usize::try_from(seq).expect("small") - 1];
                self.freshness.note(seq, tag);
                self.noted |= self.revoked.is_some_and(|(_, revoke)| revoke == seq);
            }
            ReadLast(reader) => {
                self.reads[reader] = Read { started: self.now, last: self.last(), entries: Vec::new() };
            }
            ReadPage(reader) => {
                let applied = self.freshness.applied();
                let after = self.log.iter().filter(|(seq, _)| *seq > applied);
                self.reads[reader].entries = after.copied().collect();
            }
            ReadFinish(reader) => {
                let read = &self.reads[reader];
                self.freshness.extend(&read.entries);
                self.freshness.renew(at(read.started), &[], read.last);
                self.noted |= self.revoked.is_some_and(|(_, revoke)| revoke <= read.last);
            }
        }
    }
}

/// What was seen, to know that the check was not empty.
#[derive(Default, Debug)]
struct Seen {
    orders: usize,
    accepted: usize,
    accepted_after_revoke: usize,
    accepted_in_grace: usize,
}

impl Seen {
    /// Walks `path` anew, then a request comes in.
    fn judge(&mut self, scenario: &Scenario, path: &[Step]) {
        let mut world = World::new(scenario.warm, scenario.log_capacity);
        for step in path {
            world.apply(*step);
        }
        let World { now, memory, freshness, .. } = &world;
        let key = Key::new([JUDGED; 32]);
        let hit = memory.get(&key, at(*now), freshness).is_some();
        let hit_in_grace = memory.get_in_grace(&key, at(*now), at(GRACE), freshness).is_some();
        self.orders += 1;
        self.accepted += usize::from(hit);
        self.accepted_in_grace += usize::from(hit_in_grace && !hit);
        let Some((revoked_at, _)) = world.revoked else { return };
        self.accepted_after_revoke += usize::from(hit);
        assert!(!hit || *now < revoked_at + BOUND, "accepted after the bound: {path:?}");
        assert!(!hit_in_grace || *now < revoked_at + BOUND + GRACE, "accepted after the grace: {path:?}");
        assert!(!world.noted || !(hit || hit_in_grace), "accepted though known to be revoked: {path:?}");
    }
}

struct Scenario {
    warm: bool,
    log_capacity: usize,
    scripts: &'static [&'static [Step]],
}

impl Scenario {
    fn explore(&self) -> Seen {
        let mut seen = Seen::default();
        self.extend(&mut Vec::new(), &mut vec![0; self.scripts.len()], &mut seen);
        seen
    }

    /// Every order that begins with `path`; `done` steps of each script are in it.
    fn extend(&self, path: &mut Vec<Step>, done: &mut [usize], seen: &mut Seen) {
        seen.judge(self, path);
        let committed = path.iter().filter(|step| matches!(step, Revoke(_))).count();
        for (index, script) in self.scripts.iter().enumerate() {
            let Some(step) = script.get(done[index]) else { continue };
            if matches!(step, Push(seq) if *seq > committed as u64) {
                continue;
            }
            done[index] += 1;
            path.push(*step);
            self.extend(path, done, seen);
            path.pop();
            done[index] -= 1;
        }
    }
}

const READ: &[Step] = &[ReadLast(0), ReadPage(0), ReadFinish(0)];
const READ_TOO: &[Step] = &[ReadLast(1), ReadPage(1), ReadFinish(1)];

#[test]
fn a_load_a_revoke_its_message_and_a_read() {
    let scenario = Scenario {
        warm: false,
        log_capacity: 8,
        scripts: &[&[LoadStart, LoadFinish], &[Revoke(JUDGED)], &[Push(1)], READ, &[Tick, Tick, Tick]],
    };
    let seen = scenario.explore();
    assert!(seen.orders > 10_000 && seen.accepted > 100, "{seen:?}");
}

#[test]
fn a_load_and_a_revoke_while_a_lease_is_held() {
    let scenario = Scenario {
        warm: true,
        log_capacity: 8,
        scripts: &[&[LoadStart, LoadFinish], &[Revoke(JUDGED)], &[Push(1)], READ, &[Tick, Tick, Tick]],
    };
    let seen = scenario.explore();
    assert!(seen.accepted_after_revoke > 100 && seen.accepted_in_grace > 100, "{seen:?}");
}

#[test]
fn two_readers_whose_answers_overtake_each_other() {
    let scenario = Scenario {
        warm: true,
        log_capacity: 8,
        scripts: &[READ, READ_TOO, &[Revoke(JUDGED)], &[Push(1)], &[Tick, Tick]],
    };
    let seen = scenario.explore();
    assert!(seen.accepted_after_revoke > 100, "{seen:?}");
}

#[test]
fn a_message_past_a_gap_twice() {
    let scenario = Scenario {
        warm: true,
        log_capacity: 8,
        scripts: &[&[Revoke(JUDGED), Revoke(OTHER)], &[Push(2), Push(2)], READ, &[Tick, Tick, Tick]],
    };
    let seen = scenario.explore();
    assert!(seen.accepted_after_revoke > 100, "{seen:?}");
}

#[test]
fn a_log_in_memory_that_overflows() {
    let scenario = Scenario {
        warm: true,
        log_capacity: 1,
        scripts: &[
            &[LoadStart, LoadFinish],
            &[Revoke(JUDGED), Revoke(OTHER)],
            &[Push(1)],
            &[Push(2)],
            READ,
            &[Tick],
        ],
    };
    let seen = scenario.explore();
    assert!(seen.accepted_after_revoke > 100, "{seen:?}");
}
