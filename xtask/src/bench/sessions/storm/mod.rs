//! The storm: sessions are hammered through all nodes while they are revoked and something is broken. What must never
//! happen is an answer 200 to a request that was sent later than the bound after the revoke was acknowledged.
//!
//! Rounds go on [`ROUNDS_AT_ONCE`] at a time, in periods: the rounds of a period share the nodes and one fault, and
//! each has a session, clients and a revoke of its own. A period goes like this:
//! 1. every slot signs in, and every node is asked until it answers from its own memory;
//! 2. the clients start, and each is accepted;
//! 3. the fault begins; some periods wait a little, some longer than the bound, so that leases have run out;
//! 4. the sessions are revoked, spread over a quarter of the bound, at different nodes, never at one that is cut from
//!    the database;
//! 5. some periods mend the fault half a bound after that, so that what was held back arrives within the round;
//! 6. the clients go on until the bound and a little more have passed, and finish what they have begun;
//! 7. the fault ends, and all nodes have to call themselves well.

mod clients;
mod judge;
mod subject;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use phoenix_testkit::http::Client;
use tokio::task::JoinSet;

use super::cluster::{Cluster, NODES, Node};
use super::fault::{self, Cut, Fault};
use crate::bench::load::{Asker, Expect};
use clients::Clients;
use judge::{Revoke, judge};

pub(super) use subject::{Everywhere, OneSession, SignedIn, StackSession, Subject};
pub use tally::Tally;

/// Rounds that go on at the same time, under the same fault.
pub(super) const ROUNDS_AT_ONCE: usize = 6;
/// Between the beginning of a fault and the first revoke, in periods that do not wait for leases to run out.
const SHORT_LEAD: Duration = Duration::from_millis(60);
/// Clients go on so long after the bound.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// Longest time until a session is answered from the memory of every node.
const WARM: Duration = Duration::from_secs(10);
/// Longest time for a revoke.
const REVOKE: Duration = Duration::from_secs(20);

/// One period.
#[derive(Clone, Copy, Debug)]
struct Period {
    number: usize,
    fault: Fault,
    cut: Cut,
    /// From the beginning of the fault to the first revoke.
    lead: Duration,
    /// The fault ends within the rounds, not after them.
    mends_within: bool,
}

impl Period {
    /// Goes through the faults, and for each through nodes, ways and times.
    fn new(number: usize, bound: Duration) -> Self {
        let (index, turn) = (number % Fault::ALL.len(), number / Fault::ALL.len());
        let fault = Fault::ALL[index];
        let variant = turn + index;
        let long = variant.is_multiple_of(2) && fault != Fault::None;
        Self {
            number,
            fault,
            cut: Cut { node: turn % NODES, silent: (turn / 2 + index).is_multiple_of(2) },
            lead: if long { bound + SHORT_LEAD } else { SHORT_LEAD },
            mends_within: (variant / 2).is_multiple_of(2),
        }
    }

    /// The node that does not reach the database.
    fn without_database(&self) -> Option<usize> {
        (self.fault == Fault::CutFromDatabase).then_some(self.cut.node)
    }

    /// The node at which the session of `slot` is revoked.
    fn revokes_at(&self, slot: usize) -> usize {
        match self.without_database() {
            Some(cut) => (cut + 1 + slot % (NODES - 1)) % NODES,
            None => (self.number + slot) % NODES,
        }
    }
}

/// Runs `rounds` rounds, or a few more to fill the last period. `bound` is what the nodes are configured with.
///
/// # Errors
/// When a round cannot be held: nobody can sign in, or the nodes do not recover. What the clients see is no error.
pub(super) async fn run(
    cluster: &Arc<Cluster>,
    subject: &dyn Subject,
    rounds: usize,
    bound: Duration,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let periods = rounds.div_ceil(ROUNDS_AT_ONCE);
    for number in 0..periods {
        let period = Period::new(number, bound);
        let held = hold(cluster, subject, period, bound, &mut tally).await;
        held.with_context(|| format!("period {number} of {}: {period:?}", subject.name()))?;
        if (number + 1).is_multiple_of(Fault::ALL.len()) {
            eprintln!("{}: {} of {rounds} rounds, {} late", subject.name(), tally.rounds(), tally.late());
        }
    }
    tally.show(subject.name());
    Ok(tally)
}

