//! Each class with its defaults and with other settings, over real connections.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use phoenix::entropy::SystemEntropy;
use phoenix_auth::model::SessionToken;
use phoenix_testkit::http::Response;
use phoenix_testkit::redis::Redis;
use serde_json::json;

use super::super::support::{ADMIN, Backend, ME, Node, PASSWORD, Site, assert_problem, on_every_backend};
use super::{advance, header, limited, retry_after};

impl Node {
    /// A request from an address of this machine, by nobody in particular.
    async fn ask_from(&self, address: [u8; 4], method: Method, path: &str) -> Response {
        self.browser().from(address, self.address).send(method, path, None).await
    }

    /// How many requests pass before one is refused, which is returned too.
    async fn until_refused(&self, address: [u8; 4], method: &Method, path: &str) -> (usize, Response) {
        for passed in 0..500 {
            let response = self.ask_from(address, method.clone(), path).await;
            if response.status == 429 {
                return (passed, response);
            }
        }
        panic!("{method} {path} is not limited");
    }
}

// spec: R2
#[tokio::test(flavor = "multi_thread")]
async fn every_class_has_its_default_limit_and_block() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let cases = [
        (Method::GET, "/api/anything", "api", 100, 300),
        (Method::POST, "/api/upload", "upload", 10, 600),
        (Method::GET, "/api/search/people", "search", 30, 120),
        (Method::POST, "/api/ai/chat", "ai", 20, 300),
        (Method::POST, "/api/auth/register", "register", 10, 3_600),
    ];
    for (last, (method, path, class, limit, wait)) in (10..).zip(cases) {
        let (passed, refused) = node.until_refused([127, 0, 0, last], &method, path).await;
        assert_eq!((passed, retry_after(&refused)), (limit, wait), "{class}");
        let body = assert_problem(&refused, 429, "quota-exceeded");
        assert_eq!(body["violated-policies"], json!([class]));
        assert!(header(&refused, "ratelimit-policy").starts_with(&format!("\"{class}\";q={limit};w=")));
        // The other classes of this client are as before, and so is this class of others.
        let other = if class == "ai" { "/api/search/x" } else { "/api/ai/x" };
        assert_eq!(node.ask_from([127, 0, 0, last], Method::GET, other).await.status, 404);
        assert_ne!(node.ask_from([127, 0, 1, last], method, path).await.status, 429);
    }
    for path in ["/healthz", "/readyz"] {
        for _ in 0..150 {
            assert_eq!(node.ask_from([127, 0, 0, 10], Method::GET, path).await.status, 200);
        }
    }
    node.stop().await;
}

// spec: R1, R4
#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_connections_from_one_address_share_one_limit() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let asked = (0..300).map(|_| node.ask_from([127, 0, 0, 2], Method::GET, ME));
    let responses = join_all(asked).await;
    let count = |status: u16| responses.iter().filter(|response| response.status == status).count();
    assert_eq!((count(401), count(429)), (100, 200));
    node.stop().await;
}

