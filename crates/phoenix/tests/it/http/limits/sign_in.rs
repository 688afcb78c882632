//! Guesses at passwords: few are verified, nobody is kept out by strangers, and nobody learns more than that a
//! password is wrong.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use phoenix_testkit::http::Response;
use serde_json::json;

use super::super::support::{ADMIN, Backend, Node, PASSWORD, assert_problem, on_every_backend};
use super::{advance, header, limited, retry_after};

const WRONG: &str = "not the password";

impl Node {
    /// A sign-in from an address of this machine, from a browser without cookies.
    async fn login_from(&self, address: [u8; 4], email: &str, password: &str) -> Response {
        self.browser().from(address, self.address).login(email, password).await
    }
}

// spec: R2, S4
#[tokio::test(flavor = "multi_thread")]
async fn after_five_wrong_passwords_a_client_is_blocked_for_thirty_minutes() {
    on_every_backend(async |backend| {
        let site = limited(backend);
        let node = site.node().await;
        for left in [4, 3, 2, 1, 0] {
            let response = node.login_from([127, 0, 0, 2], ADMIN, WRONG).await;
            assert_problem(&response, 401, "invalid-credentials");
            assert_eq!(header(&response, "ratelimit"), format!("\"auth\";r={left};t=900"));
        }
        let refused = node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await;
        let body = assert_problem(&refused, 429, "quota-exceeded");
        assert_eq!(body["violated-policies"], json!(["auth"]));
        assert_eq!(body["detail"], "You are blocked by the limit \"auth\". Try again in 30 minutes.");
        assert_eq!(retry_after(&refused), 1_800);
        // Others are not.
        assert_eq!(node.login_from([127, 0, 0, 3], ADMIN, PASSWORD).await.status, 200);
        // Redis has a clock of its own.
        if backend != Backend::PostgresAndRedis {
            advance(&site, 1_799);
            assert_eq!(retry_after(&node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await), 1);
            advance(&site, 1);
            assert_eq!(node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await.status, 200);
        }
        node.stop().await;
    })
    .await;
}

// spec: R2
#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_never_count() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    for _ in 0..12 {
        let response = node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(header(&response, "ratelimit"), r#""auth";r=5;t=0"#);
    }
    node.stop().await;
}

// spec: R2, S4
#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_guesses_at_once_five_are_verified() {
    on_every_backend(async |backend| {
        let site = limited(backend);
        let node = site.node().await;
        let guesses = (0..100).map(|_| node.login_from([127, 0, 0, 2], ADMIN, WRONG));
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for response in join_all(guesses).await {
            *statuses.entry(response.status.as_u16()).or_default() += 1;
        }
        assert_eq!(statuses, [(401, 5), (429, 95)].into());
        node.stop().await;
    })
    .await;
}

// spec: S4
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_signs_in_on_a_known_device_while_strangers_hammer_the_account() {
    on_every_backend(async |backend| {
        let site = limited(backend);
        let node = site.node().await;
        let mut owner = node.browser().from([127, 0, 0, 2], node.address);
        assert_eq!(owner.register("ada@example.com").await.status, 201);
        let first_mark = owner.mark().expect("a mark of the device").to_owned();
        // From the same address, until it is blocked, and from so many others that the account is slowed down.
        for round in 0..26_u8 {
            let address = if round < 6 { [127, 0, 0, 2] } else { [127, 0, 1, round] };
            let status = node.login_from(address, "ada@example.com", WRONG).await.status.as_u16();
            assert_eq!(status, if round == 5 { 429 } else { 401 }, "{round}");
        }
        let elsewhere = node.login_from([127, 0, 2, 1], "ada@example.com", PASSWORD).await;
        assert_problem(&elsewhere, 401, "invalid-credentials");

        let mut again = owner.on_the_same_device();
        assert_eq!(again.login("ada@example.com", PASSWORD).await.status, 200);
        assert_ne!(again.mark(), Some(first_mark.as_str()), "each sign-in makes a new mark");
        // The mark is of this account only.
        let other = owner.on_the_same_device().login(ADMIN, PASSWORD).await;
        assert_eq!(other.status, 429, "{}", other.text());
        // And good for five guesses, wherever it is taken to.
        for guess in 1..=6_u8 {
            let mut thief = owner.on_the_same_device().from([127, 0, 3, guess], node.address);
            let status = thief.login("ada@example.com", WRONG).await.status;
            assert_eq!(status, if guess == 6 { 429 } else { 401 });
        }
        assert_eq!(again.on_the_same_device().login("ada@example.com", PASSWORD).await.status, 200);
        node.stop().await;
    })
    .await;
}

