//! HTTP itself: both versions, connections that are kept, and what every surface owes its clients.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::support::{ADMIN, Backend, ME, SOON, Site, assert_marked, assert_problem};

/// Where a provider tells what happened to its users.
const WEBHOOK: &str = "/api/phoenix/webhooks/stack";

// spec: A13 M12
#[tokio::test(flavor = "multi_thread")]
async fn http2_with_prior_knowledge_is_answered() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let token = node.token(ADMIN).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    // Many at once on one connection; a browser may send its cookie in pieces.
    let mut answers = Vec::new();
    for _ in 0..50 {
        let request = Request::get(format!("http://{}{ME}", node.address))
            .version(Version::HTTP_2)
            .header("cookie", "theme=dark")
            .header("cookie", format!("phoenix_session={token}"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        answers.push(sender.send_request(request));
    }
    for answer in answers {
        let response = answer.await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert!(response.headers().contains_key("x-request-id"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let me: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(me["user"]["email"], ADMIN);
    }
    drop(sender);
    node.stop().await;
}

// spec: A13 M12
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_also_after_an_error() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let request = |path: &str, end: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n");
    // Pipelined: four answers on one connection, in order.
    let bytes = request("/healthz", "")
        + &request(ME, "")
        + &request("/nothing", "")
        + &request("/healthz", "Connection: close\r\n");
    let answer = String::from_utf8(node.client.raw(bytes.as_bytes(), SOON).await.unwrap()).unwrap();
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
    assert_eq!(statuses, ["200", "401", "404", "200"], "{answer}");
    let mut ids: Vec<&str> = answer.lines().filter(|line| line.starts_with("x-request-id: ")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each answer has an id of its own");
    node.stop().await;
}

// spec: A13 M12
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let token = node.token(ADMIN).await;
    for (path, status) in [(ME, 200), ("/api/auth/sessions", 200), ("/healthz", 200), ("/nothing", 404)] {
        let get = node.client.get(path).bearer(&token).send().await.unwrap();
        let head = node.client.request(Method::HEAD, path).bearer(&token).send().await.unwrap();
        assert_marked(&head);
        assert_eq!((head.status.as_u16(), get.status.as_u16()), (status, status), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert!(head.body.is_empty() && !get.body.is_empty());
    }
    node.stop().await;
}

// spec: M12
#[tokio::test(flavor = "multi_thread")]
async fn probes_and_the_description_need_no_session() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let response = node.client.get(path).send().await.unwrap();
        assert_eq!((response.status.as_u16(), response.text().as_str()), (200, text));
        assert_marked(&response);
    }
    let response = node.client.get("/api/phoenix/openapi.json").send().await.unwrap();
    assert_marked(&response);
    let description = response.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    // Every operation it names is there, and takes the method it names; webhooks only where their secret is configured.
    for (path, operations) in description["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "x").replace("{sessionId}", "x");
        if path == WEBHOOK {
            let delivery = node.client.post(&path).send().await.unwrap();
            assert_marked(&delivery);
            assert_problem(&delivery, 404, "not-found");
            continue;
        }
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let response = node.client.request(method.clone(), &path).send().await.unwrap();
            assert!(
                ![404, 405, 500].contains(&response.status.as_u16()),
                "{method} {path}: {}",
                response.text()
            );
        }
    }
    node.stop().await;
}

// spec: M12
#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_and_forwarding_headers_from_outside_mean_nothing() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let token = node.token(ADMIN).await;
    let plain = node.client.get(ME).header("x-phoenix-user-id", "x").header("x-phoenix-role", "admin");
    assert_problem(&plain.send().await.unwrap(), 401, "unauthenticated");
    let body = serde_json::json!({"email": ADMIN, "password": super::support::PASSWORD});
    let forwarded = node.client.post("/api/auth/login").header("x-forwarded-for", "203.0.113.9");
    let forwarded = forwarded.header("forwarded", "for=203.0.113.9").json(&body).send().await.unwrap();
    assert_eq!(forwarded.json()["session"]["ipAddress"], "127.0.0.1");
    let id = node.client.get(ME).bearer(&token).header("x-request-id", "mine").send().await.unwrap();
    assert_ne!(id.header("x-request-id"), Some("mine"));
    node.stop().await;
}

// spec: M12
#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_secure_wherever_the_server_is_not_called_by_a_loopback_name() {
    let site = Site::new(Backend::Sqlite);
    let node = site.node().await;
    let body = serde_json::json!({"email": ADMIN, "password": super::support::PASSWORD});
    for host in ["auth.example.com", "auth.example.com:8443", "127.0.0.1.example.com"] {
        let login = node.client.post("/api/auth/login").header("host", host).json(&body);
        let response = login.send().await.unwrap();
        let cookie = response.header("set-cookie").unwrap();
        let (token, attributes) = cookie.split_once("; ").unwrap();
        let token = token.strip_prefix("__Host-phoenix_session=").unwrap();
        assert_eq!(attributes, "Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Lax");
        let me = |name: &str| {
            let call = node.client.get(ME).header("host", host);
            call.header("cookie", &format!("{name}={token}")).send()
        };
        assert_eq!(me("__Host-phoenix_session").await.unwrap().status, 200);
        assert_problem(&me("phoenix_session").await.unwrap(), 401, "unauthenticated");
    }
    node.stop().await;
}