// spec: R5
#[tokio::test(flavor = "multi_thread")]
async fn users_behind_one_address_have_limits_of_their_own() {
    on_every_backend(async |backend| {
        let site = limited(backend);
        let node = site.node().await;
        let mut ada = node.registered("ada@example.com").await.from([127, 0, 0, 2], node.address);
        let mut bob = node.registered("bob@example.com").await.from([127, 0, 0, 2], node.address);
        for _ in 0..110 {
            node.ask_from([127, 0, 0, 2], Method::GET, ME).await;
        }
        assert_eq!(node.ask_from([127, 0, 0, 2], Method::GET, ME).await.status, 429);
        let mut left = Vec::new();
        for _ in 0..100 {
            let response = ada.me().await;
            assert_eq!(response.status, 200, "{}", response.text());
            left.push(header(&response, "x-ratelimit-remaining").parse::<u32>().unwrap());
        }
        assert_eq!(left, (0..100).rev().collect::<Vec<_>>());
        assert_eq!(retry_after(&ada.me().await), 300);
        // Wherever she goes, and whichever session she uses.
        let mut elsewhere = node.browser().from([127, 0, 0, 3], node.address);
        assert_eq!(elsewhere.login("ada@example.com", PASSWORD).await.status, 200);
        assert_eq!(elsewhere.me().await.status, 429);
        assert_eq!(bob.me().await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: R1, S4
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_made_up_tokens_does_not_reach_the_database() {
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", r#"{api = {windows = ["1000/1m"]}}"#);
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let before = admin.statements().await;
    let mut refused = 0;
    let tokens: Vec<SessionToken> = (0..200).map(|_| SessionToken::generate(&SystemEntropy)).collect();
    for token in &tokens {
        let response = node.me(token.expose()).await;
        if response.status == 429 {
            refused += 1;
            let body = assert_problem(&response, 429, "quota-exceeded");
            assert_eq!(body["violated-policies"], json!(["credentials"]));
        } else {
            assert_problem(&response, 401, "session-ended");
        }
    }
    assert_eq!(refused, 140);
    let work = admin.statements().await.since(&before);
    let sixty = ["session_find", "session_find_previous"].map(|statement| (statement.to_owned(), 60));
    assert_eq!(work, sixty.into());
    // Sessions that memory knows are answered, and tokens that it knows to be nobody's too.
    assert_eq!(admin.me().await.status, 200);
    assert_eq!(node.me(tokens[3].expose()).await.status, 401);
    advance(&site, 60);
    assert_eq!(node.me(tokens[199].expose()).await.status, 401);
    node.stop().await;
}

// After a start memory knows nobody, and an office full of people asks from one address.
// spec: R5
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_unknown_but_good_tokens_at_once_are_all_accepted() {
    let redis = Redis::start().unwrap();
    for site in [Site::new(Backend::Sqlite), Site::new(Backend::Postgres), Site::with_redis(&redis)] {
        let site = site
            .with("PHOENIX_LIMITS_EXEMPT", "")
            .with("PHOENIX_LIMITS_CLASSES", r#"{api = {windows = ["1000/1m"]}}"#)
            // A slow machine is no outage.
            .with("PHOENIX_REDIS_COMMAND_TIMEOUT", "10s");
        let first = site.node().await;
        let mut tokens = Vec::new();
        for _ in 0..100 {
            let browser = first.signed_in(ADMIN).await;
            tokens.push(browser.token());
        }
        let second = site.node().await;
        let answers = join_all(tokens.iter().map(|token| second.me(token))).await;
        for answer in answers {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        // Made-up ones are still stopped.
        let made_up: Vec<_> = (0..100).map(|_| SessionToken::generate(&SystemEntropy)).collect();
        let answers = join_all(made_up.iter().map(|token| second.me(token.expose()))).await;
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(401), count(429)), (60, 40));
        first.stop().await;
        second.stop().await;
    }
}

// spec: R5
#[tokio::test(flavor = "multi_thread")]
async fn networks_are_exempt_or_have_more_room_and_a_class_may_only_observe() {
    let api = r#"windows = ["4/1m"], exempt = ["127.0.5.0/24"], networks = [{cidr = "127.0.6.0/24", multiplier = 2}]"#;
    let classes = format!(r#"{{api = {{{api}}}, ai = {{windows = ["4/1m"], observe = true}}}}"#);
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", &classes);
    let node = site.node().await;
    let passed = |address| {
        let node = &node;
        async move { node.until_refused(address, &Method::GET, "/api/x").await.0 }
    };
    assert_eq!((passed([127, 0, 4, 1]).await, passed([127, 0, 6, 1]).await), (4, 8));
    for _ in 0..20 {
        for (address, path) in [([127, 0, 5, 1], "/api/x"), ([127, 0, 4, 1], "/api/ai/x")] {
            let response = node.ask_from(address, Method::GET, path).await;
            assert_eq!((response.status.as_u16(), response.header("ratelimit")), (404, None), "{path}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_nobody_is_refused() {
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS", "false");
    let node = site.node().await;
    for _ in 0..110 {
        let response = node.ask_from([127, 0, 0, 2], Method::GET, ME).await;
        assert_eq!((response.status.as_u16(), response.header("ratelimit")), (401, None));
    }
    for _ in 0..7 {
        let response = node.browser().login(ADMIN, "not the password").await;
        assert_eq!((response.status.as_u16(), response.header("ratelimit")), (401, None));
    }
    node.stop().await;
}

/// Every way to write a path has the limit of what is answered there.
#[tokio::test(flavor = "multi_thread")]
async fn no_way_to_write_a_path_escapes_its_limit() {
    let site: Site = limited(Backend::Sqlite);
    let node = site.node().await;
    for path in ["/api/auth/me/", "/api//auth/me", "/api/%61uth/me", "/api/x/../auth/me", "/API/auth/me"] {
        for _ in 0..10 {
            let response = node.ask_from([127, 0, 0, 2], Method::GET, path).await;
            assert_ne!(response.status, 200);
            assert!(response.header("ratelimit").is_some(), "{path}");
        }
    }
    assert_eq!(header(&node.ask_from([127, 0, 0, 2], Method::GET, ME).await, "x-ratelimit-remaining"), "49");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_credentials_counts() {
    let classes = r#"{api = {windows = ["3/1m"], count = "failures"}}"#;
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", classes);
    let node = site.node().await;
    for status in [400, 400, 400, 429] {
        let request =
            node.client.get(ME).header("authorization", "Bearer a").header("authorization", "Bearer b");
        assert_eq!(request.send().await.unwrap().status, status);
    }
    node.stop().await;
}

// spec: R5
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_memory_does_not_know_is_counted_as_that_user() {
    let classes = r#"{search = {windows = ["3/1m"]}}"#;
    let site = limited(Backend::Sqlite).with("PHOENIX_LIMITS_CLASSES", classes);
    let node = site.node().await;
    let ada = node.registered("ada@example.com").await;
    assert_eq!(node.until_refused([127, 0, 0, 2], &Method::GET, "/api/search").await.0, 3);
    // New places, so that memory does not answer for them.
    for (place, status) in [(2, 404), (3, 404), (4, 404), (5, 429)] {
        let mut ada = ada.from([127, 0, 0, place], node.address);
        assert_eq!(ada.get("/api/search").await.status, status, "{place}");
    }
    node.stop().await;
}

// spec: S4
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_one_token_that_is_over_does_not_reach_the_database() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let token = node.registered("ada@example.com").await.token();
    for _ in 0..40 {
        site.clock.advance_day(Duration::from_hours(24));
    }
    let mut admin = node.administrator().await;
    let before = admin.statements().await;
    for _ in 0..200 {
        let call = node.client.post("/api/auth/password").bearer(&token).json(&json!({}));
        assert_eq!(call.send().await.unwrap().status, 401);
    }
    let after = admin.statements().await;
    assert!(after.count("session_find") - before.count("session_find") < 5, "{:?}", after.since(&before));
    node.stop().await;
}
