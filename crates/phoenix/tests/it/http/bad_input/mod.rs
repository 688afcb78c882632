//! Requests that are wrong, each with the one answer it gets; nothing they do changes anything.

mod request;
mod table;

use phoenix_testkit::wait;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use self::request::{Answer, Raw};
use self::table::{Facts, rows};
use super::support::{ADMIN, Browser, Node, PASSWORD, SOON, Site, on_every_backend};

/// Everything that a request could have changed.
async fn world(admin: &mut Browser) -> (Value, Value, Value) {
    let users = admin.get("/api/admin/users").await.json();
    let id = admin.user_id().await;
    let sessions = admin.get(&format!("/api/admin/users/{id}/sessions")).await.json();
    let ada = users["users"][1]["id"].as_str().unwrap().to_owned();
    let others = admin.get(&format!("/api/admin/users/{ada}/sessions")).await.json();
    (users, sessions, others)
}

async fn answer(node: &Node, request: &Raw) -> Answer {
    Answer::parse(&node.client.raw(&request.bytes(), SOON).await.unwrap())
}

async fn facts(node: &Node) -> (Browser, Facts) {
    let admin = node.administrator().await;
    node.registered("ada@example.com").await;
    let (admin_token, user_token) = (admin.token(), node.token("ada@example.com").await);
    (admin, Facts { address: node.address.to_string(), admin_token, user_token })
}

// spec: A11 M12 D15
#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_gets_its_answer_and_changes_nothing() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let (mut admin, facts) = facts(&node).await;
        let before = world(&mut admin).await;
        for row in rows(&facts) {
            let answer = answer(&node, &row.request).await;
            let told = (answer.status, answer.code.as_str());
            assert_eq!(told, (row.status, row.code), "{}: {}", row.name, answer.text);
            for secret in [PASSWORD, &facts.admin_token, &facts.user_token, "phx_s_"] {
                assert!(!answer.text.contains(secret), "{}: {}", row.name, answer.text);
            }
            // What hyper refuses before there is a request has none of our headers.
            assert_eq!(answer.is_marked, !row.code.is_empty(), "{}: {}", row.name, answer.text);
            assert!(!answer.sets_cookie, "{}", row.name);
            assert!(row.status != 405 || answer.allow.is_some(), "{}", row.name);
        }
        assert_eq!(world(&mut admin).await, before);
        node.stop().await;
    })
    .await;
}

// spec: A1
#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_a_wrong_checksum_reaches_no_database() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let token = node.token(ADMIN).await;
        let before = admin.statements().await;
        for place in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'x' { b'y' } else { b'x' };
            let response = node.me(std::str::from_utf8(&forged).unwrap()).await;
            super::support::assert_problem(&response, 401, "malformed-token");
            assert_eq!(response.header("x-cache-hit"), Some("none"));
        }
        assert!(admin.statements().await.since(&before).is_empty());
        assert_eq!(node.me(&token).await.status, 200);
        node.stop().await;
    })
    .await;
}

// spec: A11
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_middle_changes_nothing() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let (mut admin, facts) = facts(&node).await;
        let before = world(&mut admin).await;
        let body = format!(r#"{{"email":"eve@example.com","password":"{PASSWORD}"}}"#);
        let whole = Raw::post("/api/auth/register", &facts).json(&body).bytes();
        for length in [1, 20, whole.len() - body.len(), whole.len() - body.len() / 2, whole.len() - 1] {
            let mut stream = TcpStream::connect(node.address).await.unwrap();
            stream.write_all(&whole[..length]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            // Whatever the server says, it ends the connection.
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
            let _ = tokio::time::timeout(SOON, reading).await.expect("the connection ends");
            assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
        }
        wait::until(SOON, "the server to go on", || async {
            node.client.get("/healthz").send().await.unwrap().status == 200
        })
        .await;
        assert_eq!(world(&mut admin).await, before);
        node.stop().await;
    })
    .await;
}
