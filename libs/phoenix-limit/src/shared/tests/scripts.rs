//! Random traffic of three nodes through the deciding script, against a naive list of what was admitted.

use std::time::Duration;

use phoenix_testkit::redis::Redis;
use redis::Value;

use super::super::call::{self, Answer, Ask, Beat, Decided, Names, Request, Settle, Settlement};
use super::super::link::{Link, SingleServer};
use super::super::script::Scripts;
use super::oracle::Oracle;
use crate::{Key, Keyer, Mode, Refusal, Rule, Ticket, Verdict, Window};

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((z ^ (z >> 31)) % u64::from(bound)).unwrap_or_default()
    }
}

const PLACE: call::Place = call::Place { installation: 7, partition: 0 };

struct Bench {
    links: Vec<SingleServer>,
    nodes: Vec<String>,
    scripts: Scripts,
    state: String,
}

impl Bench {
    async fn new(redis: &Redis) -> Self {
        let url = redis.isolated().url;
        let link = || SingleServer::new(url.as_str(), Duration::from_secs(5)).expect("the address is good");
        let links: Vec<SingleServer> = (0..3).map(|_| link()).collect();
        let nodes: Vec<String> = (1..4).map(call::node_name).collect();
        let scripts = Scripts::new();
        let beat = Beat { timeout: Duration::from_hours(1), generation: "first", resets: 0 };
        let mut state = String::new();
        for node in &nodes {
            let beat = call::heartbeat(&scripts, PLACE, node, "up", &beat, &call::Known::default());
            let reply = scripts.heartbeat.send_one(&links[0], beat).await.expect("Redis answers");
            state = call::read_registry(&reply).expect("a registry").state;
        }
        assert_eq!(state, "first.0");
        Self { links, nodes, scripts, state }
    }

    async fn ask(
        &self,
        node: usize,
        key: Key,
        rule: &Rule,
        requests: &[Request],
        extra: (u32, &Settlement),
    ) -> Decided {
        let names = Names::new(key, PLACE, 0);
        let ask = Ask {
            names: &names,
            state: &self.state,
            node: &self.nodes[node],
            rule,
            requests,
            want: extra.0,
            term: Duration::from_millis(100),
            settlement: extra.1,
        };
        let reply = self.scripts.decide.send_one(&self.links[node], ask.command(&self.scripts)).await;
        let reply = reply.expect("Redis answers");
        match call::read_answer(&reply, key, requests) {
            Some(Answer::Decided(decided)) => decided,
            other => panic!("{other:?} from {reply:?}"),
        }
    }

    async fn settle(&self, node: usize, what: Settle, ticket: Ticket) -> u64 {
        let names = Names::new(ticket.key, PLACE, 0);
        let settle = call::settle(&self.scripts, &names, what, &self.nodes[node], ticket);
        let reply = self.scripts.settle.send_one(&self.links[node], settle).await.expect("Redis answers");
        call::integer(&reply).expect("a number")
    }

    async fn command(&self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        self.links[0].send(vec![command]).await.remove(0).expect("Redis answers")
    }
}

fn window(limit: u32, millis: u64) -> Window {
    Window { limit, span: Duration::from_millis(millis) }
}

fn rules() -> Vec<Rule> {
    let block = Some(Duration::from_millis(25));
    [
        Rule::new(&[window(5, 20)], None),
        Rule::new(&[window(5, 20)], block),
        Rule::new(&[window(3, 4), window(10, 30), window(25, 120)], None),
        Rule::new(&[window(4, 6), window(12, 40)], block),
        Rule::new(&[window(300, 60)], None),
    ]
    .into_iter()
    .map(|rule| rule.expect("the rule is good"))
    .collect()
}

fn random_request(random: &mut Random) -> Request {
    let cost = if random.below(4) == 0 { 1 + random.below(6) } else { 1 };
    let mode = match random.below(10) {
        0 => None,
        1..3 => Some(Mode::Reserve),
        _ => Some(Mode::Count),
    };
    Request { cost, mode }
}

