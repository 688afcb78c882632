//! The provider's keys: how rarely they are fetched, and what happens while they cannot be had.

use std::time::Duration;

use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::{Fault, Forgery, JwksMode, Route, UserType};
use phoenix_testkit::wait;
use tokio::task::JoinSet;

use super::setup::{Setup, accepted};
use crate::http::support::{Backend, ME, Node, SOON, assert_problem};

const COOL_DOWN: Duration = Duration::from_secs(30);
const ALMOST: Duration = Duration::from_millis(29_999);
const TOKENS: usize = 3000;
const CONNECTIONS: usize = 20;

/// Sends tokens with keys that nobody has, each with another one. Returns the statuses that were seen, each once.
async fn flood(setup: &Setup, node: &Node, tokens: usize) -> Vec<u16> {
    let spec = setup.fake.token(UserType::Normal);
    let forged = |number| setup.fake.forge(&spec, Forgery::UnknownKid(format!("{number:012}")));
    let all: Vec<String> = (0..tokens).map(forged).collect();
    let mut connections = JoinSet::new();
    for part in all.chunks(tokens.div_ceil(CONNECTIONS)) {
        let (part, client) = (part.to_vec(), Client::new(node.address));
        connections.spawn(async move {
            let mut seen = Vec::new();
            for token in part {
                seen.push(client.get(ME).bearer(&token).send().await.unwrap().status.as_u16());
            }
            seen
        });
    }
    let mut seen = connections.join_all().await.concat();
    seen.sort_unstable();
    seen.dedup();
    seen
}

async fn until_fetched(setup: &Setup) {
    wait::until(SOON, "the node to fetch the keys by itself", || async {
        setup.fake.calls(Route::Jwks) >= 1 && setup.fake.running(Route::Jwks) == 0
    })
    .await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_unknown_keys_cause_one_fetch_in_a_cool_down() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    let mut expected = setup.fake.calls(Route::Jwks);
    assert_eq!(expected, 1, "the keys were fetched once");
    for _ in 0..3 {
        assert_eq!(flood(&setup, &node, TOKENS / 3).await, [401]);
        expected += 1;
        assert_eq!(
            setup.fake.calls(Route::Jwks),
            expected,
            "a new key may be there: the provider is asked once"
        );
        assert_eq!(flood(&setup, &node, TOKENS / 3).await, [401]);
        assert_eq!(setup.fake.calls(Route::Jwks), expected);
        setup.pass(ALMOST);
        assert_eq!(flood(&setup, &node, CONNECTIONS).await, [401]);
        assert_eq!(setup.fake.calls(Route::Jwks), expected, "not a moment sooner");
        setup.pass(Duration::from_millis(1));
    }
    assert_eq!(setup.fake.calls(Route::AttackerJwks), 0);
    let next = setup.fake.access_token(&ada.session_id).unwrap();
    accepted(&node, &next).await;
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_key_set_is_an_outage_and_is_not_asked_for_more_often() {
    let setup = Setup::new(Backend::Sqlite);
    setup.fake.set_jwks(JwksMode::Empty);
    let node = setup.node().await;
    until_fetched(&setup).await;
    let ada = setup.sign_up("ada@example.com");
    // One fetch was the node's own, one the flood's.
    assert_eq!(flood(&setup, &node, TOKENS).await, [503]);
    assert_problem(&node.me(&ada.access_token).await, 503, "unavailable");
    assert!(setup.fake.calls(Route::Jwks) <= 2, "{}", setup.fake.calls(Route::Jwks));
    setup.fake.heal();
    setup.pass(COOL_DOWN);
    accepted(&node, &ada.access_token).await;
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_found_by_the_first_token_that_names_one() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    setup.fake.rotate_keys();
    let old = setup.fake.calls(Route::Jwks);
    let next = setup.fake.access_token(&ada.session_id).unwrap();
    accepted(&node, &next).await;
    assert_eq!(setup.fake.calls(Route::Jwks), old + 1);
    // What was verified before goes on until it is over.
    accepted(&node, &ada.access_token).await;
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn tokens_go_on_while_the_provider_is_down() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    for fault in
        [Fault::Reset, Fault::Status(500), Fault::Status(404), Fault::RateLimited { retry_after_s: None }]
    {
        setup.fake.fail_all(&fault);
        // Another user, another session, and the keys are due to be fetched anew.
        for _ in 0..65 {
            setup.pass(Duration::from_mins(1));
        }
        let bob = setup.sign_up(&format!("{}@example.com", setup.site.now().as_secs()));
        accepted(&node, &bob.access_token).await;
        accepted(&node, &setup.fake.access_token(&ada.session_id).unwrap()).await;
    }
    node.stop().await;
}

// spec: A9 A10
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_never_reached_is_an_outage_and_not_a_refusal() {
    let faults =
        [JwksMode::Status(500), JwksMode::Status(404), JwksMode::Hang, JwksMode::Garbage, JwksMode::Empty];
    for mode in faults {
        let setup = Setup::in_real_time(Backend::Sqlite).with("PHOENIX_IDENTITY_TIMEOUT", "300ms");
        setup.fake.set_jwks(mode.clone());
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        assert_problem(&node.me(&ada.access_token).await, 503, "unavailable");
        let forged = setup.fake.forge(&setup.fake.token(UserType::Normal), Forgery::Unsigned("none"));
        assert_problem(&node.me(&forged).await, 401, "malformed-token");
        let mut own = node.administrator().await;
        assert_eq!(own.me().await.status, 200, "own accounts do not need the provider");
        setup.fake.heal();
        wait::until(SOON, "tokens to be accepted once the provider is back", || async {
            let response = node.me(&ada.access_token).await;
            assert!(response.status == 200 || response.status == 503, "{mode:?}: {}", response.text());
            response.status == 200
        })
        .await;
        node.stop().await;
    }
}
