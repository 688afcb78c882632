//! Limits on a Redis Cluster: every key of a decision is where the others are.

use std::sync::Arc;

use async_trait::async_trait;
use phoenix_limit::{Link, LinkError, Mode, Source};
use phoenix_testkit::redis::Cluster;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisResult, Value};

use crate::nodes::{command, key, launch, rule};

/// The least that reaches a cluster.
struct ClusterLink(ClusterConnection);

#[async_trait]
impl Link for ClusterLink {
    async fn send(&self, commands: Vec<Cmd>) -> Vec<Result<Value, LinkError>> {
        let mut results = Vec::new();
        for command in commands {
            let result: RedisResult<Value> = command.query_async(&mut self.0.clone()).await;
            results.push(result.map_err(|error| match error.code() {
                Some(code) => LinkError::Refused { code: code.to_owned() },
                None => LinkError::Unreachable,
            }));
        }
        results
    }
}

// spec: R7
#[tokio::test]
async fn a_cluster_decides_exactly_and_forgets_everything_when_told() {
    let cluster = Cluster::start().expect("the cluster starts");
    let urls: Vec<String> = cluster.nodes().iter().map(phoenix_testkit::redis::Redis::url).collect();
    let mut nodes = Vec::new();
    let mut links: Vec<Arc<dyn Link>> = Vec::new();
    for number in 1..=2 {
        let client = ClusterClient::new(urls.clone()).expect("the addresses are good");
        let connection = client.get_async_connection().await.expect("the cluster answers");
        let link: Arc<dyn Link> = Arc::new(ClusterLink(connection));
        links.push(Arc::clone(&link));
        // A channel reaches all nodes of the cluster, so any of them will do to listen.
        let node = launch(&urls[0], link, number, |options| options.partitions = 64);
        node.until(Source::Redis).await;
        assert_eq!(node.health().partitions_up, 64);
        nodes.push(node);
    }
    let rule = rule(&[(6, 60_000)], 60_000);
    let admitted = async || {
        let mut admitted = 0;
        for name in 0..100 {
            for turn in 0..8 {
                let node = &nodes[turn % 2];
                let decision = node.limiter.decide(key(name), &rule, 1, Mode::Count, node.now()).await;
                admitted += u32::from(decision.is_admitted());
            }
        }
        admitted
    };
    assert_eq!(admitted().await, 600);
    nodes[0].limiter.reset_all(nodes[0].now()).await;
    assert_eq!(admitted().await, 600);
    let none = command(&links[0], &["EXISTS", "phl:00000000:{p0}:r"]).await;
    assert_eq!(none, Ok(Value::Int(1)));
    assert!(nodes.iter().all(|node| node.health().losses == 0 && node.health().errors == 0));
}
