//! Tokens that are refused, and that leave nothing behind.

use std::time::Duration;

use phoenix_testkit::stack_auth::{Inconsistency, NewUser, Route, UserType};

use super::setup::{Setup, accepted, session_id};
use crate::http::support::{Backend, assert_problem, on_every_backend};

/// How much later than its `exp` a token is still accepted, in seconds.
const LEEWAY_S: i64 = 60;

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn no_forgery_and_no_contradiction_is_accepted_or_leaves_an_account_behind() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let mut admin = node.administrator().await;
        let fake = &setup.fake;
        let types = UserType::ALL.map(|user_type| fake.token(user_type));
        for forgery in fake.forgeries() {
            for spec in &types {
                let response = node.me(&fake.forge(spec, forgery.clone())).await;
                assert_eq!(response.status, 401, "{forgery:?}: {}", response.text());
                assert_problem(&response, 401, "malformed-token");
            }
        }
        for inconsistency in Inconsistency::ALL {
            let spec = types[0].clone().inconsistent(inconsistency);
            let response = node.me(&fake.mint(&spec)).await;
            assert_eq!(response.status, 401, "{inconsistency:?}: {}", response.text());
            assert_problem(&response, 401, "malformed-token");
        }
        let audiences = [fake.project_id().to_uppercase(), "another".to_owned(), String::new()];
        for audience in audiences {
            let spec = types[0].clone().claim("aud", audience);
            assert_problem(&node.me(&fake.mint(&spec)).await, 401, "malformed-token");
        }
        for claim in ["iss", "aud", "sub", "exp", "iat", "refresh_token_id", "branch_id"] {
            let spec = types[0].clone().without(claim);
            assert_problem(&node.me(&fake.mint(&spec)).await, 401, "malformed-token");
        }
        let other = types[0].clone().claim("branch_id", "staging");
        assert_problem(&node.me(&fake.mint(&other)).await, 401, "malformed-token");
        assert!(admin.accounts().await.is_empty());
        assert_eq!(fake.calls(Route::AttackerJwks), 0, "nobody looked where a token pointed");

        // It was the forgery and nothing else.
        accepted(&node, &fake.mint(&types[0])).await;
        assert_eq!(admin.accounts().await.len(), 1);
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_a_minute_after_it_says_and_is_not_judged_by_when_it_was_made() {
    on_every_backend(async |backend| {
        let setup = Setup::new(backend);
        let node = setup.node().await;
        let fake = &setup.fake;
        let ada = setup.sign_up("ada@example.com");
        let spec = || fake.token_of(&ada.session_id).unwrap();
        for past in [LEEWAY_S, LEEWAY_S + 1, 86_400] {
            let token = fake.mint(&spec().expires_in(-past));
            assert_problem(&node.me(&token).await, 401, "token-expired");
        }
        let last_second = fake.mint(&spec().expires_in(1 - LEEWAY_S));
        let me = accepted(&node, &last_second).await;
        assert_eq!(node.me(&last_second).await.header("x-cache-hit"), Some("l1"));
        setup.pass(Duration::from_secs(1));
        assert_problem(&node.me(&last_second).await, 401, "token-expired");
        // The session goes on with its next token.
        let next = fake.mint(&spec());
        assert_eq!(session_id(&accepted(&node, &next).await), session_id(&me));
        for ahead in [30, 3600] {
            let token = fake.mint(&spec().issued_in(ahead).expires_in(ahead + 600));
            assert_eq!(session_id(&accepted(&node, &token).await), session_id(&me));
        }
        let forged = fake.mint(&spec().expires_in(-LEEWAY_S).claim("aud", "another"));
        assert_problem(&node.me(&forged).await, 401, "malformed-token");
        node.stop().await;
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn restricted_and_anonymous_users_are_let_in_only_where_that_is_configured() {
    on_every_backend(async |backend| {
        let settings = ["false", "true"];
        for (restricted, anonymous) in settings.iter().flat_map(|one| settings.map(|other| (*one, other))) {
            let setup = Setup::new(backend)
                .with("STACK_ALLOW_RESTRICTED_USERS", restricted)
                .with("STACK_ALLOW_ANONYMOUS_USERS", anonymous);
            let node = setup.node().await;
            let mut admin = node.administrator().await;
            let kinds = [(NewUser::restricted(), restricted), (NewUser::anonymous(), anonymous)];
            let mut expected = 0;
            for (user, allowed) in kinds {
                let token = setup.fake.sign_up(user).access_token;
                if allowed == "true" {
                    let me = accepted(&node, &token).await;
                    assert_eq!(
                        (&me["user"]["email"], &me["user"]["emailVerified"]),
                        (&None::<()>.into(), &false.into())
                    );
                    expected += 1;
                } else {
                    assert_problem(&node.me(&token).await, 403, "user-not-allowed");
                    assert_problem(&node.me(&token).await, 403, "user-not-allowed");
                }
            }
            assert_eq!(admin.accounts().await.len(), expected);
            node.stop().await;
        }
    })
    .await;
}

// spec: A10
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_becomes_restricted_is_refused_with_the_next_token() {
    let setup = Setup::new(Backend::Sqlite);
    let node = setup.node().await;
    let ada = setup.sign_up("ada@example.com");
    let me = accepted(&node, &ada.access_token).await;
    setup.fake.set_user_type(&ada.user_id, UserType::Restricted);
    let next = setup.fake.access_token(&ada.session_id).unwrap();
    assert_problem(&node.me(&next).await, 403, "user-not-allowed");
    setup.fake.set_user_type(&ada.user_id, UserType::Normal);
    setup.pass(Duration::from_secs(1));
    let again = setup.fake.access_token(&ada.session_id).unwrap();
    assert_eq!(session_id(&accepted(&node, &again).await), session_id(&me));
    node.stop().await;
}
