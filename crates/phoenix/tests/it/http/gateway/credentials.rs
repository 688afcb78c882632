//! Which credentials the application sees: its own, and not ours.

use super::super::support::{Backend, assert_problem};
use super::{ADA, Front, answered, assert_anonymous, identity};

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_ours_stay_here() {
    let front = Front::new(Backend::Sqlite).await;
    let browser = front.node.registered(ADA).await;
    let token = browser.token();
    let device = browser.mark().unwrap_or("phx_d_made-up").to_owned();
    let sends = [
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("bearer   {token}")),
        ("cookie", format!("phoenix_session={token}")),
        ("cookie", format!("phoenix_session={token}; phoenix_device={device}")),
    ];
    for (name, value) in &sends {
        for path in ["/x", "/members/x", "/open/x"] {
            assert_eq!(answered(front.node.client.get(path).header(name, value)).await.status, 200);
            let seen = front.seen();
            assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None), "{value}");
            assert!(!String::from_utf8_lossy(&seen.head).contains(&token), "{value}");
        }
        assert_eq!(answered(front.node.client.get("/kept/x").header(name, value)).await.status, 200);
        assert_eq!(front.seen().header(name), Some(value.as_str()), "its route says so");
    }
    let mixed = format!("a=1; phoenix_session={token};b=2; phoenix_device={device}; my_phoenix_session=3");
    assert_eq!(answered(front.node.client.get("/x").header("cookie", &mixed)).await.status, 200);
    assert_eq!(front.seen().header("cookie"), Some("a=1; b=2; my_phoenix_session=3"));
    // A token that does not count is no less a secret.
    for value in [
        format!("Bearer {}", token.replace(&token[token.len() - 4..], "AAAA")),
        format!("Bearer {token}, Bearer other"),
        format!("Token {token}"),
        token.clone(),
    ] {
        assert_eq!(answered(front.node.client.get("/x").header("authorization", &value)).await.status, 200);
        assert_eq!(front.seen().header("authorization"), None, "{value}");
        assert_anonymous(&front.seen());
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_credentials_go_through_untouched() {
    let front = Front::new(Backend::Sqlite).await;
    let token = front.node.registered(ADA).await.token();
    let sends = [
        ("authorization", "Bearer app-token"),
        ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
        ("authorization", "Basic YTpi"),
        ("authorization", "Digest username=\"a\", realm=\"b\""),
        ("cookie", "app_session=1; theme=dark"),
        ("cookie", "a=\"x; y\"; =b; c"),
        ("x-api-key", "secret"),
    ];
    for (name, value) in sends {
        for path in ["/x", "/open/x", "/kept/x"] {
            assert_eq!(
                answered(front.node.client.get(path).header(name, value)).await.status,
                200,
                "{value}"
            );
            assert_eq!(front.seen().header(name), Some(value), "{path}");
            assert_anonymous(&front.seen());
        }
        let refused = answered(front.node.client.get("/members/x").header(name, value)).await;
        assert_eq!(refused.status, 401, "{value}: {}", refused.text());
    }
    // Who signs requests to the application for themselves and has our cookie too is known by what was sent on purpose.
    let both = front.node.client.get("/x").header("authorization", "Bearer app-token");
    let both = both.header("cookie", &format!("phoenix_session={token}; a=1"));
    assert_eq!(answered(both).await.status, 200);
    let seen = front.seen();
    assert_eq!(
        (seen.header("authorization"), seen.header("cookie")),
        (Some("Bearer app-token"), Some("a=1"))
    );
    assert_eq!(identity(&seen.headers), []);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn of_two_credentials_none_counts() {
    let front = Front::new(Backend::Sqlite).await;
    let (ada, eve) =
        (front.node.registered(ADA).await.token(), front.node.registered("eve@example.com").await.token());
    let cookies = format!("phoenix_session={ada}; phoenix_session={eve}");
    let bearers = [format!("Bearer {ada}"), format!("Bearer {eve}")];
    let by_cookie = |path: &'static str| answered(front.node.client.get(path).header("cookie", &cookies));
    let by_header = |path: &'static str| {
        let call = front.node.client.get(path);
        answered(bearers.iter().fold(call, |call, bearer| call.header("authorization", bearer)))
    };
    let before = front.app.requests();
    assert_problem(&by_cookie("/members/x").await, 400, "ambiguous-credentials");
    assert_problem(&by_header("/members/x").await, 400, "ambiguous-credentials");
    assert_eq!(front.app.requests(), before);
    for answer in [by_cookie("/x").await, by_header("/x").await] {
        assert_eq!(answer.status, 200);
        let seen = front.seen();
        assert_anonymous(&seen);
        let head = String::from_utf8_lossy(&seen.head);
        assert!(!head.contains(&ada) && !head.contains(&eve), "{head}");
    }
    front.stop().await;
}