/// One period.
async fn hold(
    cluster: &Arc<Cluster>,
    subject: &dyn Subject,
    period: Period,
    bound: Duration,
    tally: &mut Tally,
) -> Result<()> {
    let epoch = Instant::now();
    let signed_in = sign_in(cluster, subject).await?;
    let clients: Vec<Clients> =
        signed_in.iter().map(|signed_in| Clients::start(cluster, signed_in, epoch)).collect();
    for clients in &clients {
        clients.all_accepted().await?;
    }
    blocking(cluster, period, fault::begin).await?;
    tokio::time::sleep(period.lead).await;
    let revokes = start_revokes(cluster, &signed_in, period, bound, epoch);
    if period.mends_within {
        tokio::time::sleep(bound / 4 + bound / 2).await;
        blocking(cluster, period, fault::end).await?;
    }
    let revokes = revokes.join_all().await;
    let last = revokes.iter().filter_map(|(_, revoke)| Some(revoke.as_ref().ok()?.acknowledged)).max();
    let end = last.context("no revoke was acknowledged")? + bound + AFTERWARDS;
    tokio::time::sleep(end.saturating_sub(epoch.elapsed())).await;
    if !period.mends_within {
        blocking(cluster, period, fault::end).await?;
    }
    let mended = Instant::now();
    let mut logs = Vec::new();
    for clients in clients {
        logs.push(clients.finish().await?);
    }
    for (slot, revoke) in revokes {
        match revoke {
            Ok(revoke) => {
                let verdict = judge(&logs[slot], revoke, bound, NODES, period.without_database());
                tally.judged(period.fault, verdict);
            }
            Err(error) => {
                eprintln!("a revoke under \"{}\" was not acknowledged: {error:#}", period.fault.name());
                tally.unacknowledged(period.fault);
            }
        }
    }
    cluster.recover().await?;
    tally.recovered(period.fault, mended.elapsed());
    Ok(())
}

/// Signs every slot in, and asks every node until it answers from its memory.
async fn sign_in(cluster: &Cluster, subject: &dyn Subject) -> Result<Vec<SignedIn>> {
    let nodes: Vec<Client> = cluster.nodes.iter().map(Node::client).collect();
    let mut all = Vec::new();
    for slot in 0..ROUNDS_AT_ONCE {
        let signed_in = subject.sign_in(&nodes[slot % NODES], slot).await?;
        ensure!(!signed_in.asks.is_empty(), "a subject has a session");
        all.push(signed_in);
    }
    let expect = Expect::status(200).with_header("x-cache-hit", "l1");
    for (number, node) in cluster.nodes.iter().enumerate() {
        let mut asker = Asker::new(node.address(), WARM);
        for ask in all.iter().flat_map(|signed_in| &signed_in.asks) {
            let start = Instant::now();
            while !asker.ask(ask, &expect).await?.good {
                ensure!(start.elapsed() < WARM, "node {number} does not answer a session from memory");
            }
        }
    }
    Ok(all)
}

/// Revokes each session at its own moment.
fn start_revokes(
    cluster: &Cluster,
    signed_in: &[SignedIn],
    period: Period,
    bound: Duration,
    epoch: Instant,
) -> JoinSet<(usize, Result<Revoke>)> {
    let step = bound / 4 / u32::try_from(ROUNDS_AT_ONCE).unwrap_or(1);
    let mut revokes = JoinSet::new();
    for (slot, wait) in (0..signed_in.len()).zip((0..).map(|number| step * number)) {
        let node = period.revokes_at(slot);
        let mut asker = Asker::new(cluster.nodes[node].address(), REVOKE);
        let request = signed_in[slot].revoke.clone();
        revokes.spawn(async move {
            tokio::time::sleep(wait).await;
            let sent = epoch.elapsed();
            let answer = asker.ask(&request, &Expect::status(200)).await;
            let acknowledged = epoch.elapsed();
            let revoke = answer.and_then(|answer| {
                ensure!((200..300).contains(&answer.status), "status {}", answer.status);
                Ok(Revoke { node, sent, acknowledged })
            });
            (slot, revoke)
        });
    }
    revokes
}

/// Breaks or mends, away from the thread that the clients share.
async fn blocking(
    cluster: &Arc<Cluster>,
    period: Period,
    act: fn(Fault, &Cluster, Cut) -> Result<()>,
) -> Result<()> {
    let cluster = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || act(period.fault, &cluster, period.cut)).await?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Fault, NODES, Period, ROUNDS_AT_ONCE};

    #[test]
    fn nobody_revokes_where_the_database_is_not_reached() {
        for number in 0..1000 {
            let period = Period::new(number, Duration::from_secs(1));
            for slot in 0..ROUNDS_AT_ONCE {
                assert!(period.revokes_at(slot) < NODES);
                assert_ne!(Some(period.revokes_at(slot)), period.without_database());
            }
        }
    }

    #[test]
    fn every_fault_meets_every_node_every_way_and_all_times() {
        let mut seen = BTreeSet::new();
        for number in 0..500_usize.div_ceil(ROUNDS_AT_ONCE) {
            let Period { fault, cut, lead, mends_within, .. } = Period::new(number, Duration::from_secs(1));
            seen.insert((fault.name(), "node", cut.node));
            seen.insert((fault.name(), "silent", usize::from(cut.silent)));
            let times = usize::from(lead > Duration::from_secs(1)) * 2 + usize::from(mends_within);
            seen.insert((fault.name(), "times", times));
        }
        // Nothing broken has nothing to wait for.
        assert_eq!(seen.len(), Fault::ALL.len() * (NODES + 2 + 4) - 2);
    }
}
