//! What administrators may do, and what others may not.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use phoenix_testkit::http::Client;
use serde_json::{Value, json};

use super::support::{
    ADMIN, Backend, Browser, PASSWORD, Site, assert_marked, assert_problem, on_every_backend,
    on_every_shared_backend,
};

const USERS: &str = "/api/admin/users";
const NOBODY: &str = "019b0000-0000-7000-8000-000000000000";

fn user(id: &str) -> String {
    format!("{USERS}/{id}")
}

// spec: A11 A14
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_role_or_access_ends_the_sessions_of_the_user_at_once() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut ada = node.registered("ada@example.com").await;
        let id = ada.user_id().await;

        let nothing = admin.patch(&user(&id), &json!({"role": "user", "disabled": false})).await;
        assert_eq!(nothing.status, 200, "{}", nothing.text());
        assert_eq!(ada.me().await.status, 200, "what changes nothing ends nothing");

        let promoted = admin.patch(&user(&id), &json!({"role": "editor"})).await;
        assert_eq!(promoted.json()["user"]["role"], "editor");
        assert_eq!(promoted.json()["user"]["disabled"], false);
        assert_problem(&ada.me().await, 401, "session-ended");
        let mut ada = node.signed_in("ada@example.com").await;
        assert_eq!(ada.me().await.json()["user"]["role"], "editor");

        let disabled = admin.patch(&user(&id), &json!({"disabled": true})).await;
        assert_eq!(disabled.json()["user"]["disabled"], true);
        assert_problem(&ada.me().await, 401, "session-ended");
        assert_problem(&ada.act("/api/auth/refresh").await, 401, "session-ended");
        assert_problem(&ada.login("ada@example.com", PASSWORD).await, 403, "account-disabled");
        assert_problem(&ada.login("ada@example.com", "wrong").await, 401, "invalid-credentials");

        admin.patch(&user(&id), &json!({"disabled": false})).await;
        assert_eq!(ada.login("ada@example.com", PASSWORD).await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_refused_at_the_other_nodes_within_the_bound() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_REVOCATION_BOUND", "2s");
        let (one, two) = (site.node().await, site.node().await);
        let mut admin = one.administrator().await;
        let ada = one.registered("ada@example.com").await;
        let mut elsewhere = ada.at(&two.client);
        elsewhere.until_in_memory().await;
        let id = elsewhere.user_id().await;
        assert_eq!(admin.patch(&user(&id), &json!({"disabled": true})).await.status, 200);
        // Whether or not the other node heard of it: after the bound its copies no longer count.
        site.clock.advance(Duration::from_millis(2001));
        assert_problem(&elsewhere.me().await, 401, "session-ended");
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let own = user(&admin.user_id().await);
        for change in [json!({"role": "user"}), json!({"disabled": true})] {
            assert_problem(&admin.patch(&own, &change).await, 409, "last-administrator");
        }
        assert_eq!(admin.me().await.status, 200, "a refused change ends nothing");

        let mut ada = node.registered("ada@example.com").await;
        let other = user(&ada.user_id().await);
        assert_eq!(admin.patch(&other, &json!({"role": "admin"})).await.status, 200);
        assert_eq!(admin.patch(&own, &json!({"role": "user"})).await.status, 200);
        assert_problem(&admin.me().await, 401, "session-ended");
        ada = node.signed_in("ada@example.com").await;
        assert_problem(&ada.patch(&other, &json!({"role": "user"})).await, 409, "last-administrator");
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_page_by_page() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        for number in 0..5 {
            site.clock.advance(Duration::from_millis(1));
            node.registered(&format!("user{number}@example.com")).await;
        }
        let whole = admin.get(USERS).await.json();
        let emails: Vec<&str> =
            whole["users"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect();
        let expected: Vec<String> = (0..5).map(|number| format!("user{number}@example.com")).collect();
        assert_eq!(emails[0], ADMIN, "oldest first");
        assert_eq!(emails[1..], expected);
        assert_eq!(whole["next"], Value::Null);
        assert!(!whole.to_string().contains("assword"));

        for limit in 1..=3 {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page = admin.get(&format!("{USERS}?limit={limit}{after}")).await.json();
                let users = page["users"].as_array().unwrap();
                assert!(users.len() <= limit);
                seen.extend(users.iter().map(|user| user["email"].as_str().unwrap().to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                after = format!("&after={next}");
            }
            assert_eq!(seen, emails, "pages of {limit}");
        }
        let one = admin.get(&user(whole["users"][1]["id"].as_str().unwrap())).await.json();
        assert_eq!(one["user"], whole["users"][1]);
        node.stop().await;
    })
    .await;
}

