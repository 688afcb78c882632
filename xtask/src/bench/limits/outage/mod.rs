//! Part `outage`: Redis is killed under traffic of three nodes and comes back empty. No window holds more than the
//! stated bound, the blocked stay blocked, who behaves notices nothing, and no decision waits long. In real time.

mod groups;
mod windows;

use std::time::Duration;

use anyhow::Result;
use phoenix_limit::{Refusal, Verdict};
use phoenix_testkit::redis::Redis;

use super::oracle::micros;
use super::real;
use super::trio::{Answer, Trio, runtime, unix_micros};
use crate::bench::report::Bar;
use groups::{Group, Kind, Sent, Times, groups, schedule};
use windows::{Admitted, Changes, Worst};

/// Longest p99 of a decision while Redis goes and comes, in milliseconds.
const P99_MS: f64 = 60.0;
/// Of the p99 before, that afterwards may be this multiple: "as before", on a machine whose figures swing.
const AS_BEFORE: f64 = 1.5;
/// Time from a change during which decisions count as made during it.
const DURING: Duration = Duration::from_secs(2);
/// How long it may take until every node has noticed that Redis is gone: a tick, and the longest wait for an answer.
const NOTICE: Duration = Duration::from_millis(250);

/// What happened when, in microseconds of Redis' clock, which is this machine's.
#[derive(Clone, Copy, Debug)]
struct Marks {
    lost: u64,
    back: u64,
    /// Every node asks Redis again.
    up: u64,
}

pub(super) fn run(quick: bool) -> Result<Vec<Bar>> {
    let seconds = Duration::from_secs;
    let (short, long, times) = if quick {
        (seconds(2), seconds(4), Times { lost: seconds(6), back: seconds(12), end: seconds(22) })
    } else {
        (seconds(3), seconds(10), Times { lost: seconds(15), back: seconds(30), end: seconds(60) })
    };
    let groups = groups(short, long)?;
    let sent = schedule(&groups, times);
    let (answers, marks) = live_through(&sent, times)?;
    eprintln!("\noutage: {} requests, {marks:?}", sent.len());
    let mut bars = vec![
        Bar::info("outage: decisions", real(sent.len() as u64), ""),
        Bar::info(
            "outage: from Redis' start to every node asking it",
            real(marks.up - marks.back) / 1e6,
            "s",
        ),
    ];
    bars.extend(bounds(&groups, &sent, &answers, marks));
    bars.extend(behaved(&groups, &sent, &answers));
    bars.push(clock_error(&answers));
    bars.push(still_blocked(&groups, &sent, &answers));
    bars.extend(latencies(&answers, marks));
    Ok(bars)
}

/// Sends everything while Redis is killed and started again.
fn live_through(sent: &[Sent], times: Times) -> Result<(Vec<Answer>, Marks)> {
    let redis = Redis::start()?;
    let asks: Vec<_> = sent.iter().map(|(_, _, ask)| ask.clone()).collect();
    runtime()?.block_on(async {
        let trio = Trio::on(&redis.url(), |options| options)?;
        trio.until_shared().await?;
        let start = tokio::time::Instant::now();
        let breaking = async {
            tokio::time::sleep_until(start + times.lost).await;
            let lost = unix_micros()?;
            tokio::task::block_in_place(|| redis.kill())?;
            tokio::time::sleep_until(start + times.back).await;
            let back = unix_micros()?;
            tokio::task::block_in_place(|| redis.restart())?;
            trio.until_shared().await?;
            anyhow::Ok(Marks { lost, back, up: unix_micros()? })
        };
        let (answers, marks) = tokio::join!(trio.drive(&asks), breaking);
        for node in &trio.nodes {
            // More than one loss of a node: the machine was too slow for the deadline, and windows touch that one, too.
            eprintln!("outage: {:?}", node.health()?);
        }
        Ok((answers?, marks?))
    })
}

/// The most that any window held, by whether it touches a change.
fn bounds(groups: &[Group], sent: &[Sent], answers: &[Answer], marks: Marks) -> Vec<Bar> {
    let changes = Changes { lost: (marks.lost, marks.lost + micros(NOTICE)), back: (marks.back, marks.up) };
    let (mut outside, mut back, mut everywhere, mut over) = (0, 0, 0, 0);
    for (number, group) in groups.iter().enumerate() {
        let mut worst = Worst::default();
        for client in 0..group.clients {
            worst.add(&admissions(number, client, sent, answers), group.window, changes);
        }
        let excess = |most: u32| most.saturating_sub(group.window.limit);
        let bound = group.unseen();
        eprintln!(
            "{}: most above the limit: {} touching the loss (bound {bound}), {} touching the return, {} else",
            group.name(),
            excess(worst.lost),
            excess(worst.back),
            excess(worst.outside)
        );
        outside = outside.max(excess(worst.outside));
        back = back.max(excess(worst.back));
        over = over.max(excess(worst.lost).saturating_sub(bound));
        if bound == 0 {
            everywhere = everywhere.max(excess(worst.lost));
        }
    }
    let bar =
        |name: &str, value: u32| Bar::at_most(format!("outage: {name}"), f64::from(value), "units", 0.0);
    vec![
        bar("most above a limit, windows before, between and after", outside),
        bar("most above a limit, windows that touch the return", back),
        bar("most above the bound, windows that touch the loss", over),
        bar("most above a limit, the same, clients known to all nodes", everywhere),
    ]
}

