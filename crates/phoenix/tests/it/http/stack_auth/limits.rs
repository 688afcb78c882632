//! Time-outs and the number of sessions: sessions of the provider keep to them as all others do.

use std::time::Duration;

use phoenix_testkit::stack_auth::Route;
use phoenix_testkit::wait;
use serde_json::json;

use tokio::task::JoinSet;

use super::setup::{SESSIONS, Setup, accepted, session_id, user_id};
use crate::http::support::{ME, Node, SOON, assert_problem, on_every_backend, on_every_shared_backend};

const SECOND: Duration = Duration::from_secs(1);
/// Sessions of one user that come at the same time.
const AT_ONCE: usize = 40;

// spec: A7 A10
#[tokio::test(flavor = "multi_thread")]
async fn one_session_too_many_ends_the_oldest() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend).with("PHOENIX_SESSIONS_PER_USER", "2");
        let node = setup.node().await;
        let first = setup.sign_up("ada@example.com");
        accepted(&node, &first.access_token).await;
        let mut later = Vec::new();
        for _ in 0..2 {
            setup.pass(SECOND);
            let session = setup.fake.sign_in(&first.user_id);
            accepted(&node, &session.access_token).await;
            later.push(session);
        }
        assert_problem(&node.me(&first.access_token).await, 401, "session-ended");
        let fresh = setup
            .fake
            .token_of(&first.session_id)
            .unwrap_or_else(|| setup.fake.token_of(&later[0].session_id).unwrap().session(&first.session_id));
        assert_problem(&node.me(&setup.fake.mint(&fresh.issued_in(1))).await, 401, "session-ended");
        for session in &later {
            accepted(&node, &session.access_token).await;
        }
        wait::until(SOON, "the provider to be told", || async {
            setup.fake.session(&first.session_id).is_none()
        })
        .await;
        assert_eq!(setup.fake.calls(Route::DeleteSession), 1);
        node.stop().await;
    })
    .await;
}

// spec: A7 A10
#[tokio::test(flavor = "multi_thread")]
async fn one_session_too_many_is_refused_where_that_is_configured_until_there_is_room() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend)
            .with("PHOENIX_SESSIONS_PER_USER", "2")
            .with("PHOENIX_SESSIONS_PER_USER_POLICY", "refuse");
        let node = setup.node().await;
        let first = setup.sign_up("ada@example.com");
        let second = setup.fake.sign_in(&first.user_id);
        let third = setup.fake.sign_in(&first.user_id);
        accepted(&node, &first.access_token).await;
        let me = accepted(&node, &second.access_token).await;
        for _ in 0..2 {
            assert_problem(&node.me(&third.access_token).await, 409, "session-limit-reached");
        }
        accepted(&node, &first.access_token).await;
        let path = format!("{SESSIONS}/{}", session_id(&me));
        let out = node.client.delete(&path).bearer(&first.access_token).send().await.unwrap();
        assert_eq!(out.json(), json!({"success": true}));
        accepted(&node, &third.access_token).await;
        assert_problem(&node.me(&second.access_token).await, 401, "session-ended");
        node.stop().await;
    })
    .await;
}

/// Brings many sessions of one user at once, to all nodes. Returns the statuses.
async fn bring_at_once(setup: &Setup, nodes: &[&Node], user: &str) -> Vec<u16> {
    let mut bringing = JoinSet::new();
    for number in 0..AT_ONCE {
        let client = nodes[number % nodes.len()].client.clone();
        let token = setup.fake.sign_in(user).access_token;
        bringing.spawn(async move { client.get(ME).bearer(&token).send().await.unwrap().status.as_u16() });
    }
    bringing.join_all().await
}

// spec: A7 A10 G3
#[tokio::test(flavor = "multi_thread")]
async fn however_many_sessions_come_at_once_no_more_than_allowed_are_left() {
    on_every_shared_backend(async |backend| {
        for policy in ["evict_oldest", "refuse"] {
            let setup = Setup::new(backend)
                .with("PHOENIX_SESSIONS_PER_USER", "5")
                .with("PHOENIX_SESSIONS_PER_USER_POLICY", policy);
            let (one, two) = (setup.node().await, setup.node().await);
            let mut admin = one.administrator().await;
            let ada = setup.sign_up("ada@example.com");
            let user = user_id(&accepted(&one, &ada.access_token).await);
            let statuses = bring_at_once(&setup, &[&one, &two], &ada.user_id).await;
            assert_eq!(admin.sessions_of(&user).await.len(), 5, "{policy}");
            let opened = statuses.iter().filter(|status| **status == 200).count();
            // A session may be ended by the next ones before its first request is answered.
            let (least, most, other) = if policy == "refuse" { (4, 4, 409) } else { (5, AT_ONCE, 401) };
            assert!((least..=most).contains(&opened), "{policy}: {statuses:?}");
            let expected = |status: &u16| *status == 200 || *status == other;
            assert!(statuses.iter().all(expected), "{policy}: {statuses:?}");
            one.stop().await;
            two.stop().await;
        }
    })
    .await;
}

/// The session is over, also for tokens issued later; a new one is not.
async fn stays_ended(idle: &str, absolute: &str, step: Duration, steps: u32, last: Duration) {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend)
            .with("PHOENIX_SESSION_IDLE_TIMEOUT", idle)
            .with("PHOENIX_SESSION_ABSOLUTE_TIMEOUT", absolute);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        let token = || setup.fake.access_token(&ada.session_id).unwrap();
        let me = accepted(&node, &ada.access_token).await;
        for _ in 0..steps {
            setup.site.clock.advance_day(step);
            assert_eq!(session_id(&accepted(&node, &token()).await), session_id(&me));
        }
        setup.site.clock.advance_day(last);
        assert_problem(&node.me(&token()).await, 401, "session-ended");
        let bounds = phoenix_auth::ops::CleanUp {
            batch: 100,
            max_batches: 10,
            invalidation_age: Duration::from_hours(1),
            event_age: Duration::from_hours(1),
        };
        setup.site.clock.advance_day(Duration::from_mins(5));
        node.app.auth.clean_up(bounds).await.unwrap();
        setup.site.clock.advance_day(Duration::from_hours(24));
        node.app.auth.clean_up(bounds).await.unwrap();
        assert_problem(&node.me(&token()).await, 401, "session-ended");
        node.stop().await;
        let node = setup.node().await;
        assert_problem(&node.me(&token()).await, 401, "session-ended");
        let again = setup.fake.sign_in(&ada.user_id);
        let new = accepted(&node, &again.access_token).await;
        assert_ne!(session_id(&new), session_id(&me));
        assert_eq!(new["user"]["id"], me["user"]["id"]);
        node.stop().await;
    })
    .await;
}

// spec: A6 A10
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_used_ends_and_stays_ended() {
    stays_ended("30m", "7d", Duration::from_mins(30), 3, Duration::from_mins(31)).await;
}

// spec: A6 A10
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_reaches_its_age_ends_and_stays_ended() {
    stays_ended("2h", "2h", Duration::from_mins(50), 2, Duration::from_mins(20)).await;
}
