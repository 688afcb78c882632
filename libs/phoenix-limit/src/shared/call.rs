//! What is asked of Redis and what it answers: names of keys, arguments of the scripts, and their replies. Does not send
//! anything and knows no state.

use std::time::Duration;

use redis::{Cmd, Value};

use super::script::Scripts;
use crate::{Decision, Key, Mode, Refusal, Rule, Ticket, Verdict};

/// Integers before the answers in a reply of the deciding script.
const HEAD: usize = 6;
/// Integers of an answer.
const ANSWER: usize = 5;

/// Names that a key has in Redis.
#[derive(Clone, Debug)]
pub(super) struct Names {
    log: String,
    meta: String,
    registry: String,
    /// The key in messages, with the installation and the number of resets: what was said before one does not count after it.
    id: String,
}

/// The partition of a key.
pub(super) fn partition(key: Key, partitions: u32) -> u32 {
    u32::try_from(key.name() % u128::from(partitions.max(1))).unwrap_or_default()
}

/// One partition of one installation. Its keys are in one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) installation: u32,
    pub(super) partition: u32,
}

impl Place {
    fn name(self, rest: std::fmt::Arguments<'_>) -> String {
        let Self { installation, partition } = self;
        format!("phl:{installation:08x}:{{p{partition}}}:{rest}")
    }

    /// What all of its nodes must agree on.
    pub(super) fn registry(self) -> String {
        self.name(format_args!("r"))
    }

    /// Its nodes.
    pub(super) fn nodes(self) -> String {
        self.name(format_args!("nodes"))
    }
}

/// The key of the hash in which the nodes of an installation leave signs of life: its values are
/// `microseconds:standing`. For tools that look at Redis.
#[must_use]
pub fn nodes_key(installation: u32) -> String {
    Place { installation, partition: 0 }.nodes()
}

/// Names a node in Redis.
pub(super) fn node_name(node: u64) -> String {
    format!("{node:016x}")
}

impl Names {
    /// A reset of everything changes all names, so that what was before is never asked again and ends by itself.
    pub(super) fn new(key: Key, place: Place, resets: u64) -> Self {
        let log = place.name(format_args!("{resets}:{:032x}", key.name()));
        Self {
            meta: format!("{log}:m"),
            log,
            registry: place.registry(),
            id: format!("{:08x}{resets}:{:032x}{:016x}", place.installation, key.name(), key.neighbourhood()),
        }
    }
}

/// What one request asks of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) cost: u32,
    /// `None` only looks.
    pub(super) mode: Option<Mode>,
}

/// A lease that ended: what it had reserved, and what of it was spent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Settlement {
    /// Stamp at which it was given; zero for none.
    pub(super) lease: u64,
    pub(super) reserved: u32,
    /// One stamp a unit, ascending.
    pub(super) spent: Vec<u64>,
}

/// One call of the deciding script.
pub(super) struct Ask<'a> {
    pub(super) names: &'a Names,
    /// Generation of the partition and number of resets.
    pub(super) state: &'a str,
    pub(super) node: &'a str,
    pub(super) rule: &'a Rule,
    pub(super) requests: &'a [Request],
    /// Units wanted on lease, zero for none.
    pub(super) want: u32,
    pub(super) term: Duration,
    pub(super) settlement: &'a Settlement,
}

/// Microseconds, as Redis counts.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Ask<'_> {
    /// The command.
    pub(super) fn command(&self, scripts: &Scripts) -> Cmd {
        let names = self.names;
        let mut call = scripts.decide.call(&[&names.log, &names.meta, &names.registry]);
        call.arg(self.state).arg(self.node).arg(&names.id).arg(self.rule.block().map_or(0, micros));
        call.arg(self.rule.windows().len());
        for window in self.rule.windows() {
            call.arg(window.limit).arg(micros(window.span));
        }
        call.arg(self.requests.len());
        for request in self.requests {
            let mode = match request.mode {
                Some(Mode::Count) => 0,
                Some(Mode::Reserve) => 1,
                None => 2,
            };
            call.arg(request.cost).arg(mode);
        }
        call.arg(self.want).arg(micros(self.term));
        call.arg(self.settlement.lease).arg(self.settlement.reserved);
        for stamp in &self.settlement.spent {
            call.arg(*stamp);
        }
        call
    }
}

