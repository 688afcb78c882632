//! The loss of Redis and its return, played with real memories of several nodes and a plain list for Redis: how much all
//! nodes together admit at most.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenix_limit::{Cursor, Key, Keyer, Memory, Mode, Refusal, Rule, Share, Verdict, Window};
use proptest::collection::vec;
use proptest::prelude::*;

fn key() -> Key {
    Keyer::new([1; 16]).key("rule", &[b"client"], b"all")
}

fn time(at: u64) -> Duration {
    Duration::from_micros(at)
}

fn span(window: &Window) -> u64 {
    u64::try_from(window.span.as_micros()).expect("short")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Up,
    Down,
    Merging,
    Joined,
}

struct Node {
    memory: Memory,
    state: State,
}

struct Cluster {
    rule: Rule,
    nodes: Vec<Node>,
    /// What Redis holds: time, node, number of equal ones.
    central: BTreeSet<(u64, usize, usize)>,
    /// The largest escrow out.
    escrow: u32,
    lost_at: u64,
    /// What was really admitted: time and node.
    admitted: Vec<(u64, usize)>,
}

impl Cluster {
    fn new(rule: Rule, nodes: usize) -> Self {
        let node = || Node { memory: Memory::new(0), state: State::Up };
        let nodes = (0..nodes).map(|_| node()).collect();
        Self { rule, nodes, central: BTreeSet::new(), escrow: 0, lost_at: 0, admitted: Vec::new() }
    }

    fn share(&self, node: usize) -> Share {
        let (nodes, rank) = (u32::try_from(self.nodes.len()), u32::try_from(node));
        Share::new(nodes.expect("few"), rank.expect("few"))
    }

    fn left(&self, now: u64) -> u32 {
        let left = |window: &Window| {
            let used = self.central.iter().filter(|unit| now < unit.0 + span(window)).count();
            window.limit.saturating_sub(u32::try_from(used).expect("few"))
        };
        self.rule.windows().iter().map(left).min().expect("one")
    }

    fn add(&mut self, node: usize, now: u64, cost: u32) {
        for _ in 0..cost {
            let equal = self.central.iter().filter(|unit| (unit.0, unit.1) == (now, node)).count();
            self.central.insert((now, node, equal));
        }
    }

    /// As the script of Redis decides.
    fn redis(&mut self, node: usize, cost: u32, now: u64) -> bool {
        let wait = (0..4_000_000).step_by(1_000).find(|wait| self.left(now + wait) >= cost);
        let memory = &self.nodes[node].memory;
        if wait != Some(0) {
            let until = time(now + wait.unwrap_or(1_000).saturating_sub(1_000));
            memory.note_refused(key(), &self.rule, cost, until, Refusal::Exceeded, 0, time(now));
            return false;
        }
        self.add(node, now, cost);
        let (nodes, left) = (u32::try_from(self.nodes.len()).expect("few"), self.left(now));
        let granted = left / (2 * nodes);
        let escrow = (self.nodes[node].state == State::Up).then_some(granted);
        self.escrow = self.escrow.max(granted);
        let memory = &self.nodes[node].memory;
        memory.note_admitted(key(), &self.rule, time(now), cost, Mode::Count, escrow, time(now));
        if nodes * self.escrow > left {
            self.escrow = granted;
            for node in &self.nodes {
                node.memory.lower_escrow(key(), granted);
            }
        }
        true
    }

    fn ask(&mut self, node: usize, cost: u32, now: u64) {
        let (share, at, lost_at) = (self.share(node), time(now), time(self.lost_at));
        let memory = &self.nodes[node].memory;
        let admitted = match self.nodes[node].state {
            State::Up => memory.refused(key(), &self.rule, cost, at).is_none() && self.redis(node, cost, now),
            State::Joined => {
                memory.may_join(key(), &self.rule, cost, share, lost_at, at) && self.redis(node, cost, now)
            }
            state @ (State::Down | State::Merging) => {
                let decision = memory.decide_alone(key(), &self.rule, cost, Mode::Count, share, lost_at, at);
                if decision.is_admitted() && state == State::Merging {
                    self.add(node, now, cost);
                }
                if !decision.is_admitted() {
                    self.told_the_truth(node, cost, now, decision.retry_after);
                }
                decision.is_admitted()
            }
        };
        if admitted {
            self.admitted.extend((0..cost).map(|_| (now, node)));
        }
    }

    /// Who is refused is refused a microsecond before the announced time.
    fn told_the_truth(&self, node: usize, cost: u32, now: u64, retry_after: Duration) {
        assert!(retry_after > Duration::ZERO);
        let early = now + u64::try_from(retry_after.as_micros()).expect("short") - 1;
        let (share, lost_at) = (self.share(node), time(self.lost_at));
        let memory = &self.nodes[node].memory;
        let decision = memory.decide_alone(key(), &self.rule, cost, Mode::Count, share, lost_at, time(early));
        assert!(!decision.is_admitted(), "{retry_after:?}");
    }

