//! Tokens that were verified before: they cost nothing, and state belongs to their session.

use std::time::Duration;

use phoenix::clock::SystemClock;
use phoenix_auth::ports::Clock;
use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::UserType;
use serde_json::json;

use super::setup::{Setup, accepted, session_id, user_id};
use crate::http::support::{Backend, assert_problem, on_every_backend};

// spec: A9 A10 A1
#[tokio::test(flavor = "multi_thread")]
async fn the_second_request_of_a_token_asks_neither_the_provider_nor_the_database() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let first = node.me(&ada.access_token).await;
        assert_eq!((first.status.as_u16(), first.header("x-cache-hit")), (200, Some("l3")));
        let (calls, before) = (setup.fake.total_calls(), admin.statements().await);
        for _ in 0..200 {
            let response = node.me(&ada.access_token).await;
            assert_eq!(response.header("x-cache-hit"), Some("l1"));
            assert_eq!(response.body, first.body);
        }
        assert!(admin.statements().await.since(&before).is_empty());
        assert_eq!(setup.fake.total_calls(), calls);
        node.stop().await;
    })
    .await;
}

/// The floor that was promised; `cargo xtask bench sessions` measures the release build against a far higher bar.
// spec: A15
#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_takes_less_than_a_hundredth_of_asking_a_slow_provider() {
    const LATENCY: Duration = Duration::from_secs(1);
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    assert_eq!(node.me(&ada.access_token).await.status, 200);
    setup.fake.set_latency(LATENCY);
    let project = setup.fake.project();
    let clock = SystemClock::start();
    let provider = Client::new(setup.fake.addr());
    let asked = provider
        .get("/api/v1/users/me")
        .header("x-stack-access-type", "server")
        .header("x-stack-project-id", &project.id)
        .header("x-stack-secret-server-key", &project.secret_server_key)
        .header("x-stack-access-token", &ada.access_token);
    assert_eq!(asked.send().await.unwrap().status, 200);
    assert!(clock.mono() >= LATENCY, "asking the provider takes its time");
    let mut times = Vec::new();
    for _ in 0..1000 {
        let started = clock.mono();
        let response = node.me(&ada.access_token).await;
        times.push(clock.mono().saturating_sub(started));
        assert_eq!((response.status.as_u16(), response.header("x-cache-hit")), (200, Some("l1")));
    }
    times.sort();
    assert!(times[times.len() / 2] < LATENCY / 100, "{:?}", times[times.len() / 2]);
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn all_tokens_of_a_session_are_one_session_here() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let first = accepted(&node, &ada.access_token).await;
        let before = admin.statements().await;
        for _ in 0..10 {
            setup.pass(Duration::from_secs(45));
            let next = setup.fake.access_token(&ada.session_id).unwrap();
            let me = accepted(&node, &next).await;
            assert_eq!(session_id(&me), session_id(&first));
        }
        let asked = admin.statements().await.since(&before);
        assert!(!asked.contains_key("external_open") && !asked.contains_key("identity_insert"), "{asked:?}");
        let sessions = admin.sessions_of(&user_id(&first)).await;
        assert_eq!((sessions.len(), &sessions[0]["provider"]), (1, &json!("stack")));
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_provider_is_done_there() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    let refresh = node.client.post("/api/auth/refresh").bearer(&ada.access_token).send().await.unwrap();
    assert_problem(&refresh, 409, "external-session");
    accepted(&node, &ada.access_token).await;
    let listed = node.client.get("/api/auth/sessions").bearer(&ada.access_token).send().await.unwrap();
    assert_eq!(listed.json()["sessions"].as_array().unwrap().len(), 1);
    assert!(!listed.text().contains(&ada.session_id), "the provider's name of a session is not shown");
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_into_anothers_session_by_its_name() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        let me = accepted(&node, &ada.access_token).await;
        let bob =
            setup.fake.token(UserType::Normal).session(&ada.session_id).claim("email", "bob@example.com");
        let bob = setup.fake.mint(&bob);
        let other = accepted(&node, &bob).await;
        assert_eq!(other["user"]["email"], "bob@example.com");
        assert_ne!((user_id(&other), session_id(&other)), (user_id(&me), session_id(&me)));
        assert_eq!(accepted(&node, &ada.access_token).await["user"], me["user"]);
        assert_eq!(node.client.post("/api/auth/logout").bearer(&bob).send().await.unwrap().status, 200);
        assert_problem(&node.me(&bob).await, 401, "session-ended");
        accepted(&node, &ada.access_token).await;
        node.stop().await;
    })
    .await;
}
