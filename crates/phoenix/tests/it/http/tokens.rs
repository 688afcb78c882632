//! Tokens: how they are handed over, replaced and refused.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::support::{Browser, Node, PASSWORD, Site, assert_problem, on_every_backend};

const REFRESH: &str = "/api/auth/refresh";
const NEW_PASSWORD: &str = "harbor pencil quartz 77";

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_password_ends_every_session_but_goes_on_with_a_new_token() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut browser = node.registered("ada@example.com").await;
        let mut other = node.signed_in("ada@example.com").await;
        let before = browser.token();
        assert_eq!(
            (browser.me().await.status, other.me().await.status),
            (200.try_into().unwrap(), 200.try_into().unwrap())
        );

        let change = |current: &str, new: &str| json!({"currentPassword": current, "newPassword": new});
        let wrong = browser.post("/api/auth/password", &change("wrong", NEW_PASSWORD)).await;
        assert_problem(&wrong, 401, "invalid-credentials");
        let weak = browser.post("/api/auth/password", &change(PASSWORD, "short")).await;
        assert_eq!(assert_problem(&weak, 422, "invalid-fields")["errors"][0]["field"], "newPassword");
        assert_eq!(other.me().await.status, 200, "a refused change ends nothing");

        let changed = browser.post("/api/auth/password", &change(PASSWORD, NEW_PASSWORD)).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_ne!(browser.token(), before);
        assert_problem(&node.me(&before).await, 401, "session-ended");
        assert_problem(&other.me().await, 401, "session-ended");
        assert_eq!(browser.sessions().await.len(), 1);
        assert_problem(&other.login("ada@example.com", PASSWORD).await, 401, "invalid-credentials");
        assert_eq!(other.login("ada@example.com", NEW_PASSWORD).await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_token_works_for_its_grace_and_ends_the_session_when_it_is_replayed() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut browser = node.registered("ada@example.com").await;
        let first = browser.token();
        let session = browser.session_id().await;

        let refreshed = browser.act(REFRESH).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text());
        assert_eq!(refreshed.json()["session"]["id"], session.as_str());
        let second = browser.token();
        assert_ne!(second, first);
        assert_eq!(node.me(&second).await.status, 200);

        site.clock.advance_day(Duration::from_secs(29));
        assert_eq!(node.me(&first).await.status, 200, "requests on their way still count");
        let mut late = Browser::with_token(&node.client, &first);
        assert_eq!(late.act(REFRESH).await.status, 200);
        assert_eq!(late.token(), second, "a late tab is handed the same successor");

        site.clock.advance_day(Duration::from_secs(2));
        assert_problem(&node.me(&first).await, 401, "session-ended");
        assert_eq!(node.me(&second).await.status, 200, "an old token that only reads ends nothing");
        let mut thief = Browser::with_token(&node.client, &first);
        assert_problem(&thief.act(REFRESH).await, 401, "session-ended");
        assert_problem(&node.me(&second).await, 401, "session-ended");
        assert_problem(&browser.act(REFRESH).await, 401, "session-ended");

        // The owner is told why, when they are back.
        assert_eq!(browser.login("ada@example.com", PASSWORD).await.status, 200);
        let events = browser.events(1).await;
        assert_eq!(
            (&events[0]["kind"], &events[0]["sessionId"]),
            (&json!("token-replayed"), &json!(session))
        );
        assert_eq!(
            (&events[0]["ipAddress"], &events[0]["at"]),
            (&json!("127.0.0.1"), &json!("2026-01-01T00:00:31.000Z"))
        );
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn tabs_that_race_to_refresh_are_handed_the_same_token() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let browser = node.registered("ada@example.com").await;
        let mut racing = JoinSet::new();
        for _ in 0..20 {
            let mut tab = browser.clone();
            racing.spawn(async move {
                let response = tab.act(REFRESH).await;
                assert_eq!(response.status, 200, "{}", response.text());
                tab.token()
            });
        }
        let mut tokens = racing.join_all().await;
        tokens.dedup();
        assert_eq!(tokens.len(), 1);
        assert_ne!(tokens[0], browser.token());
        assert_eq!(node.me(&tokens[0]).await.status, 200);
        node.stop().await;
    })
    .await;
}

async fn refreshed(node: &Node, token: &str) -> String {
    let response = node.client.post(REFRESH).bearer(token).send().await.unwrap();
    assert_eq!((response.status.as_u16(), response.header("set-cookie")), (200, None));
    response.json()["token"].as_str().unwrap().to_owned()
}

// spec: A11 A13
#[tokio::test(flavor = "multi_thread")]
async fn programs_carry_the_token_in_a_header() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "transport": "bearer"});
        let registered = node.client.post("/api/auth/register").json(&body).send().await.unwrap();
        assert_eq!((registered.status.as_u16(), registered.header("set-cookie")), (201, None));
        let token = registered.json()["token"].as_str().unwrap().to_owned();
        assert!(token.starts_with("phx_s_") && token.len() == 55);
        assert_eq!(node.me(&token).await.json()["user"]["email"], "ada@example.com");

        let successor = refreshed(&node, &token).await;
        assert_ne!(successor, token);
        // The header counts before the cookie, and its scheme is written in any case.
        let other = node.token("root@example.com").await;
        let call = node.client.get("/api/auth/me").header("authorization", &format!("bEaReR {successor}"));
        let both = call.header("cookie", &format!("phoenix_session={other}")).send().await.unwrap();
        assert_eq!(both.json()["user"]["email"], "ada@example.com");

        let change = json!({"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD});
        let changed = node.client.post("/api/auth/password").bearer(&successor).json(&change).send().await;
        let changed = changed.unwrap();
        assert_eq!((changed.status.as_u16(), changed.header("set-cookie")), (200, None));
        let last = changed.json()["token"].as_str().unwrap().to_owned();
        assert_problem(&node.me(&successor).await, 401, "session-ended");
        let left = node.client.post("/api/auth/logout").bearer(&last).send().await.unwrap();
        assert_eq!((left.json(), left.header("set-cookie")), (json!({"success": true}), None));
        assert_problem(&node.me(&last).await, 401, "session-ended");
        node.stop().await;
    })
    .await;
}
