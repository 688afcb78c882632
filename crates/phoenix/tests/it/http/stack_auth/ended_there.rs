//! Sessions that end at the provider, which says nothing: they are noticed by asking. In real time.

use phoenix_testkit::stack_auth::{Fault, Route, UserType};
use phoenix_testkit::wait;

use super::setup::{Setup, accepted, session_id, user_id};
use crate::http::support::{Backend, Node, SOON, assert_problem, on_every_backend};

/// Waits until the provider was asked this many times more, and so until all but the last answer have been dealt with.
async fn until_asked(setup: &Setup, times: u64) {
    let before = setup.fake.calls(Route::ListSessions);
    wait::until(SOON * 2, "the provider to be asked for sessions", || async {
        setup.fake.calls(Route::ListSessions) >= before + times
    })
    .await;
}

async fn until_refused(node: &Node, token: &str) {
    wait::until(SOON, "the session to be refused", || async {
        let response = node.me(token).await;
        assert!(response.status == 200 || response.status == 401, "{}", response.text());
        response.status == 401
    })
    .await;
    assert_problem(&node.me(token).await, 401, "session-ended");
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_session_deleted_at_the_provider_is_noticed() {
    on_every_backend(async |backend| {
        let setup = Setup::in_real_time(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let other = setup.fake.sign_in(&ada.user_id);
        let me = accepted(&node, &ada.access_token).await;
        accepted(&node, &other.access_token).await;
        until_asked(&setup, 2).await;
        let spec = setup.fake.token_of(&ada.session_id).unwrap();
        setup.fake.delete_session(&ada.session_id);
        until_refused(&node, &ada.access_token).await;
        let fresh = setup.fake.mint(&spec.issued_in(5));
        assert_problem(&node.me(&fresh).await, 401, "session-ended");
        accepted(&node, &other.access_token).await;
        assert_eq!(setup.fake.calls(Route::DeleteSession), 0, "the provider knows");
        admin.until_noted(&user_id(&me), "ended-at-provider").await;

        let bob = setup.sign_up("bob@example.com");
        accepted(&node, &bob.access_token).await;
        until_asked(&setup, 4).await;
        setup.fake.delete_user(&bob.user_id);
        until_refused(&node, &bob.access_token).await;
        accepted(&node, &other.access_token).await;
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_provider_never_listed_is_not_missed() {
    let setup = Setup::in_real_time(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    let unlisted = setup.fake.mint(&setup.fake.token(UserType::Normal).user(&ada.user_id));
    let me = accepted(&node, &unlisted).await;
    until_asked(&setup, 4).await;
    assert_eq!(session_id(&accepted(&node, &unlisted).await), session_id(&me));
    node.stop().await;
}

/// With this fault in the answers no session ends, and when it is gone all goes on.
async fn survives(fault: Fault) {
    let setup = Setup::in_real_time(Backend::Sqlite).with("PHOENIX_IDENTITY_TIMEOUT", "500ms");
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    accepted(&node, &ada.access_token).await;
    until_asked(&setup, 2).await;
    setup.fake.fail(Route::ListSessions, fault.clone());
    until_asked(&setup, 2).await;
    setup.fake.heal();
    // The faulty answers have been dealt with once there is another question.
    until_asked(&setup, 1).await;
    let me = node.me(&ada.access_token).await;
    assert_eq!(me.status, 200, "{fault:?}: {}", me.text());
    setup.fake.delete_session(&ada.session_id);
    until_refused(&node, &ada.access_token).await;
    node.stop().await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn no_failure_of_the_provider_ends_a_session() {
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(404),
        Fault::Status(401),
        Fault::RateLimited { retry_after_s: None },
        Fault::RateLimited { retry_after_s: Some(1) },
        Fault::Reset,
        Fault::Hang,
        Fault::Body("{}".into()),
        Fault::Body("[]".into()),
        Fault::Body(r#"{"items":[{}]}"#.into()),
        Fault::Body(r#"{"items":[],"is_paginated":true}"#.into()),
        Fault::Body("".into()),
    ];
    futures_util::future::join_all(faults.into_iter().map(survives)).await;
}