// spec: A14
#[tokio::test(flavor = "multi_thread")]
async fn administrators_list_and_end_the_sessions_of_anybody() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut ada = node.registered("ada@example.com").await;
        let mut second = node.signed_in("ada@example.com").await;
        let sessions = format!("{}/sessions", user(&ada.user_id().await));
        let listed = admin.get(&sessions).await.json();
        let ids: BTreeSet<&str> =
            listed["sessions"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap()).collect();
        let (first_id, second_id) = (ada.session_id().await, second.session_id().await);
        assert_eq!(ids, [first_id.as_str(), second_id.as_str()].into());
        assert!(listed["sessions"].as_array().unwrap().iter().all(|line| line["current"] == false));

        let own = format!("{}/sessions/{second_id}", user(&admin.user_id().await));
        assert_problem(&admin.delete(&own).await, 404, "not-found");
        let ended = admin.delete(&format!("{sessions}/{second_id}")).await;
        assert_eq!(ended.json(), json!({"success": true}));
        assert_problem(&second.me().await, 401, "session-ended");
        assert_eq!(ada.me().await.status, 200);
        assert_eq!(admin.delete(&sessions).await.json(), json!({"success": true, "ended": 1}));
        assert_problem(&ada.me().await, 401, "session-ended");
        assert_eq!(admin.delete(&sessions).await.json(), json!({"success": true, "ended": 0}));
        node.stop().await;
    })
    .await;
}

/// Everything that only administrators may ask, about a user.
fn operations(id: &str) -> [(Method, String, Option<Value>); 7] {
    let sessions = format!("{}/sessions", user(id));
    [
        (Method::GET, USERS.to_owned(), None),
        (Method::GET, user(id), None),
        (Method::PATCH, user(id), Some(json!({"disabled": true}))),
        (Method::GET, sessions.clone(), None),
        (Method::DELETE, sessions.clone(), None),
        (Method::GET, format!("{}/security-events", user(id)), None),
        (Method::DELETE, format!("{sessions}/{NOBODY}"), None),
    ]
}

// spec: A11 M12
#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_may_administer_and_nobody_is_not_found() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let mut ada = node.registered("ada@example.com").await;
    let id = ada.user_id().await;
    for (method, path, body) in operations(&id) {
        let anonymous = node.browser().send(method.clone(), &path, body.as_ref()).await;
        assert_problem(&anonymous, 401, "unauthenticated");
        assert_problem(&ada.send(method, &path, body.as_ref()).await, 403, "forbidden");
    }
    assert_eq!(ada.me().await.status, 200, "a refused operation changes nothing");
    for id in [NOBODY, "not-a-uuid", "%E2%80%8B"] {
        for (method, path, body) in operations(id).into_iter().skip(1) {
            assert_problem(&admin.send(method, &path, body.as_ref()).await, 404, "not-found");
        }
    }
    node.stop().await;
}

async fn status(client: &Client, browser: Option<&mut Browser>) -> Value {
    let response = match browser {
        Some(browser) => browser.get("/api/phoenix/status").await,
        None => client.get("/api/phoenix/status").send().await.unwrap(),
    };
    assert_eq!(response.status, 200);
    assert_marked(&response);
    response.json()
}

// spec: M13
#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_short_for_everybody_and_full_for_administrators() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut ada = node.registered("ada@example.com").await;
        let short = json!({"status": "ok", "version": phoenix::VERSION});
        assert_eq!(status(&node.client, None).await, short);
        assert_eq!(status(&node.client, Some(&mut ada)).await, short);
        site.clock.advance(Duration::from_secs(1));

        let full = status(&node.client, Some(&mut admin)).await;
        let parts: Vec<&str> = full.as_object().unwrap().keys().map(String::as_str).collect();
        let (first, last) = (
            ["database", "pool", "providers", "rateLimits", "redis"],
            ["status", "tiers", "tls", "uptimeSeconds"],
        );
        assert_eq!(parts, [&first[..], &["revocation"], &last, &["version"]].concat());
        assert_eq!(full["providers"], json!([]), "none is configured");
        let revocation = &full["revocation"];
        assert_eq!((&revocation["boundSeconds"], &revocation["servedInGrace"]), (&json!(2.0), &json!(0)));
        let lease = revocation["leaseRemainingSeconds"].as_f64().unwrap();
        assert!(
            (0.5..=2.0).contains(&lease),
            "a second has passed, at most half a second to the next: {lease}"
        );
        assert_eq!(revocation["push"].is_null(), backend == Backend::Sqlite, "one node has nobody to tell");
        assert!(!full["tiers"].as_object().unwrap().contains_key("leaseRemainingMs"));
        assert_eq!((&full["status"], &full["uptimeSeconds"]), (&json!("ok"), &json!(1)));
        let kind = if backend == Backend::Sqlite { "sqlite" } else { "postgresql" };
        assert_eq!(full["database"]["kind"], kind);
        assert_eq!(
            (&full["database"]["available"], &full["database"]["readOnly"]),
            (&json!(true), &json!(false))
        );
        let statements = full["database"]["statements"].as_array().unwrap();
        assert!(statements.iter().all(|line| line["errors"] == 0), "{statements:?}");
        assert!(full["pool"]["size"].as_u64().unwrap() >= 1);
        assert_eq!(full["redis"]["available"] == true, backend == Backend::PostgresAndRedis);
        node.stop().await;
    })
    .await;
}
