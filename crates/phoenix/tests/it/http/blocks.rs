//! Blocks and limits in the hands of administrators, and of nobody else. What a block means for whom it names is in
//! `limits/blocked.rs`.

use std::time::Duration;

use http::Method;
use phoenix_auth::ops::CleanUp;
use serde_json::{Value, json};

use super::support::{Browser, Node, Site, assert_problem, on_every_backend};

const BLOCKS: &str = "/api/admin/blocks";
const STATUS: &str = "/api/phoenix/status";
const NOBODY: &str = "019b0000-0000-7000-8000-000000000000";
/// The classes that count addresses: all.
const OF_ADDRESSES: [&str; 8] =
    ["auth", "register", "credentials", "api", "upload", "search", "ai", "webhooks"];
/// The classes that count users.
const OF_USERS: [&str; 5] = ["auth", "api", "upload", "search", "ai"];

/// The blocks that run, the latest first.
pub(super) async fn blocks(admin: &mut Browser, query: &str) -> Vec<Value> {
    let response = admin.get(&format!("{BLOCKS}{query}")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["blocks"].as_array().unwrap().clone()
}

/// Blocks somebody; the blocks that were made.
pub(super) async fn add(admin: &mut Browser, body: &Value) -> Vec<Value> {
    let response = admin.post(BLOCKS, body).await;
    assert_eq!(response.status, 201, "{}", response.text());
    response.json()["blocks"].as_array().unwrap().clone()
}

/// Has what was counted forgotten; how many blocks that ended.
pub(super) async fn reset(admin: &mut Browser, who: Value) -> Value {
    let mut body = who;
    body["action"] = json!("reset_rate_limits");
    let response = admin.post(STATUS, &body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let mut body = response.json();
    assert_eq!(body["success"], true);
    assert_eq!(body["action"], "reset_rate_limits");
    body["liftedBlocks"].take()
}

/// Where a block is.
pub(super) fn path(block: &Value) -> String {
    format!("{BLOCKS}/{}", block["id"].as_str().unwrap())
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_blocks_lists_and_lifts() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let by = admin.user_id().await;
        let mut ada = node.registered("ada@example.com").await;
        let ada_id = ada.user_id().await;

        let made = add(&mut admin, &json!({"address": "::ffff:203.0.113.7", "seconds": 90})).await;
        assert_eq!(classes(&made), OF_ADDRESSES);
        let expected = json!({"id": made[3]["id"], "class": "api", "subject": "address 203.0.113.7",
            "cause": "administrator", "reason": null, "since": "2026-01-01T00:00:00.000Z",
            "until": "2026-01-01T00:01:30.000Z", "by": by});
        assert_eq!(made[3], expected);
        site.clock.advance(Duration::from_secs(1));
        let wanted = json!({"userId": ada_id, "class": "api", "seconds": 2_678_400, "reason": "scraping"});
        let user = add(&mut admin, &wanted).await.remove(0);
        assert_eq!(user["subject"], format!("user {ada_id}"));
        assert_eq!(
            (&user["reason"], &user["until"]),
            (&json!("scraping"), &json!("2026-02-01T00:00:01.000Z"))
        );

        let all = blocks(&mut admin, "").await;
        assert_eq!(all[0], user, "the latest first");
        assert_eq!(all.len(), OF_ADDRESSES.len() + 1);
        assert_eq!(blocks(&mut admin, "?class=auth").await, [made[0].clone()]);
        assert_eq!(pages(&mut admin).await, all);

        let again = add(&mut admin, &json!({"address": "203.0.113.7", "class": "auth", "seconds": 10})).await;
        assert_eq!(blocks(&mut admin, "?class=auth").await, again, "in place of the one that ran");
        assert_problem(&admin.delete(&path(&made[0])).await, 404, "not-found");
        assert_eq!(admin.delete(&path(&again[0])).await.json(), json!({"success": true}));
        assert_problem(&admin.delete(&path(&again[0])).await, 404, "not-found");
        assert!(blocks(&mut admin, "?class=auth").await.is_empty());

        site.clock.advance(Duration::from_mins(1));
        site.clock.advance(Duration::from_secs(29));
        assert_eq!(blocks(&mut admin, "").await, [user], "one has ended by itself");
        node.stop().await;
    })
    .await;
}

fn classes(blocks: &[Value]) -> Vec<&str> {
    blocks.iter().map(|block| block["class"].as_str().unwrap()).collect()
}

