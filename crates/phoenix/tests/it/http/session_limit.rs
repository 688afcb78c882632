//! How many sessions a user may have at once, and what happens to one more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::support::{ADMIN, PASSWORD, Site, assert_problem, on_every_backend, on_every_shared_backend};

const ADA: &str = "ada@example.com";
const BOUND: Duration = Duration::from_secs(2);
const MILLISECOND: Duration = Duration::from_millis(1);

// spec: A7
#[tokio::test(flavor = "multi_thread")]
async fn one_session_more_than_the_limit_ends_the_one_opened_first() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_SESSIONS_PER_USER", "2");
        let node = site.node().await;
        let mut stranger = node.registered("eve@example.com").await;
        let mut first = node.registered(ADA).await;
        let first_id = first.session_id().await;
        site.clock.advance(MILLISECOND);
        let mut second = node.signed_in(ADA).await;
        site.clock.advance(MILLISECOND);
        // Used last, but opened first.
        assert_eq!(first.me().await.status, 200);
        let mut third = node.signed_in(ADA).await;
        assert_problem(&first.me().await, 401, "session-ended");
        assert_eq!((second.me().await.status.as_u16(), third.me().await.status.as_u16()), (200, 200));
        assert_eq!(third.sessions().await.len(), 2);
        assert_eq!(stranger.me().await.status, 200, "the limit is each user's own");

        let events = third.events(1).await;
        assert_eq!(events[0]["kind"], "session-evicted");
        assert_eq!(events[0]["detail"], format!("session {first_id}"));
        assert_eq!(events[0]["sessionId"], third.session_id().await.as_str(), "because of this one");
        assert_eq!(
            (&events[0]["ipAddress"], &events[0]["at"]),
            (&json!("127.0.0.1"), &json!("2026-01-01T00:00:00.002Z"),)
        );
        assert!(stranger.events(0).await.is_empty());

        // Signing in again where one is signed in takes no other's place.
        let before = third.token();
        assert_eq!(third.login(ADA, PASSWORD).await.status, 200);
        assert_problem(&node.me(&before).await, 401, "session-ended");
        assert_eq!(second.me().await.status, 200);
        third.events(1).await;
        node.stop().await;
    })
    .await;
}

// spec: A7
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_refuses_opens_no_session_until_one_ends() {
    on_every_backend(async |backend| {
        let site = Site::new(backend)
            .with("PHOENIX_SESSIONS_PER_USER", "2")
            .with("PHOENIX_SESSIONS_PER_USER_POLICY", "refuse")
            .with("PHOENIX_SESSION_IDLE_TIMEOUT", "30m");
        let node = site.node().await;
        let mut first = node.registered(ADA).await;
        let mut second = node.signed_in(ADA).await;
        let mut third = node.browser();
        let refused = third.login(ADA, PASSWORD).await;
        let body = assert_problem(&refused, 409, "session-limit-reached");
        assert!(body["error"].as_str().unwrap().contains("Sign out"), "{body}");
        assert!(!third.has_cookie());
        assert_problem(&third.login(ADA, "wrong").await, 401, "invalid-credentials");
        assert_eq!((first.me().await.status.as_u16(), second.me().await.status.as_u16()), (200, 200));
        assert_eq!(first.events(1).await[0]["kind"], "session-refused");
        assert_eq!(second.login(ADA, PASSWORD).await.status, 200, "it takes the place of its own session");

        assert_eq!(second.act("/api/auth/logout").await.status, 200);
        assert_eq!(third.login(ADA, PASSWORD).await.status, 200);
        assert_problem(&second.login(ADA, PASSWORD).await, 409, "session-limit-reached");
        // Sessions that time has ended take no place.
        site.clock.advance_day(Duration::from_mins(33));
        assert_eq!(second.login(ADA, PASSWORD).await.status, 200);
        assert_eq!(second.sessions().await.len(), 1);
        node.stop().await;
    })
    .await;
}

