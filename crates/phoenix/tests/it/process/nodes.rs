//! Several nodes on one database: they start together, and a session of one is a session of all.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, PhoenixProcess};
use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use super::support::{CommandLine, bare, change_password, login, logout, me, register, token};

const NODES: usize = 3;
/// The default of `cache.revocation_bound`.
const REVOCATION_BOUND: Duration = Duration::from_secs(2);

fn start_together(start: &Builder) -> Vec<PhoenixProcess> {
    thread::scope(|scope| {
        let starting: Vec<_> = (0..NODES).map(|_| scope.spawn(|| start.clone().start())).collect();
        let started = starting.into_iter().map(|node| node.join().expect("the thread only starts a node"));
        started.map(|node| node.expect("every node starts")).collect()
    })
}

async fn refused_everywhere(nodes: &[PhoenixProcess], session: &str) {
    for node in nodes {
        wait::until(REVOCATION_BOUND, "every node to refuse the session", async || {
            me(&node.client(), session).await.is_ok_and(|status| status == 401)
        })
        .await;
    }
}

async fn nodes_are_one(redis: Option<String>) -> Result<()> {
    let url = Postgres::shared().create_database();
    let mut start = bare().env("DATABASE_URL", &url).env("DB_POOL_MIN", "1").env("DB_POOL_MAX", "8");
    if let Some(redis) = &redis {
        start = start.env("REDIS_URL", redis);
    }
    let nodes = start_together(&start);

    let banners: String = nodes.iter().map(PhoenixProcess::stdout).collect();
    assert_eq!(banners.matches("shown only this once").count(), 1, "{banners}");
    let phoenix = CommandLine::beside(&nodes[0]).env("DATABASE_URL", &url);
    let users = phoenix.run(&["user", "list", "--json"]).await.json();
    assert_eq!((users.as_array().map(Vec::len), &users[0]["role"]), (Some(1), &"admin".into()), "{users}");

    for (number, home) in nodes.iter().enumerate() {
        let email = format!("nomad-{number}@example.com");
        let session = token(&register(&home.client(), &email).await?, 201);
        for node in &nodes {
            for _ in 0..3 {
                assert_eq!(me(&node.client(), &session).await?, 200, "made at node {number}");
            }
        }
        assert_eq!(logout(&home.client(), &session).await?.status, 200);
        assert_eq!(me(&home.client(), &session).await?, 401, "its own node knows at once");
        refused_everywhere(&nodes, &session).await;

        // A password changed at one node ends what the others have in memory.
        let away = &nodes[(number + 1) % NODES];
        let session = token(&login(&away.client(), &email, super::support::PASSWORD).await?, 200);
        assert_eq!(me(&home.client(), &session).await?, 200);
        let changed = token(&change_password(&home.client(), &session).await?, 200);
        refused_everywhere(&nodes, &session).await;
        for node in &nodes {
            assert_eq!(me(&node.client(), &changed).await?, 200);
        }
    }
    // A node that dies takes nothing with it.
    let session = token(&register(&nodes[0].client(), "last@example.com").await?, 201);
    nodes[0].kill9()?;
    assert_eq!(me(&nodes[1].client(), &session).await?, 200);
    assert_eq!(me(&nodes[2].client(), &session).await?, 200);
    Ok(())
}

// spec: G3 A2
#[tokio::test]
async fn three_nodes_with_redis_are_one_server() -> Result<()> {
    nodes_are_one(Some(Redis::shared().isolated().url)).await
}

// spec: G3
#[tokio::test]
async fn three_nodes_without_redis_are_one_server() -> Result<()> {
    nodes_are_one(None).await
}