fn status(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Admitted(_) => 0,
        Verdict::Refused(Refusal::Exceeded) => 1,
        Verdict::Refused(Refusal::BlockedNow) => 2,
        Verdict::Refused(Refusal::Blocked) => 3,
        Verdict::Refused(Refusal::Reserved) => 4,
    }
}

/// Every answer to every request, with all that a client is told, is the one of the naive list.
#[tokio::test]
async fn random_traffic_of_three_nodes_is_decided_as_by_a_list() {
    let bench = Bench::new(Redis::shared()).await;
    let keyer = Keyer::new([3; 16]);
    let mut random = Random(4);
    let mut seen = [0_u32; 5];
    for (place, rule) in rules().iter().enumerate() {
        let key = keyer.key("test", &[&[u8::try_from(place).expect("few rules")]], b"");
        let mut oracle = Oracle::default();
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        for step in 0..1500 {
            let node = random.below(3) as usize;
            if random.below(4) == 0 && !tickets.is_empty() {
                let (owner, ticket) =
                    tickets.swap_remove(random.below(u32::try_from(tickets.len()).expect("few")) as usize);
                if random.below(2) == 0 {
                    bench.settle(owner, Settle::Refund, ticket).await;
                    oracle.refund(ticket.at, owner, ticket.cost);
                } else {
                    bench.settle(owner, Settle::Confirm, ticket).await;
                    oracle.confirm(ticket.at, owner);
                }
                continue;
            }
            // Sometimes many at once, sometimes a pause in which windows empty.
            let many = if random.below(20) == 0 { 2 + random.below(8) } else { 1 };
            let mut requests: Vec<Request> = (0..many).map(|_| random_request(&mut random)).collect();
            if many > 1 {
                // Tickets of one call share a stamp: refunds and confirmations of them are of one kind only.
                for request in &mut requests {
                    request.mode = request.mode.and(Some(Mode::Count));
                }
            }
            if random.below(60) == 0 {
                tokio::time::timeout(
                    Duration::from_millis(u64::from(random.below(40))),
                    std::future::pending::<()>(),
                )
                .await
                .expect_err("nothing happens");
            }
            let decided = bench.ask(node, key, rule, &requests, (0, &Settlement::default())).await;
            let mut expected = Vec::new();
            for request in &requests {
                expected.push(oracle.decide(rule, *request, node, decided.now));
            }
            for (decision, mut expected) in decided.decisions.iter().zip(expected) {
                expected.3 = oracle.reset(rule, expected.1, decided.now);
                let found = (
                    status(decision.verdict),
                    decision.window,
                    decision.remaining,
                    call::micros(decision.reset_after),
                    call::micros(decision.retry_after),
                );
                assert_eq!(found, expected, "rule {place}, step {step}, {requests:?}");
                seen[usize::try_from(found.0).expect("few kinds")] += 1;
            }
            let blocked = (oracle.blocked > decided.now).then_some(oracle.blocked);
            assert_eq!(decided.blocked_until, blocked, "rule {place}, step {step}");
            let admitted = requests.iter().zip(&decided.decisions);
            let admitted =
                admitted.filter(|(request, decision)| request.mode.is_some() && decision.is_admitted());
            tickets.extend(admitted.filter_map(|(_, decision)| Some((node, decision.ticket()?))));
        }
    }
    assert!(seen.iter().all(|&count| count > 20), "every kind of answer was tried: {seen:?}");
}

fn one(limit: u32, span: Duration, block: Option<Duration>) -> Rule {
    Rule::new(&[Window { limit, span }], block).expect("the rule is good")
}

const COUNT: Request = Request { cost: 1, mode: Some(Mode::Count) };

