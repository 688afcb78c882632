//! Many callers, one cold session: one question to the database.

use phoenix_auth::ports::Clock;
use tokio::task::JoinSet;

use super::support::{ME, Site, on_every_backend};

const CALLERS: usize = 10_000;
const CONNECTIONS: usize = 200;
const REQUESTS_EACH: usize = 10;

// spec: A1
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_callers_of_one_cold_session_ask_the_database_once() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let token = node.registered("ada@example.com").await.token();
        let (hash, now) = (node.hash(&token), site.clock.now());
        let before = admin.statements().await;
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let auth = node.app.auth.clone();
            // As the stack asks: memory first.
            callers.spawn(async move {
                let verdict = match auth.authenticate_from_memory(&hash, now) {
                    Some(verdict) => verdict,
                    None => auth.authenticate(&hash, now).await.unwrap(),
                };
                verdict.unwrap().active.user.email.as_str().to_owned()
            });
        }
        let answers = callers.join_all().await;
        assert!(answers.len() == CALLERS && answers.iter().all(|email| email == "ada@example.com"));
        let after = admin.statements().await;
        assert_eq!(after.since(&before), [("session_find".to_owned(), 1)].into());
        node.stop().await;
    })
    .await;
}

// spec: A1 A13
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_with_one_cold_session_ask_the_database_once() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let token = node.registered("ada@example.com").await.token();
        let before = admin.statements().await;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (client, token) = (phoenix_testkit::http::Client::new(node.address), token.clone());
            connections.spawn(async move {
                for _ in 0..REQUESTS_EACH {
                    let response = client.get(ME).bearer(&token).send().await.unwrap();
                    assert_eq!(response.status, 200, "{}", response.text());
                    assert_eq!(response.json()["user"]["email"], "ada@example.com");
                }
            });
        }
        connections.join_all().await;
        let after = admin.statements().await;
        assert_eq!(after.since(&before), [("session_find".to_owned(), 1)].into());
        node.stop().await;
    })
    .await;
}
