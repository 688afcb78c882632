//! The headers that every answer of the application carries through here.

use http::Method;
use phoenix_testkit::upstream::Script;

use super::super::support::Backend;
use super::{ADA, Front, answered};
use crate::wire::upgrade;

const NAMES: [&str; 6] =
    ["x-response-time", "x-request-id", "x-auth-time", "x-cache-hit", "x-phoenix-version", "x-system-status"];

fn answer(status: u16, more: &str) -> Script {
    let length = if matches!(status, 204 | 304) { "" } else { "Content-Length: 0\r\n" };
    Script::raw(format!("HTTP/1.1 {status} X\r\n{length}{more}\r\n"))
}

// spec: M12 G1
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_application_carries_the_performance_headers() {
    let front = Front::new(Backend::Sqlite).await;
    let token = front.node.registered(ADA).await.token();
    for status in [200, 201, 204, 206, 301, 302, 304, 400, 401, 403, 404, 418, 429, 500, 503] {
        front.app.on("/x", answer(status, ""));
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
            // `answered` asserts the headers and their forms.
            let mut call = front.node.client.request(method.clone(), "/x");
            if method.is_safe() {
                call = call.bearer(&token);
            }
            let response = answered(call).await;
            assert_eq!(response.status, status, "the application's status stays");
            let id = response.header("x-request-id").unwrap();
            assert_eq!(front.seen().header("x-request-id"), Some(id), "the application can log it");
        }
    }
    assert_eq!(front.get_as(&token, "/y").await.header("x-cache-hit"), Some("l1"));
    assert_eq!(front.get("/y").await.header("x-cache-hit"), Some("none"));
    front.stop().await;
}

// spec: M12 G1
#[tokio::test(flavor = "multi_thread")]
async fn neither_client_nor_application_writes_them_for_us() {
    let front = Front::new(Backend::Sqlite).await;
    let own: Vec<String> = NAMES.iter().map(|name| format!("{name}: forged\r\n{name}: twice\r\n")).collect();
    let own = own.concat();
    let own = own + "X-Total-Time: forged\r\nX-Powered-By: app\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n";
    front.app.on("/x", answer(200, &own));
    let call = NAMES.iter().fold(front.node.client.get("/x"), |call, name| call.header(name, "forged"));
    let response = answered(call).await;
    assert!(!format!("{:?}", response.headers).contains("forged"), "{response:?}");
    assert_eq!(response.header("x-powered-by"), Some("app"), "the application's own headers stay");
    assert_eq!(response.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    let ids = front.seen();
    assert_eq!(ids.header("x-request-id"), response.header("x-request-id"));
    front.stop().await;
}

// spec: M12 G1
#[tokio::test(flavor = "multi_thread")]
async fn streams_upgrades_and_answers_in_place_of_the_application_carry_them_too() {
    let front = Front::new(Backend::Sqlite).await;
    front.app.on("/ws", Script::websocket());
    front.app.on("/sse", Script::events(std::time::Duration::from_secs(1)));
    for (request, status) in [
        (upgrade("/ws", ""), "101"),
        ("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200"),
        (upgrade("/members/ws", ""), "401"),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
    ] {
        let mut wire = front.wire().await;
        wire.write(request).await;
        let head = wire.head().await.to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        for name in NAMES {
            assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1, "{name}: {head}");
        }
    }
    front.stop().await;
}