/// When the server's clock was set back, units and blocks are moved, so that nobody waits longer than the window.
#[tokio::test]
async fn a_clock_that_was_set_back_costs_a_client_no_more_than_the_window() {
    let bench = Bench::new(Redis::shared()).await;
    let key = Keyer::new([3; 16]).key("back", &[], b"");
    let minute = Duration::from_mins(1);
    let rule = one(3, minute, Some(minute));
    let none = Settlement::default();
    let first = bench.ask(0, key, &rule, &[COUNT, COUNT], (0, &none)).await;
    // A day is added to all that is stored, as if the clock had been a day ahead.
    let day = call::micros(Duration::from_hours(24));
    let log = format!("phl:00000007:{{p0}}:0:{:032x}", key.name());
    let then = first.now + day;
    bench.command(&["DEL", &log]).await;
    for (place, at) in [then - 20_000_000, then].into_iter().enumerate() {
        let unit = format!("{at}:{}:{place}", bench.nodes[0]);
        bench.command(&["ZADD", &log, &at.to_string(), &unit]).await;
    }
    bench.command(&["HSET", &PLACE.registry(), "c", &then.to_string()]).await;
    let third = bench.ask(1, key, &rule, &[COUNT], (0, &none)).await;
    assert!(third.decisions[0].is_admitted() && third.now < first.now + 10_000_000);
    let peek = Request { mode: None, ..COUNT };
    let full = bench.ask(1, key, &rule, &[peek], (0, &none)).await;
    let wait = full.decisions[0].retry_after;
    assert!(
        wait <= Duration::from_secs(40) && wait > Duration::from_secs(30),
        "the older was 20 s older: {wait:?}"
    );
    // A block that began a day ahead.
    let blocked = bench.ask(1, key, &rule, &[COUNT], (0, &none)).await;
    assert_eq!(blocked.decisions[0].verdict, Verdict::Refused(Refusal::BlockedNow));
    let meta = format!("{log}:m");
    let (began, ends) = ((blocked.now + day).to_string(), (blocked.now + day + 60_000_000).to_string());
    bench.command(&["HSET", &meta, "t", &began, "b", &ends]).await;
    let still = bench.ask(1, key, &rule, &[COUNT], (0, &none)).await;
    assert_eq!(still.decisions[0].verdict, Verdict::Refused(Refusal::Blocked));
    assert!(still.decisions[0].retry_after <= minute, "{:?}", still.decisions[0]);
}

/// A lease counts at its end until it is settled; then what was spent counts when it was, and the rest not at all.
#[tokio::test]
async fn a_lease_is_settled_to_the_unit() {
    let bench = Bench::new(Redis::shared()).await;
    let key = Keyer::new([3; 16]).key("lease", &[], b"");
    let rule = one(1_000, Duration::from_mins(1), None);
    let none = Settlement::default();
    let given = bench.ask(0, key, &rule, &[COUNT], (100, &none)).await;
    assert_eq!((given.leased, given.lease_end), (15, given.now + 100_000), "a 64th of the room");
    assert_eq!(given.escrow, 999 - 15 - (999 - 15) * 5 / 6, "half of a third of what is left");
    let other = bench.ask(1, key, &rule, &[COUNT], (0, &none)).await;
    assert_eq!(other.decisions[0].remaining, 1_000 - 1 - 15 - 1);
    let stamp = given.now + 1;
    let spent = Settlement { lease: given.now, reserved: 15, spent: vec![stamp, stamp, stamp + 2] };
    let settled = bench.ask(0, key, &rule, &[COUNT], (0, &spent)).await;
    assert_eq!(settled.decisions[0].remaining, 1_000 - 1 - 1 - 3 - 1);
    let again = bench.ask(0, key, &rule, &[COUNT], (0, &spent)).await;
    assert_eq!(again.decisions[0].remaining, 1_000 - 1 - 1 - 3 - 2, "doing it twice changes nothing");
    bench.settle(0, Settle::Refund, Ticket { key, at: stamp, cost: 2 }).await;
    let after = bench.ask(2, key, &rule, &[COUNT], (0, &none)).await;
    assert_eq!(after.decisions[0].remaining, 1_000 - 1 - 1 - 1 - 3);
}

