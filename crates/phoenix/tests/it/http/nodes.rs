//! Several nodes: a revocation at one is a refusal at all, within the bound.

use std::time::Duration;

use phoenix_testkit::wait;
use serde_json::json;

use super::support::{ME, PASSWORD, SOON, Site, assert_problem, on_every_shared_backend};

const BOUND: Duration = Duration::from_secs(2);

// spec: A14 D11 G3
#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_revokes_no_node_accepts_after_the_bound() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_REVOCATION_BOUND", "2s");
        let (one, two) = (site.node().await, site.node().await);
        for end in ["/api/auth/logout", "/api/auth/password", "scope=others"] {
            let mut browser = one.signed_in("root@example.com").await;
            let mut elsewhere = browser.at(&two.client);
            elsewhere.until_in_memory().await;
            match end {
                "scope=others" => {
                    let mut other = one.signed_in("root@example.com").await;
                    let ended = other.delete("/api/auth/sessions?scope=others").await;
                    assert!(ended.json()["ended"].as_u64().unwrap() >= 1);
                }
                "/api/auth/password" => {
                    let body = json!({"currentPassword": PASSWORD, "newPassword": PASSWORD});
                    assert_eq!(browser.post(end, &body).await.status, 200);
                }
                logout => assert_eq!(browser.act(logout).await.status, 200),
            }
            // Whether or not the other node heard of it, and though Redis and its memory still hold the session.
            site.clock.advance(BOUND + Duration::from_millis(1));
            assert_problem(&elsewhere.me().await, 401, "session-ended");
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn the_other_nodes_hear_of_a_revocation_though_no_time_passes_for_their_leases() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend);
        let (one, two) = (site.node().await, site.node().await);
        let mut browser = one.signed_in("root@example.com").await;
        let elsewhere = browser.at(&two.client);
        elsewhere.clone().until_in_memory().await;
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        wait::until(SOON, "the other node to refuse", || {
            let mut elsewhere = elsewhere.clone();
            async move { elsewhere.me().await.status == 401 }
        })
        .await;
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A14 G3
#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_begins_after_the_bound_is_accepted_in_real_time() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_REVOCATION_BOUND", "2s").in_real_time();
        let (one, two) = (site.node().await, site.node().await);
        let mut browser = one.signed_in("root@example.com").await;
        let token = browser.token();
        browser.at(&two.client).until_in_memory().await;
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        let acknowledged = site.now();
        wait::until(SOON, "the other node to refuse", || async {
            let begun = site.now();
            let response = two.client.get(ME).bearer(&token).send().await.unwrap();
            let accepted = response.status == 200;
            assert!(accepted || response.status == 401, "{}", response.text());
            assert!(!accepted || begun <= acknowledged + BOUND, "accepted after the bound");
            !accepted
        })
        .await;
        for _ in 0..20 {
            assert_problem(&two.me(&token).await, 401, "session-ended");
        }
        one.stop().await;
        two.stop().await;
    })
    .await;
}

// spec: A11 D11 G3
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_good_at_every_node_and_outlives_them_all() {
    on_every_shared_backend(async |backend| {
        let site = Site::new(backend);
        let (one, two) = (site.node().await, site.node().await);
        let browser = one.registered("ada@example.com").await;
        let token = browser.token();
        assert_eq!(two.me(&token).await.status, 200);
        let mut elsewhere = browser.at(&two.client);
        assert_eq!(elsewhere.act("/api/auth/refresh").await.status, 200);
        assert_eq!(one.me(&elsewhere.token()).await.status, 200);
        one.stop().await;
        two.stop().await;
        let three = site.node().await;
        assert_eq!(three.me(&elsewhere.token()).await.status, 200);
        three.stop().await;
    })
    .await;
}
