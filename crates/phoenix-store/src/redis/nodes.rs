//! The nodes of a cluster as the cluster itself names them (`CLUSTER SLOTS`).

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value};

/// Nodes that are looked at; clusters are said to work up to 1000.
pub(super) const MOST_NODES: usize = 1000;

/// Host and port of a node.
pub(super) type Place = (String, u16);

/// Who serves the slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterNodes {
    masters: BTreeSet<Place>,
    replicas: BTreeSet<Place>,
}

impl ClusterNodes {
    /// Asks any node.
    pub(super) async fn ask(connection: &mut ClusterConnection) -> Result<Self, RedisError> {
        Ok(Self::of(redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await?))
    }

    /// A row is the first slot, the last slot, the master, its replicas. A node is its host, its port, and more. What
    /// has another form is left out, and so is a node that does not know its own address.
    fn of(rows: Vec<Vec<Value>>) -> Self {
        let mut nodes = Self::default();
        for row in rows {
            let mut row = row.into_iter().skip(2).map(|node| place(node, None));
            nodes.masters.extend(row.next().flatten());
            nodes.replicas.extend(row.flatten());
            if nodes.masters.len() + nodes.replicas.len() >= MOST_NODES {
                break;
            }
        }
        nodes
    }

    /// Sends `PING` to each master. The driver's own `PING` to all masters skips those it has no connection to.
    pub(super) async fn all_masters_answer(&self, connection: &ClusterConnection) -> Result<(), RedisError> {
        let pings = self.masters.iter().map(|(host, port)| {
            let mut connection = connection.clone();
            let to = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
            async move { connection.route_command(redis::cmd("PING"), RoutingInfo::SingleNode(to)).await }
        });
        try_join_all(pings).await.map(|_pongs| ())
    }

    /// How to connect to them, with the credentials that were used so far.
    pub(super) fn with_settings_of(&self, seeds: &[ConnectionInfo]) -> Vec<ConnectionInfo> {
        let Some(seed) = seeds.first() else { return Vec::new() };
        self.masters.iter().chain(&self.replicas).filter_map(|place| at(place, seed)).collect()
    }
}

/// How to connect to this place, with the settings of the seed.
pub(super) fn at((host, port): &Place, seed: &ConnectionInfo) -> Option<ConnectionInfo> {
    let info = ConnectionAddr::Tcp(host.clone(), *port).into_connection_info().ok()?;
    let settings = seed.redis_settings().clone();
    Some(info.set_redis_settings(settings).set_tcp_settings(seed.tcp_settings().clone()))
}

/// A node's host and port; `asked`, if given, is the host of a node that names none.
pub(super) fn place(node: Value, asked: Option<&str>) -> Option<Place> {
    let Value::Array(fields) = node else { return None };
    let mut fields = fields.into_iter();
    let host: Option<String> = redis::from_redis_value(fields.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty()).or_else(|| asked.map(str::to_owned))?;
    // The driver would cut a number that is too large.
    let port: i64 = redis::from_redis_value(fields.next()?).ok()?;
    let port = u16::try_from(port).ok()?;
    (host != "?").then_some((host, port))
}

#[cfg(test)]
mod tests {
    use redis::{IntoConnectionInfo, Value};

    use super::ClusterNodes;

    fn node(host: &str, port: i64) -> Value {
        let id = Value::BulkString(b"0123".to_vec());
        Value::Array(vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
            id,
            Value::Array(vec![]),
        ])
    }

    fn row(nodes: Vec<Value>) -> Vec<Value> {
        [Value::Int(0), Value::Int(99)].into_iter().chain(nodes).collect()
    }

    #[test]
    fn masters_come_first_in_a_row_and_nodes_count_once() {
        let nodes = ClusterNodes::of(vec![
            row(vec![node("a", 1), node("b", 2), node("c", 3)]),
            row(vec![node("a", 1), node("b", 2)]),
            row(vec![node("d", 4)]),
        ]);
        assert_eq!(nodes.masters, [("a".to_owned(), 1), ("d".to_owned(), 4)].into());
        assert_eq!(nodes.replicas, [("b".to_owned(), 2), ("c".to_owned(), 3)].into());
        let seed = "redis://:secret@z:9".into_connection_info().expect("an address");
        let infos = nodes.with_settings_of(&[seed]);
        assert_eq!(infos.len(), 4);
        assert_eq!(infos[1].addr().to_string(), "d:4");
        assert!(infos.iter().all(|info| info.redis_settings().password() == Some("secret")));
    }

    #[test]
    fn garbage_and_unknown_addresses_are_left_out() {
        let nodes = ClusterNodes::of(vec![
            vec![],
            vec![Value::Int(0)],
            row(vec![]),
            row(vec![
                Value::Nil,
                node("", 1),
                node("?", 1),
                node("b", 70_000),
                node("b", -1),
                Value::Array(vec![]),
            ]),
            row(vec![Value::Array(vec![Value::Nil, Value::Int(3)])]),
        ]);
        assert_eq!(nodes, ClusterNodes::default());
        let many = (0..5000).map(|number| row(vec![node("a", number)])).collect();
        assert_eq!(ClusterNodes::of(many).masters.len(), super::MOST_NODES);
    }
}