/// What another node has set aside and may give back makes nobody guilty, and nobody wait for the end of the window.
#[tokio::test]
async fn who_exceeds_only_by_a_lease_of_another_node_is_not_blocked() {
    let bench = Bench::new(Redis::shared()).await;
    let key = Keyer::new([3; 16]).key("aside", &[], b"");
    let minute = Duration::from_mins(1);
    let rule = one(200, minute, Some(minute));
    let none = Settlement::default();
    let given = bench.ask(0, key, &rule, &[COUNT], (100, &none)).await;
    assert_eq!(given.leased, 3);
    let rest = Request { cost: 196, ..COUNT };
    assert!(bench.ask(1, key, &rule, &[rest], (0, &none)).await.decisions[0].is_admitted());
    let refused = bench.ask(1, key, &rule, &[COUNT], (0, &none)).await;
    assert_eq!(refused.decisions[0].verdict, Verdict::Refused(Refusal::Reserved));
    assert!(refused.decisions[0].retry_after <= Duration::from_secs(1));
    let unused = Settlement { lease: given.now, reserved: 3, spent: vec![given.now + 1] };
    bench.ask(0, key, &rule, &[], (0, &unused)).await;
    let after = bench.ask(1, key, &rule, &[COUNT; 3], (0, &none)).await.decisions;
    assert!(after[0].is_admitted() && after[1].is_admitted());
    assert_eq!(after[2].verdict, Verdict::Refused(Refusal::BlockedNow));
}

/// As units are used up, what nodes may admit without asking is never more than what is left.
#[tokio::test]
async fn what_is_used_and_what_nodes_may_use_without_asking_is_never_more_than_the_limit() {
    let bench = Bench::new(Redis::shared()).await;
    let key = Keyer::new([3; 16]).key("escrow", &[], b"");
    let rule = one(100, Duration::from_mins(1), None);
    let mut told = [0_u32; 3];
    for used in 1..=100 {
        let node = used as usize % 3;
        let decided = bench.ask(node, key, &rule, &[COUNT], (0, &Settlement::default())).await;
        told[node] = decided.escrow;
        // Lower ones are published, so that nobody has more than what was told last.
        let sum: u32 = told.iter().map(|units| units.min(&decided.escrow)).sum();
        assert!(used + sum <= 100, "{used} used, {told:?}");
        assert!(used > 90 || decided.escrow >= (100 - used) / 6, "{used} used, {}", decided.escrow);
    }
}

/// A Redis that is not the one the node knows decides nothing.
#[tokio::test]
async fn another_generation_and_another_number_of_resets_are_told() {
    let bench = Bench::new(Redis::shared()).await;
    let key = Keyer::new([3; 16]).key("state", &[], b"");
    let rule = one(5, Duration::from_mins(1), None);
    for (state, told) in [("other.0", "first.0"), ("first.1", "first.0"), ("first.0", "")] {
        if told.is_empty() {
            bench.command(&["FLUSHDB"]).await;
        }
        let ask = Ask {
            names: &Names::new(key, PLACE, 0),
            state,
            node: &bench.nodes[0],
            rule: &rule,
            requests: &[COUNT],
            want: 0,
            term: Duration::ZERO,
            settlement: &Settlement::default(),
        };
        let reply = bench.scripts.decide.send_one(&bench.links[0], ask.command(&bench.scripts)).await;
        let answer = call::read_answer(&reply.expect("Redis answers"), key, &[COUNT]);
        assert_eq!(answer, Some(Answer::OtherState(told.to_owned())));
    }
    assert_eq!(call::read_answer(&Value::Nil, key, &[COUNT]), None);
    assert_eq!(call::read_answer(&Value::Array(vec![Value::Int(0); 3]), key, &[COUNT]), None);
}
