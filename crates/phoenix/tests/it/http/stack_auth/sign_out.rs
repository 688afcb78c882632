//! Sessions that end here: at once, for every token they have or will have, and at the provider too.

use std::time::Duration;

use phoenix_testkit::stack_auth::{Fault, NewUser, Route, SignedIn};
use phoenix_testkit::wait;
use serde_json::json;
use tokio::task::JoinSet;

use super::setup::{BOUND, SESSIONS, Setup, USERS, accepted, session_id, user_id};
use crate::http::support::{
    Backend, Browser, ME, Node, SOON, assert_problem, on_every_backend, on_every_shared_backend,
};

const SECOND: Duration = Duration::from_secs(1);

/// The ways in which one session, or all of a user's, can end here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Logout,
    One,
    All,
    OneByAdministrator,
    AllByAdministrator,
    Disable,
}

impl Way {
    const EVERY: [Self; 6] = [
        Self::Logout,
        Self::One,
        Self::All,
        Self::OneByAdministrator,
        Self::AllByAdministrator,
        Self::Disable,
    ];

    fn ends_all(self) -> bool {
        matches!(self, Self::All | Self::AllByAdministrator | Self::Disable)
    }

    async fn take(self, node: &Node, admin: &mut Browser, token: &str) {
        let me = accepted(node, token).await;
        let (user, session) = (user_id(&me), session_id(&me));
        let client = &node.client;
        let response = match self {
            Self::Logout => client.post("/api/auth/logout").bearer(token).send().await.unwrap(),
            Self::One => client.delete(&format!("{SESSIONS}/{session}")).bearer(token).send().await.unwrap(),
            Self::All => client.delete(&format!("{SESSIONS}?scope=all")).bearer(token).send().await.unwrap(),
            Self::OneByAdministrator => admin.delete(&format!("{USERS}/{user}/sessions/{session}")).await,
            Self::AllByAdministrator => admin.delete(&format!("{USERS}/{user}/sessions")).await,
            Self::Disable => admin.patch(&format!("{USERS}/{user}"), &json!({"disabled": true})).await,
        };
        assert_eq!(response.status, 200, "{self:?}: {}", response.text());
    }
}

/// A token of this session with this many seconds more, whether or not the session is still there.
fn tokens_of(setup: &Setup, who: &SignedIn) -> impl Fn(i64) -> String {
    let spec = setup.fake.token_of(&who.session_id).unwrap();
    move |ahead| setup.fake.mint(&spec.clone().issued_in(ahead).expires_in(600 + ahead))
}

// spec: A10 A14
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ended_here_is_over_at_once_for_its_present_and_its_next_token() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        for way in Way::EVERY {
            let ada = setup.sign_up(&format!("{way:?}@example.com"));
            let other = setup.fake.sign_in(&ada.user_id);
            let fresh = tokens_of(&setup, &ada);
            accepted(&node, &other.access_token).await;
            setup.pass(SECOND);
            let unseen = setup.fake.sign_in(&ada.user_id);
            setup.pass(SECOND);
            way.take(&node, &mut admin, &ada.access_token).await;
            assert_problem(&node.me(&ada.access_token).await, 401, "session-ended");
            assert_problem(&node.me(&fresh(2)).await, 401, "session-ended");
            assert_problem(&node.me(&fresh(75)).await, 401, "session-ended");
            for session in [&other, &unseen] {
                let response = node.me(&session.access_token).await;
                match way {
                    way if !way.ends_all() => assert_eq!(response.status, 200, "{way:?}"),
                    Way::Disable if session == &unseen => assert_problem_of_disabled(&response),
                    _ => drop(assert_problem(&response, 401, "session-ended")),
                }
            }
            wait::until(SOON, "the provider to be told", || async {
                let left = setup.fake.sessions_of(&ada.user_id).len();
                match way {
                    // Those that were never seen here are shut out as long as the account is.
                    Way::Disable => left == 1,
                    way if way.ends_all() => left == 0,
                    _ => setup.fake.session(&ada.session_id).is_none(),
                }
            })
            .await;
            setup.pass(SECOND);
            let again = setup.fake.sign_in(&ada.user_id);
            let response = node.me(&again.access_token).await;
            if way == Way::Disable {
                assert_problem_of_disabled(&response);
            } else {
                assert_eq!(response.status, 200, "{way:?}: {}", response.text());
            }
        }
        assert!(setup.fake.calls(Route::DeleteSession) >= Way::EVERY.len() as u64);
        node.stop().await;
    })
    .await;
}

#[track_caller]
fn assert_problem_of_disabled(response: &phoenix_testkit::http::Response) {
    assert_problem(response, 403, "account-disabled");
}