/// All blocks, in pages of one.
async fn pages(admin: &mut Browser) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{BLOCKS}?limit=1{cursor}")).await.json();
        seen.extend(page["blocks"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn limits_are_reset_for_one_client_or_for_everybody() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let ada_id = node.registered("ada@example.com").await.user_id().await;
        for number in 1..=3 {
            add(&mut admin, &json!({"address": format!("203.0.113.{number}"), "seconds": 90})).await;
        }
        let of_user = add(&mut admin, &json!({"userId": ada_id, "seconds": 90})).await;
        assert_eq!(classes(&of_user), OF_USERS);
        let of_one = OF_ADDRESSES.len();
        assert_eq!(reset(&mut admin, json!({"address": "203.0.113.1"})).await, of_one);
        assert_eq!(reset(&mut admin, json!({"address": "203.0.113.1"})).await, 0);
        assert_eq!(reset(&mut admin, json!({"userId": ada_id})).await, OF_USERS.len());
        assert_eq!(blocks(&mut admin, "").await.len(), 2 * of_one);
        assert_eq!(reset(&mut admin, json!({})).await, 2 * of_one);
        assert!(blocks(&mut admin, "").await.is_empty());
        node.stop().await;
    })
    .await;
}

/// All that can be done, rightly formed.
fn operations() -> [(Method, String, Option<Value>); 4] {
    [
        (Method::GET, BLOCKS.to_owned(), None),
        (Method::POST, BLOCKS.to_owned(), Some(json!({"address": "203.0.113.9", "seconds": 90}))),
        (Method::DELETE, format!("{BLOCKS}/{NOBODY}"), None),
        (Method::POST, STATUS.to_owned(), Some(json!({"action": "reset_rate_limits"}))),
    ]
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_and_other_sites_may_not_in_an_administrators_name() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let standing = add(&mut admin, &json!({"address": "203.0.113.7", "seconds": 90})).await;
        let mut ada = node.registered("ada@example.com").await;
        for (method, path, body) in operations() {
            let mut stranger = node.browser();
            let answer = stranger.send(method.clone(), &path, body.as_ref()).await;
            assert_problem(&answer, 401, "unauthenticated");
            let answer = ada.send(method.clone(), &path, body.as_ref()).await;
            assert_problem(&answer, 403, "forbidden");
            if method != Method::GET {
                cross_origin(&node, &admin, &method, &path, body.as_ref()).await;
            }
        }
        assert_eq!(blocks(&mut admin, "").await.len(), standing.len());
        node.stop().await;
    })
    .await;
}

