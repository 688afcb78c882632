//! Accounts with published passwords: there only while they are switched on.

use phoenix_config::{Sources, load};
use serde_json::json;

use super::support::{Browser, Node, PASSWORD, Site, assert_problem, on_every_backend};

const DEMO: [&str; 2] = ["demo@phoenix.example", "demo-two@phoenix.example"];
const DEMO_PASSWORD: &str = "phoenix-demo-account";
const TEST: &str = "test@phoenix.example";
const TEST_PASSWORD: &str = "phoenix-test-account";

// spec: A12
#[tokio::test(flavor = "multi_thread")]
async fn they_exist_only_when_they_are_switched_on() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        for (email, password) in [(DEMO[0], DEMO_PASSWORD), (DEMO[1], DEMO_PASSWORD), (TEST, TEST_PASSWORD)] {
            assert_problem(&node.browser().login(email, password).await, 401, "invalid-credentials");
        }
        node.stop().await;

        let site = site
            .with("ENABLE_DEMO_MODE", "true")
            .with("ENABLE_TEST_USER", "true")
            .with("PHOENIX_ENV", "test");
        let node = site.node().await;
        let mut visitors = Vec::new();
        for (email, password, role) in [
            (DEMO[0], DEMO_PASSWORD, "demo"),
            (DEMO[1], DEMO_PASSWORD, "demo"),
            (TEST, TEST_PASSWORD, "test"),
        ] {
            let mut visitor = node.browser();
            assert_eq!(visitor.login(email, password).await.json()["user"]["role"], role);
            assert_problem(&visitor.get("/api/admin/users").await, 403, "forbidden");
            visitors.push(visitor);
        }
        let change = json!({"currentPassword": DEMO_PASSWORD, "newPassword": PASSWORD});
        assert_problem(&visitors[0].post("/api/auth/password", &change).await, 403, "shared-account");
        strangers_are_not_shown(&node, &mut visitors[0]).await;
        assert_eq!(node.browser().login(DEMO[0], DEMO_PASSWORD).await.status, 200);
        node.stop().await;

        let site = site.with("ENABLE_DEMO_MODE", "false").with("ENABLE_TEST_USER", "false");
        let node = site.node().await;
        for mut visitor in visitors {
            assert_problem(&visitor.at(&node.client).me().await, 401, "session-ended");
            visitor = node.browser();
            assert_problem(&visitor.login(DEMO[0], DEMO_PASSWORD).await, 403, "account-disabled");
            assert_problem(&visitor.login(TEST, TEST_PASSWORD).await, 403, "account-disabled");
        }
        node.stop().await;
        // Switched on again, they are as they were.
        let site = site.with("ENABLE_DEMO_MODE", "true");
        let node = site.node().await;
        assert_eq!(node.browser().login(DEMO[1], DEMO_PASSWORD).await.status, 200);
        node.stop().await;
    })
    .await;
}

/// Who shares an account learns nothing of where the others are.
async fn strangers_are_not_shown(node: &Node, visitor: &mut Browser) {
    assert_eq!(node.browser().login(DEMO[0], DEMO_PASSWORD).await.status, 200);
    assert_problem(&visitor.get("/api/auth/security-events").await, 403, "shared-account");
    let list = visitor.get("/api/auth/sessions").await.json();
    let lines = list["sessions"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "{list}");
    for line in lines {
        let current = line["current"] == true;
        for place in ["ipAddress", "lastIpAddress"] {
            assert_eq!(line[place].is_string(), current, "{place}: {line}");
        }
    }
}

// spec: A12
#[test]
fn production_refuses_the_test_user() {
    let sources = Sources::default().with_env("ENABLE_TEST_USER", "true");
    for (environment, refused) in [(None, true), (Some("production"), true), (Some("test"), false)] {
        let mut sources = sources.clone();
        if let Some(environment) = environment {
            sources = sources.with_env("PHOENIX_ENV", environment);
        }
        match load(&sources) {
            Ok(_) => assert!(!refused, "{environment:?}"),
            Err(errors) => {
                assert!(refused, "{environment:?}: {errors}");
                assert!(errors.to_string().contains("ENABLE_TEST_USER"), "{errors}");
            }
        }
    }
}
