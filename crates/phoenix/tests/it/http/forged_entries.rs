//! Redis is a hint: what somebody else writes there is refused, and the database answers.

use phoenix_testkit::redis::Redis;
use phoenix_testkit::wait;

use super::support::{Node, SOON, Site, assert_problem};

/// Key of the entry of a token.
fn key(node: &Node, token: &str) -> String {
    let hash = node.hash(token);
    let digits = hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    format!("phoenix:s1:{}", digits.collect::<String>())
}

/// A user signed in at `node`, whose session is in Redis.
async fn shared_session(node: &Node, redis: &Redis, email: &str) -> (String, String) {
    let token = node.registered(email).await.token();
    assert_eq!(node.me(&token).await.status, 200);
    let key = key(node, &token);
    wait::until(SOON, "the session in Redis", || async { redis.command(&["EXISTS", &key]).unwrap() == ":1" })
        .await;
    (token, key)
}

async fn assert_answered_by_the_database(node: &Node, token: &str, email: &str) {
    let response = node.me(token).await;
    assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l3")));
    assert_eq!(response.json()["user"]["email"], email);
}

// spec: A1 A2
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_forged_or_moved_are_refused() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis);
    let (one, two) = (site.node().await, site.node().await);
    let mut admin = two.administrator().await;
    let refused = admin.status().await["redis"]["refusedEntries"].as_u64().unwrap();

    let (eve, eve_key) = shared_session(&one, &redis, "eve@example.com").await;
    let forgeries = ["", "garbage", &"0".repeat(40), &"{}".repeat(300)];
    for (number, forgery) in forgeries.into_iter().enumerate() {
        let email = format!("user{number}@example.com");
        let (token, key) = shared_session(&one, &redis, &email).await;
        redis.command(&["SET", &key, forgery]).unwrap();
        assert_answered_by_the_database(&two, &token, &email).await;
    }
    // A genuine entry under another's name: the session of the administrator's dreams.
    let (ada, ada_key) = shared_session(&one, &redis, "ada@example.com").await;
    redis.command(&["COPY", &ada_key, &eve_key, "REPLACE"]).unwrap();
    assert_answered_by_the_database(&two, &eve, "eve@example.com").await;
    // A genuine entry with bytes cut off and added.
    redis.command(&["APPEND", &ada_key, " "]).unwrap();
    assert_answered_by_the_database(&two, &ada, "ada@example.com").await;
    let status = admin.status().await;
    assert_eq!(status["redis"]["refusedEntries"], refused + 6);
    assert_eq!(status["status"], "ok", "a forgery is no outage");
    one.stop().await;
    two.stop().await;
}

// spec: A1 A14 D11
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_from_before_the_revocation_brings_nothing_back() {
    let redis = Redis::start().unwrap();
    let site = Site::with_redis(&redis);
    let (one, two) = (site.node().await, site.node().await);
    let (token, key) = shared_session(&one, &redis, "ada@example.com").await;
    redis.command(&["COPY", &key, "saved"]).unwrap();
    let left = one.client.post("/api/auth/logout").bearer(&token).send().await.unwrap();
    assert_eq!(left.status, 200);
    redis.command(&["COPY", "saved", &key, "REPLACE"]).unwrap();
    assert_problem(&one.me(&token).await, 401, "session-ended");
    site.clock.advance(std::time::Duration::from_millis(2001));
    assert_problem(&two.me(&token).await, 401, "session-ended");
    // A node that has never seen either, with its lease fresh.
    let three = site.node().await;
    redis.command(&["COPY", "saved", &key, "REPLACE"]).unwrap();
    assert_problem(&three.me(&token).await, 401, "session-ended");
    for node in [one, two, three] {
        node.stop().await;
    }
}
