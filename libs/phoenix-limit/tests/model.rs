//! Every answer of the memory against a plain list of admissions, for rules, costs, reservations, blocks and clocks of all
//! kinds. Memory that is full is another test's (`pressure.rs`).

use std::time::Duration;

use phoenix_limit::{Decision, Key, Keyer, MAX_COST, Memory, Mode, Refusal, Rule, Ticket, Verdict, Window};
use proptest::collection::vec;
use proptest::prelude::*;

/// One key, as plainly as possible. Microseconds.
#[derive(Default)]
struct Model {
    units: Vec<(u64, bool)>,
    blocked_until: u64,
}

struct Full {
    window: usize,
    wait: u64,
    soft: bool,
}

fn span(window: &Window) -> u64 {
    u64::try_from(window.span.as_micros()).expect("short")
}

impl Model {
    fn live(&self, window: &Window, now: u64) -> Vec<(u64, bool)> {
        let mut live: Vec<_> =
            self.units.iter().copied().filter(|unit| now < unit.0 + span(window)).collect();
        live.sort_unstable();
        live
    }

    /// The first time at which the request fits, by trying the end of each unit.
    fn full(&self, rule: &Rule, cost: u32, now: u64) -> Vec<Full> {
        let mut full = Vec::new();
        for (position, window) in rule.windows().iter().enumerate() {
            let live = self.live(window, now);
            let fits = |at: u64| {
                live.iter().filter(|unit| at < unit.0 + span(window)).count() + cost as usize
                    <= window.limit as usize
            };
            if fits(now) {
                continue;
            }
            let never = cost > window.limit;
            let exact = live.iter().map(|unit| unit.0 + span(window)).find(|at| fits(*at));
            let exact = exact.filter(|_| !never).map_or(span(window), |at| at - now);
            let soft = !never && live.iter().any(|unit| unit.1 && now < unit.0 + 60_000_000);
            let wait = if soft { exact.min(1_000_000) } else { exact };
            full.push(Full { window: position, wait, soft });
        }
        full
    }

    /// The time that counts: a little before the newest admission is at it.
    fn follow_clock(&mut self, now: u64) -> u64 {
        let newest = self.units.iter().map(|unit| unit.0).max().unwrap_or(now);
        if newest <= now + 2_000_000 {
            return newest.max(now);
        }
        let by = newest - now;
        for unit in &mut self.units {
            unit.0 = unit.0.saturating_sub(by);
        }
        self.blocked_until = self.blocked_until.saturating_sub(by);
        now
    }

    fn decide(
        &mut self,
        rule: &Rule,
        cost: u32,
        mode: Mode,
        now: u64,
        look: bool,
    ) -> (Option<Refusal>, Decision) {
        let now = self.follow_clock(now);
        let cost = cost.max(1);
        let full = self.full(rule, cost, now);
        let blocked = self.blocked_until.saturating_sub(now);
        let refusal = if blocked > 0 {
            Some((Refusal::Blocked, blocked))
        } else if full.is_empty() {
            None
        } else if let Some(block) = rule.block()
            && full.iter().any(|full| !full.soft)
            && !look
        {
            let block = u64::try_from(block.as_micros()).expect("short");
            self.blocked_until = now + block;
            Some((Refusal::BlockedNow, block))
        } else {
            let soft = full.iter().all(|full| full.soft);
            Some((if soft { Refusal::Reserved } else { Refusal::Exceeded }, 0))
        };
        if refusal.is_none() && !look {
            let longest = span(&rule.longest());
            self.units.retain(|unit| now < unit.0 + longest);
            self.units.extend((0..cost).map(|_| (now, matches!(mode, Mode::Reserve))));
        }
        let left = |window: &Window| window.limit as usize - self.live(window, now).len();
        let longest = full.iter().map(|full| full.wait).max().unwrap_or(0);
        let left_of = |position: usize| left(&rule.windows()[position]);
        let least = (0..rule.windows().len()).min_by_key(|position| left_of(*position)).expect("one");
        let window = full.iter().find(|full| full.wait == longest).map_or(least, |full| full.window);
        let of = &rule.windows()[window];
        let decision = Decision {
            verdict: refusal.map_or(
                Verdict::Admitted(Ticket { key: key(0), at: now, cost: if look { 0 } else { cost } }),
                |(refusal, _)| Verdict::Refused(refusal),
            ),
            window,
            remaining: u32::try_from(left(of)).expect("small"),
            reset_after: Duration::from_micros(
                self.live(of, now).first().map_or(0, |oldest| oldest.0 + span(of) - now),
            ),
            retry_after: Duration::from_micros(refusal.map_or(0, |(_, least)| least.max(longest))),
            at: now,
        };
        (refusal.map(|refusal| refusal.0), decision)
    }
}

fn key(client: u8) -> Key {
    Keyer::new([1; 16]).key("rule", &[&[client]], b"all")
}