    /// The next step of a recovery at one node.
    fn recover(&mut self, node: usize, now: u64) {
        self.nodes[node].state = match self.nodes[node].state {
            State::Down => {
                for (at, count) in self.own(node, now) {
                    for nth in 0..count {
                        self.central.insert((at, node, nth));
                    }
                }
                State::Merging
            }
            State::Merging => State::Joined,
            State::Joined
                if self.nodes.iter().all(|node| matches!(node.state, State::Joined | State::Up)) =>
            {
                self.nodes[node].memory.revoke_escrows(|of| of == key());
                State::Up
            }
            state => state,
        }
    }

    fn own(&self, node: usize, now: u64) -> Vec<(u64, usize)> {
        let (mut cursor, mut own) = (Some(Cursor::default()), Vec::<(u64, usize)>::new());
        while let Some(from) = cursor {
            let (next, page) = self.nodes[node].memory.own_entries(from, time(now));
            for stamp in page.into_iter().flat_map(|own| own.stamps) {
                match own.last_mut() {
                    Some(last) if last.0 == stamp.at => last.1 += 1,
                    _ => own.push((stamp.at, 1)),
                }
            }
            cursor = next;
        }
        own
    }

    /// Nothing before the loss and nothing after is above the limit; what touches it by no more than the shares of nodes
    /// that had not seen the key.
    fn check(&self) {
        for window in self.rule.windows() {
            let span = span(window);
            let unseen = |node: &usize| {
                let own = |unit: &&(u64, usize)| {
                    unit.1 == *node && unit.0 <= self.lost_at && self.lost_at < unit.0 + span
                };
                self.admitted.iter().find(own).is_none()
            };
            let shares = |node: usize| self.share(node).of(key(), window.limit);
            let extra: u32 = (0..self.nodes.len()).filter(unseen).map(shares).sum();
            for end in self.admitted.iter().map(|unit| unit.0) {
                let inside = |unit: &&(u64, usize)| unit.0 <= end && end < unit.0 + span;
                let units = u32::try_from(self.admitted.iter().filter(inside).count()).expect("few");
                let touches = self.lost_at > 0 && end > self.lost_at && end < self.lost_at + span;
                let most = window.limit + if touches { extra } else { 0 };
                assert!(units <= most, "{units} of {most} at {end}, lost at {}", self.lost_at);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { node: usize, cost: u32, wait: u64 },
    Lose { forgets: bool },
    Recover { node: usize },
}

/// Mostly requests; one loss, and then a recovery that takes its time.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = |most| {
        (0..5_usize, prop_oneof![6 => Just(1_u32), 1 => 2..4_u32], prop_oneof![0..3_u64, 0..150_000_u64])
            .prop_map(move |(node, cost, wait)| Step::Ask { node, cost, wait: wait.min(most) })
    };
    let recovery = prop_oneof![6 => ask(150_000), 1 => (0..5_usize).prop_map(|node| Step::Recover { node })];
    let lose = any::<bool>().prop_map(|forgets| Step::Lose { forgets });
    (vec(ask(60_000), 0..60), lose, vec(ask(100_000), 0..60), vec(recovery, 0..160)).prop_map(
        |(before, lose, down, recovery)| [before, vec![lose], down, recovery].into_iter().flatten().collect(),
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    vec((1..40_u32, 1..2_000_u64), 1..3).prop_filter_map("windows that matter", |windows| {
        let window = |(limit, span)| Window { limit, span: Duration::from_millis(span) };
        Rule::new(&windows.into_iter().map(window).collect::<Vec<_>>(), None).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // spec: R1
    #[test]
    fn a_loss_of_redis_doubles_nothing(rule in rule(), nodes in 1..5_usize, steps in steps()) {
        let mut cluster = Cluster::new(rule, nodes);
        let mut now = 10_000_000;
        for step in steps {
            match step {
                Step::Ask { node, cost, wait } => {
                    now += wait;
                    cluster.ask(node % nodes, cost, now);
                }
                Step::Lose { forgets } => {
                    cluster.lost_at = now;
                    // Nothing more happens at this very moment.
                    now += 1;
                    for node in &mut cluster.nodes {
                        node.state = State::Down;
                    }
                    if forgets {
                        cluster.central.clear();
                    }
                }
                Step::Recover { node } => cluster.recover(node % nodes, now),
            }
        }
        cluster.check();
    }
}

proptest! {
    #[test]
    fn shares_add_up_to_the_limit(nodes in 1..50_u32, limit in 1..2_000_u32, client in any::<u64>()) {
        let key = Keyer::new([1; 16]).key("rule", &[&client.to_le_bytes()], b"");
        let shares = (0..nodes).map(|rank| Share::new(nodes, rank).of(key, limit));
        prop_assert_eq!(shares.clone().sum::<u32>(), limit);
        prop_assert!(shares.clone().max().expect("one") - shares.min().expect("one") <= 1);
    }
}

fn of(limit: u32, seconds: u64, block: Option<u64>) -> Rule {
    let window = Window { limit, span: Duration::from_secs(seconds) };
    Rule::new(&[window], block.map(Duration::from_secs)).expect("it can work")
}

/// How many of many requests a node admits by itself.
fn alone(memory: &Memory, rule: &Rule, share: Share, lost_at: u64, now: u64) -> usize {
    let (lost_at, now) = (Duration::from_secs(lost_at), Duration::from_secs(now));
    let ask = |_: &i32| memory.decide_alone(key(), rule, 1, Mode::Count, share, lost_at, now).is_admitted();
    (0..300).filter(ask).count()
}

#[test]
fn a_node_alone_admits_its_escrow_then_its_share() {
    let (memory, rule, share) = (Memory::new(0), of(100, 60, Some(300)), Share::new(2, 0));
    for second in [90, 95] {
        let at = Duration::from_secs(second);
        memory.note_admitted(key(), &rule, at, 10, Mode::Count, Some(20), at);
    }
    memory.lower_escrow(key(), 15);
    memory.lower_escrow(key(), 18);
    assert!(memory.may_join(key(), &rule, 15, share, Duration::from_secs(100), Duration::from_secs(101)));
    assert!(!memory.may_join(key(), &rule, 16, share, Duration::from_secs(100), Duration::from_secs(101)));
    assert_eq!(alone(&memory, &rule, share, 100, 101), 15);
    assert_eq!(alone(&memory, &rule, share, 100, 149), 0);
    assert_eq!(alone(&memory, &rule, share, 100, 150), 10, "as many as left the window");
    assert_eq!(
        alone(&memory, &rule, share, 100, 160),
        25,
        "up to the share, half of which is still in the window"
    );
    assert_eq!(alone(&memory, &rule, share, 100, 161), 15, "which those of 101 have left");
    assert_eq!(memory.stats(Duration::from_secs(161)).blocked, 0, "nobody exceeded the limit itself");
}

#[test]
fn a_node_that_had_not_seen_the_key_admits_its_share_and_the_only_node_everything() {
    let rule = of(101, 60, Some(300));
    let shares = [0, 1].map(|rank| alone(&Memory::new(0), &rule, Share::new(2, rank), 100, 101));
    assert_eq!(shares.iter().sum::<usize>(), 101);
    assert_eq!(*shares.iter().min().expect("two"), 50);
    let (memory, only) = (Memory::new(0), Share::new(1, 0));
    let at = Duration::from_secs(95);
    memory.note_admitted(key(), &rule, at, 10, Mode::Count, Some(91), at);
    assert_eq!(alone(&memory, &rule, only, 100, 101), 91);
    assert_eq!(memory.stats(Duration::from_secs(101)).blocked, 1, "it exceeded the limit");
}

// spec: R1
#[test]
fn the_only_node_leaves_alone_what_nodes_that_are_gone_had_admitted() {
    let (memory, rule, only) = (Memory::new(0), of(100, 60, None), Share::new(1, 0));
    for (second, cost, room) in [(39, 20, 10), (80, 10, 0), (95, 10, 10)] {
        let at = Duration::from_secs(second);
        memory.note_admitted(key(), &rule, at, cost, Mode::Count, Some(room), at);
    }
    // At 95 s, 40 were its own and 10 free: 50 are of others. Of its own, 20 have left since.
    assert_eq!(alone(&memory, &rule, only, 100, 101), 10 + 20);
    assert_eq!(alone(&memory, &rule, only, 100, 140), 10, "those of 80 s have left");
    assert_eq!(alone(&memory, &rule, only, 100, 160), 100 - 30 - 10, "whatever others had admitted has left");
}

#[test]
fn what_redis_refused_is_refused_without_asking_until_then() {
    let (memory, rule, now) = (Memory::new(0), of(10, 60, None), Duration::from_secs(100));
    let until = now + Duration::from_secs(7);
    memory.note_refused(key(), &rule, 3, until, Refusal::Exceeded, 0, now);
    assert!(memory.refused(key(), &rule, 2, now).is_none(), "a smaller request may fit");
    for cost in [3, 4] {
        let known = memory.refused(key(), &rule, cost, now).expect("it is known");
        assert_eq!((known.retry_after, known.remaining), (Duration::from_secs(7), 0));
    }
    assert!(!memory.decide_alone(key(), &rule, 3, Mode::Count, Share::new(1, 0), now, now).is_admitted());
    assert!(memory.refused(key(), &rule, 3, until).is_none());
    // A block is known as one, and survives a forgotten refusal.
    memory.note_refused(key(), &rule, 1, until, Refusal::BlockedNow, 0, now);
    let known = memory.refused(key(), &rule, 1, now).expect("it is known");
    assert_eq!(known.verdict, Verdict::Refused(Refusal::Blocked));
    let blocked = memory.own_entries(Cursor::default(), now).1;
    assert_eq!(blocked[0].blocked_until, Some(until));
    memory.lift(key());
    assert!(memory.refused(key(), &rule, 1, now).is_none());
}

#[test]
fn why_redis_refused_is_remembered_and_is_final_when_redis_is_lost() {
    let (memory, rule, now) = (Memory::new(0), of(1, 60, None), Duration::from_secs(100));
    let (until, one) = (now + Duration::from_secs(7), Share::new(1, 0));
    let here = || memory.refused(key(), &rule, 1, now).expect("it is known").verdict;
    let alone = || memory.decide_alone(key(), &rule, 1, Mode::Count, one, now, now).verdict;
    for why in [Refusal::Reserved, Refusal::Exceeded, Refusal::Reserved] {
        memory.note_refused(key(), &rule, 1, until, why, 0, now);
        assert_eq!((here(), alone()), (Verdict::Refused(why), Verdict::Refused(Refusal::Exceeded)));
    }
}

#[test]
fn a_node_alone_says_whether_its_share_is_full_of_reservations() {
    let (memory, rule) = (Memory::new(0), of(10, 60, None));
    let (lost_at, now, half) = (Duration::from_secs(100), Duration::from_secs(101), Share::new(2, 0));
    let ask = |mode| memory.decide_alone(key(), &rule, 1, mode, half, lost_at, now);
    for _ in 0..4 {
        assert!(ask(Mode::Count).is_admitted());
    }
    let last = ask(Mode::Reserve).ticket().expect("the fifth of five");
    let refused = ask(Mode::Count);
    assert_eq!(refused.verdict, Verdict::Refused(Refusal::Reserved));
    assert!(refused.retry_after <= Duration::from_secs(1));
    memory.confirm(last);
    assert_eq!(ask(Mode::Count).verdict, Verdict::Refused(Refusal::Exceeded));
}

#[test]
fn own_admissions_are_told_page_by_page_each_once() {
    let (memory, rule, now) = (Memory::new(4 << 20), of(100, 60, None), Duration::from_secs(100));
    let name = |client: u32| Keyer::new([1; 16]).key("rule", &[&client.to_le_bytes()], b"");
    for client in 0..3_000 {
        let (cost, at) = (client % 7, now.saturating_sub(Duration::from_secs(u64::from(client % 90))));
        memory.note_admitted(name(client), &rule, at, cost, Mode::Reserve, Some(0), at);
    }
    let (mut cursor, mut told, mut pages) = (Some(Cursor::default()), Vec::new(), 0);
    while let Some(from) = cursor {
        let (next, page) = memory.own_entries(from, now);
        assert!(page.iter().map(|own| own.stamps.len()).sum::<usize>() < 4_096 + 100);
        told.extend(page);
        (cursor, pages) = (next, pages + 1);
    }
    assert!(pages > 1);
    told.sort_by_key(|own| own.key.name());
    let mut expected: Vec<_> = (0..3_000).filter(|client| client % 90 < 60).map(name).collect();
    expected.sort_by_key(|key| key.name());
    assert!(told.iter().map(|own| own.key).eq(expected));
    assert!(told.iter().all(|own| own.stamps.iter().all(|stamp| stamp.pending) && !own.stamps.is_empty()));
}

#[test]
fn a_corrected_clock_moves_everything() {
    let (memory, rule, now) = (Memory::new(0), of(2, 60, Some(60)), Duration::from_secs(1_000));
    for second in 1_000..1_003 {
        memory.decide(key(), &rule, 1, Mode::Count, Duration::from_secs(second));
    }
    memory.shift(-500_000_000);
    let own = memory.own_entries(Cursor::default(), now.saturating_sub(Duration::from_secs(499))).1;
    assert_eq!(own[0].stamps.iter().map(|stamp| stamp.at).collect::<Vec<_>>(), [500_000_000, 501_000_000]);
    assert_eq!(own[0].blocked_until, Some(Duration::from_secs(562)));
}

#[test]
fn what_was_admitted_before_the_loss_is_kept_beside_what_is_admitted_after() {
    let (memory, rule) = (Memory::new(0), of(100, 60, None));
    for (second, cost) in [(50, 60), (95, 40)] {
        let at = Duration::from_secs(second);
        memory.note_admitted(key(), &rule, at, cost, Mode::Count, Some(0), at);
    }
    assert_eq!(
        alone(&memory, &rule, Share::new(2, 0), 100, 111),
        50,
        "all of its share: 60 units left the window"
    );
}