fn admissions(number: usize, client: u32, sent: &[Sent], answers: &[Answer]) -> Vec<Admitted> {
    let mine = sent.iter().zip(answers).filter(|((group, who, _), _)| (*group, *who) == (number, client));
    let mut times: Vec<Admitted> = mine
        .filter(|(_, answer)| answer.decision.is_admitted())
        .map(|(_, answer)| answer.decision.at)
        .collect();
    times.sort_unstable();
    times
}

/// Refusals of clients that keep to what they may.
fn behaved(groups: &[Group], sent: &[Sent], answers: &[Answer]) -> Vec<Bar> {
    let refused = |kind: Kind| {
        let all = sent.iter().zip(answers).filter(|((group, _, _), _)| groups[*group].kind == kind);
        let (mut asked, mut refused) = (0_u64, 0_u64);
        for (_, answer) in all {
            asked += 1;
            refused += u64::from(!answer.decision.is_admitted());
        }
        (real(asked), real(refused))
    };
    let (spread, sticky, half) = (refused(Kind::Spread), refused(Kind::Sticky), refused(Kind::StickyHalf));
    vec![
        Bar::info("outage: requests of clients that behave", spread.0 + sticky.0, ""),
        Bar::at_most("outage: refused, at half the limit over all nodes", spread.1, "", 0.0),
        Bar::at_most("outage: refused, at 0.3 of the limit at one node", sticky.1, "", 0.0),
        Bar::info(
            "outage: refused, at half the limit at one node (share: a third)",
            100.0 * half.1 / half.0,
            "%",
        ),
    ]
}

/// How wrong the times were that nodes stamped by themselves.
fn clock_error(answers: &[Answer]) -> Bar {
    let alone = answers.iter().filter(|answer| answer.at_once && answer.decision.is_admitted());
    let worst = alone.map(|answer| answer.decision.at.abs_diff(answer.asked)).max().unwrap_or_default();
    Bar::info("outage: largest error of a stamp that a node made", real(worst) / 1e3, "ms")
}

/// Admissions of clients after they were blocked.
fn still_blocked(groups: &[Group], sent: &[Sent], answers: &[Answer]) -> Bar {
    let mut forgotten = 0;
    for (number, group) in groups.iter().enumerate() {
        if !matches!(group.kind, Kind::Blocked | Kind::BlockedElsewhere) {
            continue;
        }
        for client in 0..group.clients {
            let mine =
                || sent.iter().zip(answers).filter(|((group, who, _), _)| (*group, *who) == (number, client));
            let begin = mine()
                .filter(|(_, answer)| answer.decision.verdict == Verdict::Refused(Refusal::BlockedNow))
                .map(|(_, answer)| answer.decision.at)
                .min();
            let after = |at: u64| begin.is_none_or(|begin| at > begin);
            // Who was never blocked counts with everything.
            forgotten += mine()
                .filter(|(_, answer)| answer.decision.is_admitted() && after(answer.decision.at))
                .count();
        }
    }
    Bar::at_most("outage: admitted while blocked", real(forgotten as u64), "", 0.0)
}

/// How long decisions took before, while Redis went and came, and after.
fn latencies(answers: &[Answer], marks: Marks) -> Vec<Bar> {
    let p99 = |wanted: &dyn Fn(u64) -> bool| {
        let mut times: Vec<Duration> =
            answers.iter().filter(|answer| wanted(answer.decision.at)).map(|answer| answer.took).collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let within = |from: u64, at: u64| (from..from + micros(DURING)).contains(&at);
    let before = p99(&|at| at < marks.lost);
    let lost = p99(&|at| within(marks.lost, at));
    let back = p99(&|at| within(marks.back, at));
    let after = p99(&|at| at > marks.up + micros(DURING));
    vec![
        Bar::info("outage: p99 of a decision, before", before, "ms"),
        Bar::at_most("outage: p99 of a decision, 2 s from the loss", lost, "ms", P99_MS),
        Bar::at_most("outage: p99 of a decision, 2 s from the return", back, "ms", P99_MS),
        Bar::info("outage: p99 of a decision, after", after, "ms"),
        Bar::at_most("outage: p99 after, of that before", after / before.max(0.001), "", AS_BEFORE),
    ]
}