/// What an attacker sees of an answer, but for what differs with every answer.
fn shape(response: &Response) -> String {
    let varying = ["x-response-time", "x-total-time", "x-auth-time", "x-request-id", "date"];
    let told = response.headers.iter().filter(|(name, _)| !varying.contains(&name.as_str()));
    let mut told: Vec<String> = told.map(|(name, value)| format!("{name}: {value:?}")).collect();
    told.sort();
    format!("{} {told:?} {}", response.status, response.text())
}

// spec: S4
#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_a_thousand_addresses_are_slowed_and_nobody_can_tell() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let mut shapes = std::collections::BTreeSet::new();
    for third in 1..=10_u8 {
        let guesses = (0..100).map(|last| {
            let node = &node;
            // One of them knows the password, and comes too late for it to be looked at.
            let password = if (third, last) == (5, 7) { PASSWORD } else { WRONG };
            async move { node.login_from([127, 7, third, last], ADMIN, password).await }
        });
        if third == 1 {
            // One after the other, until the account is slowed down.
            for guess in guesses {
                shapes.insert(shape(&guess.await));
            }
        } else {
            shapes.extend(join_all(guesses).await.iter().map(shape));
        }
    }
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    assert!(shapes.iter().all(|shape| shape.starts_with("401")), "{shapes:#?}");
    // An account that does not exist is answered alike.
    for last in 0..30 {
        let unknown = node.login_from([127, 8, 0, last], "nobody@example.com", WRONG).await;
        assert!(shapes.contains(&shape(&unknown)), "{}", shape(&unknown));
    }
    // One password in five seconds is looked at. Every other account is as before.
    site.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(node.login_from([127, 9, 0, 1], ADMIN, PASSWORD).await.status, 200);
    assert_eq!(admin.me().await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_password_is_not_looked_at_asks_the_same_of_the_database() {
    let site = limited(Backend::Sqlite).with("PHOENIX_REGISTRATION", "open");
    let node = site.node().await;
    let mut admin = node.administrator().await;
    let mut work = Vec::new();
    for last in 0..25 {
        let before = admin.statements().await;
        assert_eq!(node.login_from([127, 7, 0, last], ADMIN, WRONG).await.status, 401);
        work.push(admin.statements().await.since(&before));
    }
    work.dedup();
    assert_eq!(work, [[("credentials".to_owned(), 1)].into()]);
    node.stop().await;
}

// spec: S4
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_the_password_of_a_session_they_took_is_stopped_wherever_they_are() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let owner = node.registered("ada@example.com").await;
    let change = json!({"currentPassword": WRONG, "newPassword": "copper-meadow-ninety-sparrow"});
    for guess in 1..=6_u8 {
        let mut thief = owner.from([127, 0, 3, guess], node.address);
        let response = thief.post("/api/auth/password", &change).await;
        if guess == 6 {
            assert_eq!(retry_after(&response), 1_800);
        } else {
            assert_problem(&response, 401, "invalid-credentials");
        }
    }
    // The session itself goes on.
    assert_eq!(owner.clone().me().await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_attempt_is_not_counted() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    for _ in 0..20 {
        let mut browser = node.browser().from([127, 0, 0, 2], node.address);
        let body = json!({"email": "no address", "password": WRONG});
        assert_problem(&browser.post("/api/auth/login", &body).await, 422, "invalid-fields");
        let body = json!({"email": ADMIN, "password": "x".repeat(10_000)});
        assert_problem(&browser.post("/api/auth/login", &body).await, 422, "invalid-fields");
    }
    assert_eq!(node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await.status, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_elsewhere_locks_nobody_out_of_signing_in() {
    let site = limited(Backend::Sqlite);
    let node = site.node().await;
    let visitor = node.browser().from([127, 0, 0, 2], node.address);
    for path in ["/api/auth/login/", "/API/auth/login", "/api/auth%2Flogin"].repeat(4) {
        let mut visitor = visitor.on_the_same_device();
        assert_problem(&visitor.post(path, &json!({})).await, 404, "not-found");
    }
    assert_eq!(node.login_from([127, 0, 0, 2], ADMIN, PASSWORD).await.status, 200);
    node.stop().await;
}