#[derive(Clone, Debug)]
enum Step {
    Decide { cost: u32, reserve: bool },
    Peek { cost: u32 },
    Confirm(prop::sample::Index),
    Refund(prop::sample::Index),
    Block(u64),
    Lift,
    Reset,
    Forward(u64),
    Back(u64),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (prop_oneof![5 => Just(1_u32), 2 => 0..5_u32, 1 => 5..30_u32], any::<bool>())
            .prop_map(|(cost, reserve)| Step::Decide { cost, reserve }),
        4 => (0..5_u32).prop_map(|cost| Step::Peek { cost }),
        4 => any::<prop::sample::Index>().prop_map(Step::Confirm),
        4 => any::<prop::sample::Index>().prop_map(Step::Refund),
        1 => (1..4_000_000_u64).prop_map(Step::Block),
        1 => Just(Step::Lift),
        1 => Just(Step::Reset),
        12 => prop_oneof![0..5_u64, 0..2_000_u64, 0..900_000_u64, 0..4_000_000_u64].prop_map(Step::Forward),
        1 => prop_oneof![0..5_u64, 0..2_000_000_u64].prop_map(Step::Back),
        3 => Just(Step::Wait),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let window = (1..24_u32, 1..3_000_u64);
    (vec(window, 1..4), prop::option::of(1..5_000_u64)).prop_filter_map(
        "windows that matter",
        |(windows, block)| {
            let windows: Vec<_> = windows
                .into_iter()
                .map(|(limit, span)| Window { limit, span: Duration::from_millis(span) })
                .collect();
            Rule::new(&windows, block.map(Duration::from_millis)).ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // spec: R3
    #[test]
    fn every_answer_is_that_of_a_list(rule in rule(), steps in vec(step(), 1..120)) {
        let memory = Memory::new(1 << 20);
        let (mut model, key) = (Model::default(), key(0));
        let (mut now, mut tickets, mut retry) = (10_000_000_u64, Vec::<Ticket>::new(), None);
        for step in steps {
            let at = Duration::from_micros(now);
            match step {
                Step::Decide { cost, reserve } => {
                    let mode = if reserve { Mode::Reserve } else { Mode::Count };
                    let (refusal, expected) = model.decide(&rule, cost, mode, now, false);
                    let decision = memory.decide(key, &rule, cost, mode, at);
                    prop_assert_eq!(decision, expected);
                    tickets.extend(decision.ticket());
                    retry = refusal.map(|_| (cost, now + u64::try_from(decision.retry_after.as_micros()).expect("short")));
                }
                Step::Peek { cost } => {
                    let (_, expected) = model.decide(&rule, cost, Mode::Count, now, true);
                    prop_assert_eq!(memory.peek(key, &rule, cost, at), expected);
                }
                Step::Confirm(index) if !tickets.is_empty() => {
                    let ticket = *index.get(&tickets);
                    let pending = model.units.iter_mut().filter(|unit| **unit == (ticket.at, true));
                    let settled = pending.take(ticket.cost as usize).map(|unit| unit.1 = false).count();
                    prop_assert_eq!(memory.confirm(ticket), settled > 0);
                }
                Step::Refund(index) if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(index.index(tickets.len()));
                    let mut left = ticket.cost;
                    for pending in [true, false] {
                        model.units.retain(|unit| {
                            let gone = left > 0 && *unit == (ticket.at, pending);
                            left -= u32::from(gone);
                            !gone
                        });
                    }
                    prop_assert_eq!(memory.refund(ticket), left < ticket.cost);
                }
                Step::Confirm(_) | Step::Refund(_) => {}
                Step::Block(length) => {
                    memory.block(key, Duration::from_micros(length), at);
                    model.blocked_until = model.blocked_until.max(now + length);
                }
                Step::Lift => {
                    memory.lift(key);
                    model.blocked_until = 0;
                }
                Step::Reset => {
                    memory.reset(key);
                    model = Model::default();
                }
                Step::Forward(by) => now += by,
                Step::Back(by) => now = now.saturating_sub(by),
                // To the very moment that was announced, or a microsecond before.
                Step::Wait => {
                    if let Some((cost, at)) = retry.take() && at > now {
                        now = at - 1;
                        model.follow_clock(now);
                        let early = memory.peek(key, &rule, cost, Duration::from_micros(now));
                        let (refusal, expected) = model.decide(&rule, cost, Mode::Count, now, true);
                        prop_assert_eq!(early, expected);
                        prop_assert_eq!(refusal.is_some(), !early.is_admitted());
                        now = at;
                    }
                }
            }
        }
    }
}

fn of(windows: &[(u32, u64)], block: Option<u64>) -> Rule {
    let windows: Vec<_> = windows
        .iter()
        .map(|(limit, span)| Window { limit: *limit, span: Duration::from_secs(*span) })
        .collect();
    Rule::new(&windows, block.map(Duration::from_secs)).expect("it can work")
}

#[test]
fn who_waits_as_told_is_admitted_and_a_microsecond_earlier_is_not() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(3, 1), (5, 60)], None));
    let mut now = Duration::from_secs(5);
    for _ in 0..40 {
        let decision = memory.decide(key(0), &rule, 1, Mode::Count, now);
        if !decision.is_admitted() {
            let told = now + decision.retry_after;
            let early = told.saturating_sub(Duration::from_micros(1));
            assert!(!memory.peek(key(0), &rule, 1, early).is_admitted());
            assert!(memory.peek(key(0), &rule, 1, told).is_admitted());
            now = told;
        }
    }
}