/// What the deciding script said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Decided.
    Decided(Decided),
    /// The partition is not in the state that the node knows: it lost what it held, or everything was reset.
    OtherState(String),
}

/// Decisions, and what goes with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Decided {
    /// Redis' clock, in microseconds.
    pub(super) now: u64,
    /// The end of the key's block, if it is blocked.
    pub(super) blocked_until: Option<u64>,
    /// What this node may admit without asking if Redis is lost.
    pub(super) escrow: u32,
    /// Units given on lease.
    pub(super) leased: u32,
    /// Until when.
    pub(super) lease_end: u64,
    /// One for each request.
    pub(super) decisions: Vec<Decision>,
}

/// Reads a reply to [`Ask::command`]; `None` if it is not one.
pub(super) fn read_answer(reply: &Value, key: Key, requests: &[Request]) -> Option<Answer> {
    let Value::Array(values) = reply else { return None };
    if integer(values.first()?)? != 0 {
        return Some(Answer::OtherState(text(values.get(1)?)?));
    }
    if values.len() != HEAD + ANSWER * requests.len() {
        return None;
    }
    let numbers = values.iter().map(integer).collect::<Option<Vec<u64>>>()?;
    let now = numbers[1];
    let decisions = requests
        .iter()
        .zip(numbers[HEAD..].chunks_exact(ANSWER))
        .map(|(request, answer)| read_decision(answer, key, request.cost, now))
        .collect::<Option<Vec<_>>>()?;
    Some(Answer::Decided(Decided {
        now,
        blocked_until: (numbers[2] > 0).then_some(numbers[2]),
        escrow: u32::try_from(numbers[3]).ok()?,
        leased: u32::try_from(numbers[4]).ok()?,
        lease_end: numbers[5],
        decisions,
    }))
}

fn read_decision(answer: &[u64], key: Key, cost: u32, at: u64) -> Option<Decision> {
    let &[status, window, remaining, reset, retry] = answer else { return None };
    let verdict = match status {
        0 => Verdict::Admitted(Ticket { key, at, cost }),
        1 => Verdict::Refused(Refusal::Exceeded),
        2 => Verdict::Refused(Refusal::BlockedNow),
        3 => Verdict::Refused(Refusal::Blocked),
        4 => Verdict::Refused(Refusal::Reserved),
        _ => return None,
    };
    Some(Decision {
        verdict,
        window: usize::try_from(window).ok()?,
        remaining: u32::try_from(remaining).ok()?,
        reset_after: Duration::from_micros(reset),
        retry_after: Duration::from_micros(retry),
        at,
    })
}

/// What is done to the units of a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settle {
    Confirm,
    Refund,
}

/// Confirms or takes back an admission.
pub(super) fn settle(scripts: &Scripts, names: &Names, what: Settle, node: &str, ticket: Ticket) -> Cmd {
    let mut call = scripts.settle.call(&[&names.log, &names.meta]);
    call.arg(if what == Settle::Confirm { "c" } else { "r" });
    call.arg(ticket.at).arg(node).arg(ticket.cost).arg(&names.id);
    call
}

/// What is done to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Block(Duration),
    Lift,
    Reset,
}

/// Blocks, lifts or resets.
pub(super) fn change(scripts: &Scripts, names: &Names, what: Change) -> Cmd {
    let mut call = scripts.change.call(&[&names.log, &names.meta]);
    match what {
        Change::Block(length) => call.arg("b").arg(&names.id).arg(micros(length)),
        Change::Lift => call.arg("l").arg(&names.id).arg(0),
        Change::Reset => call.arg("r").arg(&names.id).arg(0),
    };
    call
}

