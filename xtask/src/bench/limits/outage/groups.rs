//! Clients of the outage: who asks which nodes how often, before Redis is lost and after. Does not judge.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use phoenix_limit::{Keyer, Rule, Window};

use super::super::SECRET;
use super::super::trio::{Ask, NODES};
use crate::bench::zipf::Random;

/// How the clients of a group behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Three times the limit, all nodes, all the time.
    Everywhere,
    /// Near the limit at one node; from the loss on three times the limit at all nodes.
    Elsewhere,
    /// Three times the limit at all nodes, but only from the loss on.
    Fresh,
    /// Half the limit, the nodes in turn.
    Spread,
    /// A little less than a node's share of the limit, always at one node.
    Sticky,
    /// Half the limit, always at one node: more than its share.
    StickyHalf,
    /// Blocked soon; goes on asking all nodes.
    Blocked,
    /// Blocked soon at one node; from the loss on it asks the others.
    BlockedElsewhere,
}

/// Longer than any run.
const BLOCK: Duration = Duration::from_mins(30);

/// Clients of one kind under one rule.
pub(super) struct Group {
    pub(super) kind: Kind,
    pub(super) window: Window,
    pub(super) rule: Arc<Rule>,
    pub(super) clients: u32,
}

/// Moments of the run, since its begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) lost: Duration,
    pub(super) back: Duration,
    pub(super) end: Duration,
}

/// A request, and whose it is: group and client.
pub(super) type Sent = (usize, u32, Ask);

/// All groups: small limits in a short and in a long window, and a limit with room for leases.
pub(super) fn groups(short: Duration, long: Duration) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    let mut add = |kind, limit, span, clients| -> Result<()> {
        let window = Window { limit, span };
        let block = matches!(kind, Kind::Blocked | Kind::BlockedElsewhere).then_some(BLOCK);
        groups.push(Group { kind, window, rule: Arc::new(Rule::new(&[window], block)?), clients });
        Ok(())
    };
    for (limit, span, clients) in [(30, short, 8), (100, long, 8), (600, short, 1)] {
        for kind in [Kind::Everywhere, Kind::Elsewhere, Kind::Fresh] {
            add(kind, limit, span, clients)?;
        }
        for kind in [Kind::Spread, Kind::Sticky, Kind::StickyHalf] {
            add(kind, limit, span, 2 * clients)?;
        }
    }
    add(Kind::Blocked, 5, short, 10)?;
    add(Kind::BlockedElsewhere, 5, short, 10)?;
    Ok(groups)
}

impl Group {
    /// In tables.
    pub(super) fn name(&self) -> String {
        format!("{:?}, {} per {:?}", self.kind, self.window.limit, self.window.span)
    }

    /// Most units above the limit that a window may hold which touches the loss: for each node that had not seen the
    /// client, its share.
    pub(super) fn unseen(&self) -> u32 {
        let share = self.window.limit.div_ceil(3);
        match self.kind {
            Kind::Elsewhere => 2 * share,
            Kind::Fresh => 3 * share,
            _ => 0,
        }
    }

    /// Parts of the limit asked for, and of which nodes, before the loss and after.
    const fn plan(&self) -> [(f64, Nodes); 2] {
        match self.kind {
            Kind::Everywhere | Kind::Blocked => [(3.0, Nodes::Any); 2],
            Kind::Elsewhere => [(0.9, Nodes::First), (3.0, Nodes::Any)],
            Kind::Fresh => [(0.0, Nodes::Any), (3.0, Nodes::Any)],
            Kind::Spread => [(0.5, Nodes::InTurn); 2],
            Kind::Sticky => [(0.3, Nodes::First); 2],
            Kind::StickyHalf => [(0.5, Nodes::First); 2],
            Kind::BlockedElsewhere => [(3.0, Nodes::First), (3.0, Nodes::Others)],
        }
    }

    const fn behaves(&self) -> bool {
        matches!(self.kind, Kind::Spread | Kind::Sticky | Kind::StickyHalf)
    }

    fn requests(&self, number: usize, client: u32, times: Times, random: &mut Random) -> Vec<Sent> {
        let key = Keyer::new(SECRET).key("outage", &[&number.to_le_bytes(), &client.to_le_bytes()], b"");
        let [before, after] = self.plan();
        let mut sent = Vec::new();
        let home = client as usize % NODES;
        for ((part, nodes), from, until) in
            [(before, Duration::ZERO, times.lost), (after, times.lost, times.end)]
        {
            if part == 0.0 {
                continue;
            }
            let gap = self.window.span.as_secs_f64() / f64::from(self.window.limit) / part;
            let mut due = from.as_secs_f64() + gap * random.unit();
            while due < until.as_secs_f64() {
                let node = nodes.choose(home, sent.len(), random);
                let due_at = Duration::from_secs_f64(due);
                let ask = Ask { due: due_at, node, key, rule: Arc::clone(&self.rule), cost: 1 };
                sent.push((number, client, ask));
                // Who behaves is regular within a tenth; others ask at random.
                let stretch =
                    if self.behaves() { 0.95 + 0.1 * random.unit() } else { -(1.0 - random.unit()).ln() };
                due += gap * stretch;
            }
        }
        sent
    }
}

/// Which nodes a client asks.
#[derive(Clone, Copy)]
enum Nodes {
    Any,
    InTurn,
    First,
    Others,
}

impl Nodes {
    fn choose(self, home: usize, nth: usize, random: &mut Random) -> usize {
        let draw =
            |most: usize, random: &mut Random| usize::try_from(random.next() % most as u64).unwrap_or(0);
        match self {
            Self::Any => draw(NODES, random),
            Self::InTurn => (home + nth) % NODES,
            Self::First => home,
            Self::Others => (home + 1 + draw(NODES - 1, random)) % NODES,
        }
    }
}

/// All requests, in the order of their times.
pub(super) fn schedule(groups: &[Group], times: Times) -> Vec<Sent> {
    let mut random = Random::new(11);
    let mut sent = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for client in 0..group.clients {
            sent.extend(group.requests(number, client, times, &mut random));
        }
    }
    sent.sort_by_key(|(_, _, ask)| ask.due);
    sent
}