#[test]
fn a_block_ends_when_first_announced_however_often_the_client_asks() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(1, 1)], Some(30)));
    let start = Duration::from_secs(5);
    assert!(memory.decide(key(0), &rule, 1, Mode::Count, start).is_admitted());
    let first = memory.decide(key(0), &rule, 1, Mode::Count, start);
    assert_eq!(first.verdict, Verdict::Refused(Refusal::BlockedNow));
    for second in 1..30 {
        let now = start + Duration::from_secs(second);
        let again = memory.decide(key(0), &rule, 1, Mode::Count, now);
        assert_eq!(again.verdict, Verdict::Refused(Refusal::Blocked));
        assert_eq!(now + again.retry_after, start + first.retry_after);
    }
    assert!(memory.decide(key(0), &rule, 1, Mode::Count, start + Duration::from_secs(30)).is_admitted());
}

#[test]
fn who_is_refused_because_of_reservations_is_told_from_who_has_used_everything_up() {
    // The oldest unit leaves within the second in which reservations are settled, too.
    let (memory, rule, now) = (Memory::new(1 << 20), of(&[(2, 1)], None), Duration::from_secs(5));
    let ticket = |mode| memory.decide(key(0), &rule, 1, mode, now).ticket().expect("there is room");
    let (_, reserved) = (ticket(Mode::Count), ticket(Mode::Reserve));
    let asked = || memory.decide(key(0), &rule, 1, Mode::Reserve, now);
    assert_eq!(asked().verdict, Verdict::Refused(Refusal::Reserved));
    assert!(memory.confirm(reserved));
    let refused = asked();
    assert_eq!(refused.verdict, Verdict::Refused(Refusal::Exceeded));
    assert_eq!(refused.retry_after, Duration::from_secs(1));
}

#[test]
fn a_cost_that_no_window_holds_is_told_the_length_of_the_window() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(5_000, 60)], None));
    let now = Duration::from_secs(100);
    for cost in [MAX_COST + 1, 5_001, u32::MAX] {
        let decision = memory.decide(key(0), &rule, cost, Mode::Count, now);
        assert_eq!(decision.verdict, Verdict::Refused(Refusal::Exceeded), "{cost}");
        assert_eq!(decision.retry_after, Duration::from_mins(1));
    }
    assert!(memory.decide(key(0), &rule, MAX_COST, Mode::Count, now).is_admitted());
}

#[test]
fn a_clock_that_steps_back_frees_nothing_and_holds_nobody_longer_than_the_window() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(2, 60)], None));
    let late = Duration::from_secs(1_000_000);
    for at in [late, late + Duration::from_secs(10)] {
        assert!(memory.decide(key(0), &rule, 1, Mode::Count, at).is_admitted());
    }
    let early = Duration::from_secs(500);
    let decision = memory.decide(key(0), &rule, 1, Mode::Count, early);
    assert_eq!(decision.retry_after, Duration::from_secs(50), "the first one was 10 s before the newest");
    assert!(memory.decide(key(0), &rule, 1, Mode::Count, early + decision.retry_after).is_admitted());
}

/// Requests read the clock before they reach the log, so they come a little out of order.
#[test]
fn requests_out_of_order_open_no_window() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(5, 10)], None));
    let mut admitted: Vec<Duration> = Vec::new();
    for step in 0..4_000_u32 {
        let late = Duration::from_millis(u64::from(step * 7_919 % 1_900));
        let now = (Duration::from_secs(100) + Duration::from_millis(100) * step).saturating_sub(late);
        if memory.decide(key(0), &rule, 1, Mode::Count, now).is_admitted() {
            admitted.push(now);
        }
    }
    admitted.sort_unstable();
    assert!(admitted.len() > 150, "{}", admitted.len());
    assert!(admitted.windows(6).all(|six| six[5].saturating_sub(six[0]) >= Duration::from_secs(10)));
}

#[test]
fn threads_never_admit_more_together() {
    let (memory, rule) = (Memory::new(1 << 20), of(&[(1_000, 3_600)], None));
    let admitted: usize = std::thread::scope(|scope| {
        let ask = |_| {
            let now = Duration::from_secs(1);
            (0..700).filter(|_| memory.decide(key(0), &rule, 1, Mode::Count, now).is_admitted()).count()
        };
        let threads: Vec<_> = (0..4).map(|nth| scope.spawn(move || ask(nth))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    assert_eq!(admitted, 1_000);
}
