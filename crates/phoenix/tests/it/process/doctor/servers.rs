//! PostgreSQL and Redis that are broken in one way each.

use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::redis::{Cluster, Redis};

use super::{OTHER_KEY, SetUp, assert_found, findings, good_postgres, ids, of_this_machine, report};
use crate::process::support::bare;

// spec: G5
#[tokio::test]
async fn another_key_and_the_number_of_nodes_are_found() {
    let set_up = SetUp::servers();
    let server =
        set_up.variables.iter().fold(bare(), |builder, (name, value)| builder.env(name, value.as_str()));
    let server = server.env("PHOENIX_LISTEN", "127.0.0.1:0").start().expect("a start puts the key in force");
    let ran = set_up.run().await;
    assert_found(&ran, "postgres.key-fingerprint", "ok", "");
    // The running node is counted by its sign of life in Redis.
    assert!(ran.stdout.contains("1 servers, 1 nodes of Phoenix"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 nodes (Redis) may open 53"), "{}", ran.stdout);
    drop(server);
    let key = set_up.file("other", OTHER_KEY, 0o600);
    let ran = set_up.env("PHOENIX_SECRET_KEY_FILE", &key).run().await;
    assert_found(&ran, "postgres.key-fingerprint", "failure", "--new-secret-key");
}

#[tokio::test]
async fn what_is_wrong_in_our_schema_is_found() {
    let set_up = SetUp::servers();
    assert_found(&set_up.run().await, "postgres.schema", "warning", "phoenix migrate");
    set_up.migrate().await;
    let execute = |sql: &str| good_postgres().execute(set_up.database(), sql).expect("done");
    execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'phoenix.sessions_user_id'::regclass");
    let ran = set_up.run().await;
    assert_found(&ran, "postgres.indexes", "failure", "REINDEX INDEX CONCURRENTLY phoenix.sessions_user_id");
    execute("DROP INDEX phoenix.sessions_user_id");
    assert_found(&set_up.run().await, "postgres.indexes", "failure", "CREATE INDEX sessions_user_id");
    execute("DELETE FROM phoenix.migrations WHERE version > 1");
    assert_found(&set_up.run().await, "postgres.schema", "failure", "phoenix migrate");
    execute("INSERT INTO phoenix.migrations VALUES (900, 'later', '', 0)");
    assert_found(&set_up.run().await, "postgres.schema", "failure", "newest binary");
}

#[tokio::test]
async fn a_postgres_that_is_not_for_production_is_found() {
    let server = Postgres::builder()
        .fsync(false)
        .max_connections(40)
        .setting("full_page_writes", "off")
        .setting("synchronous_commit", "off")
        .setting("autovacuum", "off")
        .setting("idle_session_timeout", "5s")
        .start()
        .expect("PostgreSQL");
    let set_up = SetUp::embedded().env("DATABASE_URL", &server.create_database());
    let ran = set_up.run().await;
    assert_found(&ran, "postgres.fsync", "failure", "fsync = on");
    assert_found(&ran, "postgres.full-page-writes", "failure", "full_page_writes = on");
    assert_found(&ran, "postgres.synchronous-commit", "warning", "synchronous_commit = on");
    assert_found(&ran, "postgres.autovacuum", "failure", "autovacuum = on");
    assert_found(&ran, "postgres.timeouts", "warning", "ALTER ROLE");
    assert_found(&ran, "postgres.memory", "warning", "shared_buffers");
    assert_found(&ran, "postgres.connections", "failure", "lower DB_POOL_MAX to at most 34");
    let smaller = set_up.env("DB_POOL_MAX", "14").env("DB_POOL_MIN", "1");
    assert_found(&smaller.run().await, "postgres.connections", "ok", "");
    let three = smaller.arg("--nodes").arg("3").run().await;
    assert_found(&three, "postgres.connections", "failure", "max_connections");
    server.stop().expect("stopped");
    let down = SetUp::embedded().env("DATABASE_URL", &server.url("postgres")).run().await;
    assert_found(&down, "postgres.reachable", "failure", "DATABASE_URL");
    let report = report(&down);
    assert!(
        findings(&report, "postgres.fsync")[0]["found"].as_str().is_some_and(|why| why.contains("reachable"))
    );
    let failures: Vec<_> = ids(&report, "failure").into_iter().filter(|id| !of_this_machine(id)).collect();
    assert_eq!(failures, ["postgres.reachable"], "one outage is one failure");
}

#[tokio::test]
async fn a_redis_that_forgets_or_is_down_is_found() {
    let server = Redis::builder()
        .setting("maxmemory", "64mb")
        .setting("maxmemory-policy", "allkeys-lru")
        .start()
        .expect("Redis");
    let set_up = SetUp::embedded().env("REDIS_URL", &server.url());
    let ran = set_up.run().await;
    assert_found(&ran, "redis.reachable", "ok", "");
    assert_found(&ran, "redis.eviction", "failure", "maxmemory-policy noeviction");
    assert_found(&ran, "redis.persistence", "warning", "appendonly yes");
    assert_found(&ran, "redis.replicas", "warning", "docs/operations/redis.md");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).expect("set");
    assert_found(&set_up.run().await, "redis.eviction", "ok", "");
    server.kill().expect("killed");
    let down = set_up.run().await;
    assert_found(&down, "redis.reachable", "failure", "REDIS_URL");
    let report = report(&down);
    let failures: Vec<_> = ids(&report, "failure").into_iter().filter(|id| !of_this_machine(id)).collect();
    assert_eq!(failures, ["redis.reachable"], "one outage is one failure");
}

#[tokio::test]
async fn every_server_of_a_cluster_is_looked_at() {
    let cluster = Cluster::start().expect("a cluster");
    let ran = SetUp::embedded().env("REDIS_URL", &cluster.url()).run().await;
    assert_found(&ran, "redis.cluster-state", "ok", "");
    assert_found(&ran, "redis.reachable", "ok", "");
    let report = report(&ran);
    assert!(findings(&report, "redis.eviction").len() >= 3, "{report:#}");
}