async fn cross_origin(node: &Node, admin: &Browser, method: &Method, path: &str, body: Option<&Value>) {
    let call = node.client.request(method.clone(), path);
    let call = call.header("cookie", &format!("phoenix_session={}", admin.token()));
    let call = call.header("sec-fetch-site", "cross-site");
    let call = match body {
        Some(body) => call.json(body),
        None => call,
    };
    assert_problem(&call.send().await.unwrap(), 403, "cross-origin");
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_block_is_named_and_nothing_is_blocked() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let own = admin.user_id().await;
        let ada = node.registered("ada@example.com").await.user_id().await;
        let (long, address) = ("x".repeat(201), "203.0.113.7");
        for (body, fields) in [
            (json!({"seconds": 9}), &["address"][..]),
            (json!({"address": address, "userId": ada, "seconds": 9}), &["userId"]),
            (json!({"address": "203.0.113", "seconds": 9}), &["address"]),
            (json!({"address": "0.0.0.0", "seconds": 9}), &["address"]),
            (json!({"address": "fe80::1%eth0", "seconds": 9}), &["address"]),
            (json!({"address": "203.0.113.0/24", "seconds": 9}), &["address"]),
            (json!({"address": "", "seconds": 9}), &["address"]),
            (json!({"address": "127.0.0.1", "seconds": 9}), &["address"]),
            (json!({"address": "::ffff:127.0.0.1", "seconds": 9}), &["address"]),
            (json!({"userId": own, "seconds": 9}), &["userId"]),
            (json!({"userId": NOBODY, "seconds": 9}), &["userId"]),
            (json!({"userId": "ada@example.com", "seconds": 9}), &["userId"]),
            (json!({"userId": ada, "class": "register", "seconds": 9}), &["class"]),
            (json!({"address": address, "class": "login", "seconds": 9}), &["class"]),
            (json!({"address": address, "seconds": 0}), &["seconds"]),
            (json!({"address": address, "seconds": 2_678_401}), &["seconds"]),
            (json!({"address": address, "seconds": 9, "reason": long}), &["reason"]),
            (json!({"address": address, "seconds": 9, "reason": "a\u{0}b"}), &["reason"]),
            (
                json!({"address": address, "class": "", "seconds": 0, "reason": "a\nb"}),
                &["class", "seconds", "reason"],
            ),
        ] {
            let answer = assert_problem(&admin.post(BLOCKS, &body).await, 422, "invalid-fields");
            let named: Vec<&str> =
                answer["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
            assert_eq!(named, fields, "{body}: {answer}");
        }
        for body in [
            json!({"address": address}),
            json!({"address": address, "seconds": -1}),
            json!({"address": address, "seconds": "9"}),
            json!({"address": address, "seconds": 1.5}),
            json!({"address": [address], "seconds": 9}),
            json!({"address": address, "seconds": 9, "until": 9}),
            json!([address, null, null, 9, null]),
        ] {
            assert_problem(&admin.post(BLOCKS, &body).await, 422, "invalid-fields");
        }
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=x",
            "class=",
            "class=login",
            "after=x",
            "class=api&class=api",
        ] {
            let answer = admin.get(&format!("{BLOCKS}?{query}")).await;
            assert_problem(&answer, 400, "invalid-parameter");
        }
        assert_problem(&admin.delete(&format!("{BLOCKS}/x")).await, 404, "not-found");
        assert_problem(&admin.delete(&format!("{BLOCKS}/{NOBODY}")).await, 404, "not-found");
        assert!(blocks(&mut admin, "").await.is_empty());
        node.stop().await;
    })
    .await;
}

// spec: R6
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_action_is_told_which_there_are() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        add(&mut admin, &json!({"address": "203.0.113.7", "class": "api", "seconds": 90})).await;
        for action in ["", "reset", "reset_metrics", "force_gc", "RESET_RATE_LIMITS"] {
            let answer = admin.post(STATUS, &json!({"action": action})).await;
            let answer = assert_problem(&answer, 422, "invalid-fields");
            assert_eq!(answer["errors"][0]["field"], "action");
            assert_eq!(answer["errors"][0]["reason"], "Must be reset_rate_limits.");
        }
        for (body, field) in [
            (json!({"action": "reset_rate_limits", "address": "x"}), "address"),
            (json!({"action": "reset_rate_limits", "userId": NOBODY}), "userId"),
            (json!({"action": "reset_rate_limits", "userId": NOBODY, "address": "203.0.113.7"}), "userId"),
        ] {
            let answer = assert_problem(&admin.post(STATUS, &body).await, 422, "invalid-fields");
            assert_eq!(answer["errors"][0]["field"], field);
        }
        for body in [json!({}), json!({"action": null}), json!({"action": "reset_rate_limits", "email": "x"})]
        {
            assert_problem(&admin.post(STATUS, &body).await, 422, "invalid-fields");
        }
        assert_eq!(blocks(&mut admin, "").await.len(), 1);
        node.stop().await;
    })
    .await;
}

// spec: D15
#[tokio::test(flavor = "multi_thread")]
async fn the_clean_up_removes_blocks_that_ended_in_batches() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        for number in 1..=5 {
            let body = json!({"address": format!("203.0.113.{number}"), "class": "api", "seconds": 90});
            add(&mut admin, &body).await;
        }
        let age = Duration::from_hours(1);
        let bounds = CleanUp { batch: 2, max_batches: 20, invalidation_age: age, event_age: age };
        let statements = async |admin: &mut Browser| {
            let status = admin.status().await;
            let lines = status["database"]["statements"].as_array().unwrap().clone();
            lines.iter().find(|line| line["name"] == "block_trim").unwrap()["count"].as_u64().unwrap()
        };
        site.clock.advance_day(age);
        node.app.auth.clean_up(bounds).await.unwrap();
        assert_eq!(statements(&mut admin).await, 1, "none has ended for an hour");
        site.clock.advance_day(age);
        node.app.auth.clean_up(bounds).await.unwrap();
        assert_eq!(statements(&mut admin).await, 1 + 3, "two, two and one");
        node.stop().await;
    })
    .await;
}
