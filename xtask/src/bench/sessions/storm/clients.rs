//! The clients of one round: each asks one node for one session, again and again, and writes down what it saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::judge::{Log, Sample};
use super::subject::SignedIn;
use crate::bench::load::{Asker, Expect};
use crate::bench::sessions::cluster::{Cluster, NODES};

/// Clients of one round, over all nodes.
pub(super) const CLIENTS: usize = 8;
/// A client thinks so long between an answer and its next request.
const THINK: Duration = Duration::from_millis(4);
/// Longer than any time-out of a server, so that an answer that comes late is still seen.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longest time until every client has been accepted once.
const START: Duration = Duration::from_secs(10);

/// Clients at work.
pub(super) struct Clients {
    tasks: JoinSet<Log>,
    stop: Arc<AtomicBool>,
    accepted_once: Arc<AtomicUsize>,
}

impl Clients {
    /// Sends them off; times count from `epoch`.
    pub(super) fn start(cluster: &Cluster, signed_in: &SignedIn, epoch: Instant) -> Self {
        let mut clients = Self { tasks: JoinSet::new(), stop: Arc::default(), accepted_once: Arc::default() };
        for number in 0..CLIENTS {
            let node = number % NODES;
            // Every node is asked for every session.
            let session = (number / NODES) % signed_in.asks.len();
            let client = OneClient {
                asker: Asker::new(cluster.nodes[node].address(), PATIENCE),
                request: signed_in.asks[session].clone(),
                epoch,
                stop: Arc::clone(&clients.stop),
                accepted_once: Arc::clone(&clients.accepted_once),
            };
            clients.tasks.spawn(async move {
                Log {
                    node,
                    session,
                    samples: client.run(THINK * u32::try_from(number).unwrap_or(0) / 8).await,
                }
            });
        }
        clients
    }

    /// Returns when every client has been accepted.
    pub(super) async fn all_accepted(&self) -> Result<()> {
        let start = Instant::now();
        while self.accepted_once.load(Ordering::Relaxed) < CLIENTS {
            ensure!(start.elapsed() < START, "not every client was accepted within {START:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Lets every client finish its request and returns what they saw.
    pub(super) async fn finish(mut self) -> Result<Vec<Log>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut logs = Vec::with_capacity(CLIENTS);
        while let Some(log) = self.tasks.join_next().await {
            logs.push(log.context("a client panicked")?);
        }
        Ok(logs)
    }
}

struct OneClient {
    asker: Asker,
    request: Vec<u8>,
    epoch: Instant,
    stop: Arc<AtomicBool>,
    accepted_once: Arc<AtomicUsize>,
}

impl OneClient {
    async fn run(mut self, head_start: Duration) -> Vec<Sample> {
        let expect = Expect::status(200);
        let (mut samples, mut accepted) = (Vec::new(), false);
        // So that the clients of a node do not ask in step.
        tokio::time::sleep(head_start).await;
        while !self.stop.load(Ordering::Relaxed) {
            let sent = self.epoch.elapsed();
            let status = self.asker.ask(&self.request, &expect).await.ok().map(|answer| answer.status);
            samples.push(Sample { sent, answered: self.epoch.elapsed(), status });
            if status == Some(200) && !accepted {
                accepted = true;
                self.accepted_once.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(THINK).await;
        }
        samples
    }
}
