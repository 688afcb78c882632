//! A private Redis Cluster: three masters with a replica each, which fails over within about two seconds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Builder, Redis, START_BOUND};
use crate::certificates::Authority;
use crate::{port, wait};

const MASTERS: usize = 3;
const SLOTS: usize = 16384;
/// A node that does not answer for this long is taken for dead. Large enough for a loaded machine.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running cluster. Dropping it ends all nodes.
#[derive(Debug)]
pub struct Cluster {
    /// The first three started as masters; number n + 3 started as the replica of number n.
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts six nodes and joins them; returns when every slot is served and every replica follows its master.
    ///
    /// # Errors
    /// When a node does not start, or is older than Redis 7.
    ///
    /// # Panics
    /// When the nodes do not agree within 30 seconds.
    pub fn start() -> Result<Self> {
        Self::of(Redis::builder)
    }

    /// The same with nodes that speak TLS, among themselves and with clients, and have certificates for 127.0.0.1.
    ///
    /// # Errors
    /// See [`Self::start`].
    ///
    /// # Panics
    /// See [`Self::start`].
    pub fn start_with_tls(authority: &Authority) -> Result<Self> {
        Self::of(|| Redis::builder().tls(authority.issue_local(), authority))
    }

    fn of(builder: impl Fn() -> Builder) -> Result<Self> {
        let nodes: Vec<Redis> = (0..MASTERS * 2).map(|_| start_node(builder())).collect::<Result<_>>()?;
        let cluster = Self { nodes };
        cluster.join()?;
        Ok(cluster)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Address for a client: all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// Address for a client that speaks TLS: all nodes.
    #[must_use]
    pub fn tls_url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| node.tls_address().to_string()).collect();
        format!("rediss-cluster://{}", hosts.join(","))
    }

    /// The node that is the master of this key's slot, as the node at `asked` sees it.
    ///
    /// # Errors
    /// When that node does not answer.
    pub fn master_of(&self, key: &str, asked: usize) -> Result<usize> {
        let slot: usize = number(&self.nodes[asked].command(&["CLUSTER", "KEYSLOT", key])?)?;
        let nodes = self.nodes[asked].command(&["CLUSTER", "NODES"])?;
        let line = nodes.lines().find(|line| line.contains("master") && serves(line, slot));
        let address: SocketAddr = line
            .and_then(|line| line.split([' ', '@']).nth(1))
            .with_context(|| format!("no master of slot {slot} in {nodes}"))?
            .parse()?;
        self.nodes.iter().position(|node| node.address() == address).context("an address of the cluster")
    }

    fn join(&self) -> Result<()> {
        let (first, rest) = self.nodes.split_first().context("a cluster has nodes")?;
        for (number, node) in self.nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        for (number, node) in self.nodes[..MASTERS].iter().enumerate() {
            let (from, to) = (SLOTS * number / MASTERS, SLOTS * (number + 1) / MASTERS - 1);
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()])?;
        }
        for node in rest {
            let bus = node.command(&["CONFIG", "GET", "cluster-port"])?;
            let bus = bus.lines().last().context("a value")?;
            let port = if node.tls_port == 0 { node.port } else { node.tls_port };
            first.command(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string(), bus])?;
        }
        self.until("all nodes to know each other", |node| {
            node.command(&["CLUSTER", "INFO"])
                .is_ok_and(|info| info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6"))
        });
        for (master, replica) in self.nodes[..MASTERS].iter().zip(&self.nodes[MASTERS..]) {
            let id = master.command(&["CLUSTER", "MYID"])?;
            let id = id.lines().last().context("an id")?.to_owned();
            wait::for_some_blocking(START_BOUND, "the replica to be told its master", || {
                replica.command(&["CLUSTER", "REPLICATE", &id]).ok()
            });
        }
        for replica in &self.nodes[MASTERS..] {
            wait::until_blocking(START_BOUND, "the replica to follow its master", || {
                replica
                    .command(&["INFO", "replication"])
                    .is_ok_and(|info| info.contains("master_link_status:up"))
            });
        }
        self.until("all nodes to know of the replicas", |node| {
            node.command(&["CLUSTER", "NODES"]).is_ok_and(|nodes| nodes.matches("slave").count() == MASTERS)
        });
        Ok(())
    }

    fn until(&self, what: &str, condition: impl Fn(&Redis) -> bool) {
        wait::until_blocking(START_BOUND, what, || self.nodes.iter().all(&condition));
    }
}

fn start_node(builder: Builder) -> Result<Redis> {
    let node = builder
        .setting("cluster-enabled", "yes")
        .setting("cluster-port", &port::free().to_string())
        .setting("cluster-node-timeout", &NODE_TIMEOUT.as_millis().to_string())
        // A replica may take over however long it has lost its master.
        .setting("cluster-replica-validity-factor", "0")
        .setting("cluster-allow-replica-migration", "no")
        .setting("repl-diskless-sync-delay", "0")
        .start()
        .context("start a cluster node (Redis 7 or later)")?;
    ensure!(node.command(&["CLUSTER", "INFO"])?.contains("cluster_known_nodes:1"), "a fresh node is alone");
    Ok(node)
}

/// The number in an integer reply.
fn number(reply: &str) -> Result<usize> {
    reply.trim_start_matches(':').parse().with_context(|| format!("{reply} is no number"))
}

/// Whether this line of `CLUSTER NODES` lists the slot.
fn serves(line: &str, slot: usize) -> bool {
    line.split(' ').skip(8).any(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse::<usize>().is_ok_and(|from| from <= slot) && to.parse::<usize>().is_ok_and(|to| slot <= to)
    })
}