/// What a node has to put into the log of a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Entries {
    /// Stamps, ascending, one a unit, and whether it is pending.
    pub(super) units: Vec<(u64, bool)>,
    /// Length of the longest window.
    pub(super) span: Duration,
    /// End of the block and what is left of it.
    pub(super) block: Option<(u64, Duration)>,
}

/// Puts entries into the log.
pub(super) fn merge(scripts: &Scripts, names: &Names, node: &str, entries: &Entries) -> Cmd {
    /// Beyond the end of what a key stands for, in milliseconds: the same as in `decide.lua`.
    const LIFE_MARGIN_MS: u64 = 1_000;
    let life = |span: Duration| micros(span).div_ceil(1_000) + LIFE_MARGIN_MS;
    let (until, left) = entries.block.unwrap_or_default();
    let mut call = scripts.merge.call(&[&names.log, &names.meta]);
    call.arg(node).arg(life(entries.span)).arg(until).arg(life(left));
    for &(stamp, pending) in &entries.units {
        call.arg(stamp).arg(if pending { "p" } else { "" });
    }
    call
}

/// A sign of life. `standing` is what the others are told; `-` leaves.
pub(super) fn heartbeat(
    scripts: &Scripts,
    place: Place,
    node: &str,
    standing: &str,
    beat: &Beat<'_>,
    known: &Known<'_>,
) -> Cmd {
    let mut call = scripts.heartbeat.call(&[&place.registry(), &place.nodes()]);
    call.arg(node).arg(standing).arg(micros(beat.timeout)).arg(beat.generation).arg(beat.resets);
    call.arg(known.generation).arg(known.last);
    call
}

/// What goes with every sign of life.
pub(super) struct Beat<'a> {
    /// A node silent for so long is dead.
    pub(super) timeout: Duration,
    /// Name for a Redis that has none.
    pub(super) generation: &'a str,
    pub(super) resets: u64,
}

/// What a node knows of the Redis of a partition. The default is nothing.
#[derive(Default)]
pub(super) struct Known<'a> {
    pub(super) generation: &'a str,
    /// Redis' clock at the node's last sign of life that was answered, in microseconds.
    pub(super) last: u64,
}

/// What the registry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Registry {
    /// Redis' clock, in microseconds.
    pub(super) now: u64,
    /// `<generation>.<number of resets>`.
    pub(super) state: String,
    /// This node's sign of life before this one, on Redis' clock in microseconds; zero if it knows of none.
    pub(super) before: u64,
    /// Living nodes and how they stand.
    pub(super) nodes: Vec<(u64, String)>,
}

/// Reads a reply to [`heartbeat`].
pub(super) fn read_registry(reply: &Value) -> Option<Registry> {
    let Value::Array(values) = reply else { return None };
    let [now, state, before, nodes @ ..] = values.as_slice() else { return None };
    let nodes = nodes
        .chunks_exact(2)
        .map(|pair| Some((u64::from_str_radix(&text(&pair[0])?, 16).ok()?, text(&pair[1])?)))
        .collect::<Option<Vec<_>>>()?;
    Some(Registry { now: integer(now)?, state: text(state)?, before: integer(before)?, nodes })
}

/// The generation in the state of a partition; of no state, an empty one.
pub(super) fn generation_of(state: &str) -> &str {
    state.rsplit_once('.').map_or("", |(generation, _)| generation)
}

/// How often everything was reset, by the state of a partition.
pub(super) fn resets_of(state: &str) -> Option<u64> {
    state.rsplit_once('.')?.1.parse().ok()
}

/// An integer from zero.
pub(super) fn integer(value: &Value) -> Option<u64> {
    if let Value::Int(number) = value { u64::try_from(*number).ok() } else { None }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