// spec: A7 A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_session_is_refused_everywhere_within_the_bound() {
    on_every_shared_backend(async |backend| {
        let site =
            Site::new(backend).with("PHOENIX_SESSIONS_PER_USER", "1").with("PHOENIX_REVOCATION_BOUND", "2s");
        let (one, two) = (site.node().await, site.node().await);
        let mut first = one.registered(ADA).await;
        let mut elsewhere = first.at(&two.client);
        elsewhere.until_in_memory().await;
        let mut second = one.signed_in(ADA).await;
        assert_problem(&first.me().await, 401, "session-ended");
        site.clock.advance(BOUND + MILLISECOND);
        assert_problem(&elsewhere.me().await, 401, "session-ended");
        assert_eq!(
            (second.me().await.status, second.at(&two.client).me().await.status),
            (200.try_into().unwrap(), 200.try_into().unwrap(),)
        );
        one.stop().await;
        two.stop().await;
    })
    .await;
}

const LIMIT: usize = 5;
/// Events of one kind that an account may have at once at one node.
const EVENTS_AT_ONCE: usize = 20;
const LOGINS: usize = 100;

// spec: A7 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_logins_at_once_at_three_nodes_leave_exactly_the_limit() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_SESSIONS_PER_USER", &LIMIT.to_string());
        let nodes = [site.node().await, site.node().await, site.node().await];
        let id = nodes[0].registered(ADA).await.user_id().await;
        // So that the session of the registration is the first to go.
        site.clock.advance(MILLISECOND);
        let mut logins = JoinSet::new();
        for number in 0..LOGINS {
            let client = nodes[number % nodes.len()].client.clone();
            logins.spawn(async move {
                let body = json!({"email": ADA, "password": PASSWORD, "transport": "bearer"});
                let response = client.post("/api/auth/login").json(&body).send().await.unwrap();
                assert_eq!(response.status, 200, "{}", response.text());
                response.json()["token"].as_str().unwrap().to_owned()
            });
        }
        let tokens = logins.join_all().await;
        site.clock.advance(BOUND + MILLISECOND);
        let mut live = Vec::new();
        for node in &nodes {
            let mut here = BTreeSet::new();
            for token in &tokens {
                let status = node.me(token).await.status;
                assert!(status == 200 || status == 401, "{status}");
                if status == 200 {
                    here.insert(token.clone());
                }
            }
            live.push(here);
        }
        assert_eq!(live[0].len(), LIMIT, "as many as may be");
        assert!(live[1] == live[0] && live[2] == live[0], "and the same at every node");

        let mut admin = nodes[0].signed_in(ADMIN).await;
        let listed = admin.get(&format!("/api/admin/users/{id}/sessions")).await.json();
        assert_eq!(listed["sessions"].as_array().unwrap().len(), LIMIT);
        // One event for each that went, at whichever node, up to what one account may have at once at each of them.
        let path = format!("/api/admin/users/{id}/security-events?limit=200");
        let expected = EVENTS_AT_ONCE.min(LOGINS / nodes.len());
        let evicted =
            phoenix_testkit::wait::for_some(super::support::SOON, "an event for each eviction", || {
                let (mut admin, path) = (admin.clone(), path.clone());
                async move {
                    let events = admin.get(&path).await.json()["events"].as_array().unwrap().clone();
                    let evictions = events.iter().filter(|event| event["kind"] == "session-evicted");
                    let evicted: Vec<Value> = evictions.map(|event| event["detail"].clone()).collect();
                    (evicted.len() >= expected).then_some(evicted)
                }
            })
            .await;
        let named: Vec<String> =
            evicted.iter().map(Value::to_string).filter(|detail| detail.contains("session ")).collect();
        let distinct: BTreeSet<&String> = named.iter().collect();
        assert_eq!(named.len(), distinct.len(), "no session is named twice");
        assert!(named.len() <= LOGINS + 1 - LIMIT);
        for node in nodes {
            node.stop().await;
        }
    })
    .await;
}