// spec: A10 A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ended_at_one_node_is_over_at_another_within_the_bound() {
    on_every_shared_backend(async |backend| {
        let setup = Setup::new(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let mut admin = one.administrator().await;
        for way in Way::EVERY {
            let ada = setup.sign_up(&format!("{way:?}@example.com"));
            let fresh = tokens_of(&setup, &ada);
            accepted(&two, &ada.access_token).await;
            let also = fresh(1);
            accepted(&two, &also).await;
            setup.pass(SECOND);
            way.take(&one, &mut admin, &ada.access_token).await;
            setup.pass(BOUND + Duration::from_millis(1));
            for token in [&ada.access_token, &also, &fresh(3)] {
                assert_problem(&two.me(token).await, 401, "session-ended");
                assert_problem(&one.me(token).await, 401, "session-ended");
            }
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10 A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_outruns_the_requests_that_race_with_it() {
    on_every_shared_backend(async |backend| {
        let setup = Setup::new(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let mut admin = one.administrator().await;
        for round in 0..10 {
            let ada = setup.sign_up(&format!("ada{round}@example.com"));
            let fresh = tokens_of(&setup, &ada);
            let user = user_id(&accepted(&one, &ada.access_token).await);
            // Each request brings another token, so that each is verified, and may open the session.
            let mut racing = JoinSet::new();
            for number in 0..40 {
                let client = if number % 2 == 0 { one.client.clone() } else { two.client.clone() };
                let token = fresh(number);
                racing.spawn(async move {
                    let response = client.get(ME).bearer(&token).send().await.unwrap();
                    assert!(response.status == 200 || response.status == 401, "{}", response.text());
                });
            }
            let out = one.client.post("/api/auth/logout").bearer(&ada.access_token).send().await.unwrap();
            assert_eq!(out.status, 200, "{}", out.text());
            assert_problem(&one.me(&fresh(50)).await, 401, "session-ended");
            racing.join_all().await;
            setup.pass(BOUND + Duration::from_millis(1));
            for token in (0..60).step_by(7).map(&fresh) {
                assert_problem(&one.me(&token).await, 401, "session-ended");
                assert_problem(&two.me(&token).await, 401, "session-ended");
            }
            assert!(admin.sessions_of(&user).await.is_empty());
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10 A14
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_enabled_again_has_none_of_its_old_sessions() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let ada = setup.sign_up("ada@example.com");
        let unseen = setup.fake.sign_in(&ada.user_id);
        let fresh = tokens_of(&setup, &ada);
        let path = format!("{USERS}/{}", user_id(&accepted(&node, &ada.access_token).await));
        setup.pass(SECOND);
        for disabled in [true, false] {
            let response = admin.patch(&path, &json!({"disabled": disabled})).await;
            assert_eq!(response.status, 200, "{}", response.text());
        }
        for token in [&ada.access_token, &fresh(5), &unseen.access_token] {
            assert_problem(&node.me(token).await, 401, "session-ended");
        }
        accepted(&node, &setup.fake.sign_in(&ada.user_id).access_token).await;
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_stays_ended_though_the_provider_cannot_be_told_and_the_node_is_started_anew() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let ada = setup.sign_up("ada@example.com");
        let fresh = tokens_of(&setup, &ada);
        setup.fake.fail_all(&Fault::Reset);
        accepted(&node, &ada.access_token).await;
        let out = node.client.post("/api/auth/logout").bearer(&ada.access_token).send().await.unwrap();
        assert_eq!(out.status, 200, "{}", out.text());
        assert_problem(&node.me(&ada.access_token).await, 401, "session-ended");
        wait::until(SOON, "a try to tell the provider", || async {
            setup.fake.calls(Route::DeleteSession) >= 2
        })
        .await;
        assert!(setup.fake.session(&ada.session_id).is_some());
        setup.fake.heal();
        wait::until(SOON, "the provider to be told", || async {
            setup.fake.session(&ada.session_id).is_none()
        })
        .await;
        node.stop().await;
        let node = setup.node().await;
        for token in [ada.access_token.clone(), fresh(1), fresh(80)] {
            assert_problem(&node.me(&token).await, 401, "session-ended");
        }
        node.stop().await;
    })
    .await;
}

// spec: A10 A11 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_role_counts_at_once_and_ends_no_session_of_the_provider() {
    on_every_shared_backend(async |backend| {
        let setup = Setup::new(backend);
        let (one, two) = (setup.node().await, setup.node().await);
        let mut admin = one.administrator().await;
        let ada = setup.fake.sign_up(NewUser::normal().name("Ada").email("ada@example.com"));
        let before = accepted(&one, &ada.access_token).await;
        accepted(&two, &ada.access_token).await;
        for role in ["editor", "admin", "user"] {
            let path = format!("{USERS}/{}", user_id(&before));
            assert_eq!(admin.patch(&path, &json!({"role": role})).await.status, 200);
            let me = accepted(&one, &ada.access_token).await;
            assert_eq!((&me["user"]["role"], &me["session"]["id"]), (&json!(role), &before["session"]["id"]));
            setup.pass(BOUND + Duration::from_millis(1));
            let me = accepted(&two, &ada.access_token).await;
            assert_eq!((&me["user"]["role"], &me["session"]["id"]), (&json!(role), &before["session"]["id"]));
            let status = two.client.get(USERS).bearer(&ada.access_token).send().await.unwrap().status;
            assert_eq!(status, if role == "admin" { 200 } else { 403 });
        }
        assert_eq!(setup.fake.calls(Route::DeleteSession), 0);
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A10 A14
#[tokio::test(flavor = "multi_thread")]
async fn ending_the_others_keeps_the_session_it_came_with_and_shuts_out_the_unseen() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    let (other, unseen) = (setup.fake.sign_in(&ada.user_id), setup.fake.sign_in(&ada.user_id));
    accepted(&node, &other.access_token).await;
    accepted(&node, &ada.access_token).await;
    setup.pass(SECOND);
    let path = format!("{SESSIONS}?scope=others");
    let out = node.client.delete(&path).bearer(&ada.access_token).send().await.unwrap();
    assert_eq!(out.json(), json!({"success": true, "ended": 1}));
    assert_problem(&node.me(&other.access_token).await, 401, "session-ended");
    assert_problem(&node.me(&unseen.access_token).await, 401, "session-ended");
    accepted(&node, &ada.access_token).await;
    accepted(&node, &setup.fake.access_token(&ada.session_id).unwrap()).await;
    node.stop().await;
}
