//! Registering, signing in and out, and the list of one's sessions.

use serde_json::{Value, json};

use super::support::{ADMIN, PASSWORD, Site, assert_problem, on_every_backend};

const SESSIONS: &str = "/api/auth/sessions";

/// Replaces an id by `"id"`, after looking whether it is a `UUIDv7`.
fn redact(view: &mut Value) {
    let id = view["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'7' && id.parse::<uuid::Uuid>().is_ok(), "{id}");
    view["id"] = json!("id");
}

// spec: A11 A13 D15 M12
#[tokio::test(flavor = "multi_thread")]
async fn who_registers_is_signed_in_and_told_who_they_are() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut browser = node.browser();
        let body = json!({
            "email": "Ada@Example.com", "password": PASSWORD, "username": "ada", "firstName": "Ada",
            "lastName": "Lovelace", "imageUrl": "https://example.com/ada.png", "timezone": "Europe/London",
            "locale": "en-GB",
        });
        let registered = browser.post("/api/auth/register", &body).await;
        assert_eq!(registered.status, 201, "{}", registered.text());
        assert!(registered.header("set-cookie").unwrap().contains("; Max-Age=2592000; "));
        assert_eq!(registered.json()["success"], true);
        assert!(!registered.text().contains(PASSWORD) && !registered.text().contains(&browser.token()));

        let response = browser.me().await;
        assert_eq!((response.status.as_u16(), response.header("cache-control")), (200, Some("no-store")));
        assert_eq!(response.header("content-type"), Some("application/json"));
        let mut me = response.json();
        assert_eq!(registered.json()["user"], me["user"]);
        assert_eq!(registered.json()["session"], me["session"]);
        redact(&mut me["user"]);
        redact(&mut me["session"]);
        let expected = json!({
            "authenticated": true,
            "user": {
                "id": "id", "email": "Ada@Example.com", "emailVerified": false, "username": "ada",
                "firstName": "Ada", "lastName": "Lovelace", "imageUrl": "https://example.com/ada.png",
                "role": "user", "timezone": "Europe/London", "locale": "en-GB", "settings": {},
                "createdAt": "2026-01-01T00:00:00.000Z", "lastActiveAt": "2026-01-01T00:00:00.000Z",
            },
            "session": {
                "id": "id", "createdAt": "2026-01-01T00:00:00.000Z", "expiresAt": "2026-01-31T00:00:00.000Z",
                "idleExpiresAt": "2026-01-08T00:01:00.000Z", "device": "Firefox on Linux",
                "ipAddress": "127.0.0.1", "provider": "password",
            },
        });
        assert_eq!(me, expected);

        let mut again = node.browser();
        assert_problem(&again.register("ada@example.COM").await, 409, "email-taken");
        assert_problem(&again.me().await, 401, "unauthenticated");
        node.stop().await;
    })
    .await;
}

// spec: A14
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_one_the_others_or_all() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut first = node.registered("ada@example.com").await;
        let mut second = node.signed_in("ada@example.com").await;
        let mut third = node.signed_in("ada@example.com").await;
        let mut stranger = node.registered("eve@example.com").await;

        let listed = first.sessions().await;
        assert_eq!(listed.len(), 3);
        let own = first.session_id().await;
        for mut line in listed {
            assert_eq!(line["current"], line["id"] == own.as_str());
            assert_eq!(line["lastSeenAt"], "2026-01-01T00:00:00.000Z");
            assert!(line["userAgent"].as_str().unwrap().contains("Firefox/140.0"));
            assert_eq!(
                (&line["ipAddress"], &line["lastIpAddress"]),
                (&json!("127.0.0.1"), &json!("127.0.0.1"))
            );
            assert_eq!(line["country"], Value::Null, "no file that knows is configured");
            redact(&mut line);
            assert_eq!(line.as_object().unwrap().len(), 12);
        }

        let victim = format!("{SESSIONS}/{}", second.session_id().await);
        assert_problem(&stranger.delete(&victim).await, 404, "not-found");
        assert_eq!(second.me().await.status, 200);
        assert_eq!(first.delete(&victim).await.json(), json!({"success": true}));
        assert_problem(&second.me().await, 401, "session-ended");
        assert_problem(&first.delete(&victim).await, 404, "not-found");

        let others = first.delete(&format!("{SESSIONS}?scope=others")).await;
        assert_eq!(others.json(), json!({"success": true, "ended": 1}));
        assert_problem(&third.me().await, 401, "session-ended");
        assert_eq!(first.sessions().await.len(), 1);

        let mut fourth = node.signed_in("ada@example.com").await;
        let all = first.delete(&format!("{SESSIONS}?scope=all")).await;
        assert_eq!(all.json(), json!({"success": true, "ended": 2}));
        assert!(!first.has_cookie());
        assert_problem(&fourth.me().await, 401, "session-ended");
        assert_eq!(stranger.sessions().await.len(), 1);
        node.stop().await;
    })
    .await;
}

// spec: A11 A14
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_and_takes_the_cookie_back() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        for path in ["/api/auth/logout", "/api/auth/signout"] {
            let mut browser = node.signed_in(ADMIN).await;
            let mut other = node.signed_in(ADMIN).await;
            let token = browser.token();
            assert_eq!(browser.me().await.status, 200);
            assert_eq!(browser.act(path).await.json(), json!({"success": true}));
            assert!(!browser.has_cookie());
            assert_problem(&node.me(&token).await, 401, "session-ended");
            assert_problem(&browser.act(path).await, 401, "unauthenticated");
            assert_eq!(other.me().await.status, 200);
        }
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_ends_the_session_that_came_with_the_request() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut browser = node.registered("ada@example.com").await;
        let before = browser.token();
        assert_eq!(browser.me().await.status, 200);
        // A wrong password changes nothing.
        assert_problem(&browser.login("ada@example.com", "wrong").await, 401, "invalid-credentials");
        assert_eq!(browser.token(), before);
        assert_eq!(browser.login("ada@example.com", PASSWORD).await.status, 200);
        assert_ne!(browser.token(), before);
        assert_problem(&node.me(&before).await, 401, "session-ended");
        assert_eq!(browser.sessions().await.len(), 1);
        // Without a word about where it comes from, a login does not touch the session it came with.
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "transport": "bearer"});
        let cookie = format!("phoenix_session={}", browser.token());
        let blind = node.client.post("/api/auth/login").header("cookie", &cookie).json(&body).send().await;
        assert_eq!(blind.unwrap().status, 200);
        assert_eq!(browser.sessions().await.len(), 2);
        node.stop().await;
    })
    .await;
}
