//! A session that turns up on another device than it was opened on.

use std::time::Duration;

use tokio::task::JoinSet;

use super::support::device::{CHROME, CHROME_UPDATED, CURL, FIREFOX, IPHONE};
use super::support::{ADMIN, Browser, Node, PASSWORD, Site, assert_problem, on_every_backend};

const ADA: &str = "ada@example.com";
const ON_CHANGE: &str = "PHOENIX_ON_DEVICE_CHANGE";

/// Ada, signed in with Chrome on Windows.
async fn ada(node: &Node) -> Browser {
    let mut chrome = node.browser().on(CHROME);
    assert_eq!(chrome.register(ADA).await.status, 201);
    assert_eq!(chrome.me().await.json()["session"]["device"], "Chrome on Windows");
    chrome
}

fn kinds(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

// spec: A4
#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_the_same_device_and_another_browser_is_recorded_once() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut chrome = ada(&node).await;
        let mut updated = chrome.on(CHROME_UPDATED);
        assert_eq!((chrome.me().await.status.as_u16(), updated.me().await.status.as_u16()), (200, 200));
        assert!(chrome.events(0).await.is_empty(), "nothing to record");

        // Two that take turns are each recorded once, though a page sends many requests at once.
        let mut firefox = updated.on(FIREFOX);
        let mut page = JoinSet::new();
        for _ in 0..20 {
            let mut firefox = firefox.clone();
            page.spawn(async move { firefox.me().await.status });
        }
        assert!(page.join_all().await.iter().all(|status| *status == 200));
        for _ in 0..10 {
            assert_eq!((updated.me().await.status.as_u16(), firefox.me().await.status.as_u16()), (200, 200));
        }
        // Recorded in order: had a turn been recorded, it would stand before the third device.
        assert_eq!(updated.on(IPHONE).me().await.status, 200);
        let events = chrome.events(2).await;
        assert_eq!(kinds(&events), ["device-changed", "device-changed"]);
        assert_eq!(events[1]["sessionId"], chrome.session_id().await.as_str());
        assert_eq!(
            (&events[1]["ipAddress"], events[1]["userId"].as_str().unwrap()),
            (&serde_json::json!("127.0.0.1"), chrome.user_id().await.as_str(),)
        );
        let detail = events[1]["detail"].as_str().unwrap();
        assert!(detail.starts_with("difference ") && detail.contains("browser, system"), "{detail}");
        node.stop().await;
    })
    .await;
}

// spec: A4
#[tokio::test(flavor = "multi_thread")]
async fn another_device_must_sign_in_itself_and_the_first_one_goes_on() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with(ON_CHANGE, "reauthenticate");
        let node = site.node().await;
        let mut chrome = ada(&node).await;
        let token = chrome.token();
        for thief in [CURL, FIREFOX, IPHONE] {
            let mut elsewhere = chrome.on(thief);
            for path in ["/api/auth/me", "/api/auth/sessions", "/api/auth/security-events"] {
                assert_problem(&elsewhere.get(path).await, 401, "reauthentication-required");
            }
            for path in ["/api/auth/refresh", "/api/auth/logout"] {
                assert_problem(&elsewhere.act(path).await, 401, "reauthentication-required");
            }
            assert_eq!(elsewhere.token(), token, "it is handed no other token");
            assert_eq!(chrome.me().await.status, 200, "the device it was opened on");
        }
        let mut updated = chrome.on(CHROME_UPDATED);
        assert_eq!(updated.me().await.status, 200);
        let events = chrome.events(3).await;
        assert_eq!(kinds(&events), ["device-changed"; 3], "one for each device, not for each request");

        let mut phone = chrome.on(IPHONE);
        assert_eq!(phone.login(ADA, PASSWORD).await.status, 200);
        assert_ne!(phone.token(), token);
        assert_eq!((phone.me().await.status.as_u16(), chrome.me().await.status.as_u16()), (200, 200));
        assert_eq!(chrome.sessions().await.len(), 2);

        // What a device looked like is in the database, not only in memory.
        node.stop().await;
        let node = site.node().await;
        let mut chrome = chrome.at(&node.client);
        assert_problem(&chrome.on(FIREFOX).me().await, 401, "reauthentication-required");
        assert_eq!(chrome.me().await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A4 A6
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_refused_does_not_keep_the_session_alive() {
    on_every_backend(async |backend| {
        let site =
            Site::new(backend).with(ON_CHANGE, "reauthenticate").with("PHOENIX_SESSION_IDLE_TIMEOUT", "30m");
        let node = site.node().await;
        let mut chrome = ada(&node).await;
        for _ in 0..3 {
            site.clock.advance_day(Duration::from_mins(10));
            assert_problem(&chrome.on(CURL).me().await, 401, "reauthentication-required");
        }
        site.clock.advance_day(Duration::from_mins(1));
        assert_problem(&chrome.me().await, 401, "session-ended");
        node.stop().await;
    })
    .await;
}

// spec: A4
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_moves_ends_where_that_is_configured() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with(ON_CHANGE, "revoke");
        let node = site.node().await;
        let mut chrome = ada(&node).await;
        let session = chrome.session_id().await;
        assert_eq!(chrome.on(CHROME_UPDATED).me().await.status, 200);
        let mut thief = chrome.on(CURL);
        assert_problem(&thief.me().await, 401, "session-ended");
        assert_problem(&chrome.me().await, 401, "session-ended");
        assert_problem(&thief.act("/api/auth/refresh").await, 401, "session-ended");

        assert_eq!(chrome.login(ADA, PASSWORD).await.status, 200);
        let mut events = chrome.events(2).await;
        events.reverse();
        assert!(events.iter().all(|event| event["sessionId"] == session.as_str()));
        let mut kinds = kinds(&events);
        kinds.sort_unstable();
        assert_eq!(kinds, ["device-changed", "session-revoked"]);
        assert_eq!(node.signed_in(ADMIN).await.me().await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A4
#[tokio::test(flavor = "multi_thread")]
async fn the_threshold_says_what_counts_as_another_device() {
    let site = Site::new(super::support::Backend::Sqlite)
        .with(ON_CHANGE, "reauthenticate")
        .with("PHOENIX_DEVICE_THRESHOLD", "100");
    let node = site.node().await;
    let mut chrome = ada(&node).await;
    // Nothing in common reaches any threshold; a browser that only lost its hints does not reach the highest.
    assert_problem(&chrome.on(IPHONE).me().await, 401, "reauthentication-required");
    let without_hints = &CHROME_UPDATED[3..];
    assert_eq!(chrome.on(without_hints).me().await.status, 200);
    assert_eq!(kinds(&chrome.events(1).await), ["device-changed"]);
    node.stop().await;
}
