//! Beside other proxies: nginx, Caddy and HAProxy as they are, with the configurations from `deploy/`; Traefik and Envoy
//! by the requests that they are documented to make.

mod agreement;
mod app;
mod envoy;
mod spoe;
mod support;
mod verify;

use std::time::Duration;

use phoenix_testkit::http::{Client, Response};
use phoenix_testkit::programs::Kind;
use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::app::{App, WEB_SOCKET_KEY};
use self::support::{Beside, SIGN_IN, proxy};
use crate::process::support::{ADMIN, PASSWORD, login, register, token};

/// Longest wait for anything that should happen soon.
const SOON: Duration = Duration::from_secs(20);
/// What a client may try to pass itself off with.
const FORGED: [&str; 7] = [
    "X-Phoenix-User-Id",
    "x-phoenix-email",
    "X-PHOENIX-ROLE",
    "x-phoenix-session-id",
    "x-phoenix-assertion",
    "X_Phoenix_User_Id",
    "x-phoenix_role",
];

/// The same for applications that read more than `_` as `-`, as some CGI programs do.
const FORGED_OTHERWISE: [&str; 4] =
    ["X.Phoenix.User.Id", "X~Phoenix~Role", "x-phoenix.email", "X_PHOENIX!SESSION-ID"];

// spec: G2
#[tokio::test]
async fn nginx_asks_phoenix() {
    through(Kind::Nginx).await;
}

// spec: G2
#[tokio::test]
async fn caddy_asks_phoenix() {
    through(Kind::Caddy).await;
}

// spec: G2
#[tokio::test]
async fn haproxy_asks_phoenix() {
    through(Kind::HaProxy).await;
}

async fn through(kind: Kind) {
    let (beside, app) = (Beside::start(), App::start());
    let proxy = proxy(kind, &beside, &app);
    let client = Client::new(proxy.address());
    // HAProxy sends requests once it has seen that a server is there.
    wait::until(SOON, "the application through the proxy", || async {
        client.get("/open/up").send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;

    // Phoenix's own paths lead to Phoenix, also through the proxy.
    let user = token(&register(&client, "user@example.com").await.unwrap(), 201);
    let admin = token(&login(&client, ADMIN, PASSWORD).await.unwrap(), 200);
    for of_app in ["/api/admin/users-export", "/api/admin/blocks.json", "/api/admin/security-events2/x"] {
        let answer = client.get(of_app).send().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "app"), "{of_app}");
    }
    for of_phoenix in ["/api/admin/users", "/api/admin/blocks", "/api/admin/security-events"] {
        let before = app.count();
        assert_problem(&client.get(of_phoenix).bearer(&user).send().await.unwrap(), 403, "forbidden");
        assert_problem(&client.get(of_phoenix).send().await.unwrap(), 401, "unauthenticated");
        assert_eq!(app.count(), before, "{of_phoenix}");
    }
    for question in ["/api/phoenix/verify", "/api/phoenix/verify-nginx", "/api/phoenix/verify/open/x"] {
        assert_eq!(client.get(question).send().await.unwrap().status, 404, "only the proxy asks");
    }

    access(&client, &app, &user, &admin).await;
    identity(&client, &app, &user).await;
    limits(&client, &app).await;
    origins(&client, &app).await;
    web_socket(&proxy, &app, &user).await;

    // Phoenix is gone: nothing goes through.
    beside.phoenix.kill9().unwrap();
    let before = app.count();
    for path in ["/open/x", "/private/x", "/elsewhere"] {
        let answer = client.get(path).bearer(&user).send().await.unwrap();
        assert!(matches!(answer.status.as_u16(), 502 | 503), "{path}: {}", answer.status);
    }
    assert_eq!(app.count(), before, "no request reached the application");
}

async fn access(client: &Client, app: &App, user: &str, admin: &str) {
    let before = app.count();
    for path in ["/open/x", "/elsewhere?a=b%2Fc"] {
        let answer = client.get(path).send().await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "app"), "{path}");
        assert_eq!(app.last().line, format!("GET {path} HTTP/1.1"));
    }
    let answer = client.get("/private/x").send().await.unwrap();
    assert_problem(&answer, 401, "unauthenticated");
    let challenge: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenge, [r#"Bearer realm="phoenix""#]);
    // The proxy would pass them on as they are.
    let count = app.count();
    for path in
        ["/private/../open/x", "/open/../private/x", "//open/x", "/%6fpen/x", "/open;/x/%2e%2e/private"]
    {
        assert_problem(&client.get(path).send().await.unwrap(), 400, "malformed-path");
    }
    // nginx refuses this one itself.
    assert_eq!(client.get("/open/..%2f..%2fprivate/x").send().await.unwrap().status, 400);
    assert_eq!(app.count(), count, "none of them reached the application");
    assert_problem(
        &client.get("/private/x").bearer("nonsense").send().await.unwrap(),
        401,
        "malformed-token",
    );
    assert_problem(&client.get("/staff/x").bearer(user).send().await.unwrap(), 403, "forbidden");
    assert_eq!(client.get("/staff/x").bearer(admin).send().await.unwrap().status, 200);
    let body = client.post("/private/upload").bearer(user).body("x".repeat(100_000)).send().await.unwrap();
    assert_eq!(body.status, 200);
    assert_eq!(app.last().all("content-length"), ["100000"]);
    assert!(app.count() >= before + 4);

    let page = client.get("/private/x").header("accept", "text/html,*/*").send().await.unwrap();
    assert_eq!((page.status.as_u16(), page.header("location")), (302, Some(SIGN_IN)), "{page:?}");
}

async fn identity(client: &Client, app: &App, user: &str) {
    let me = client.get("/api/auth/me").bearer(user).send().await.unwrap().json();
    for path in ["/private/x", "/elsewhere"] {
        let forge = FORGED.iter().chain(&FORGED_OTHERWISE);
        let forge = forge.fold(client.get(path).bearer(user), |call, name| call.header(name, "forged"));
        assert_eq!(forge.send().await.unwrap().status, 200);
        let seen = app.last();
        assert_eq!(seen.all("x-phoenix-user-id"), [me["user"]["id"].as_str().unwrap()], "{path}");
        assert_eq!(seen.all("x-phoenix-email"), ["user@example.com"]);
        assert_eq!(seen.all("x-phoenix-role"), ["user"]);
        assert_eq!(seen.all("x-phoenix-session-id"), [me["session"]["id"].as_str().unwrap()]);
        assert!(seen.identity().iter().all(|(_, value)| value != "forged"), "{seen:?}");
    }
    for path in ["/elsewhere", "/open/x"] {
        let forge = FORGED.iter().chain(&FORGED_OTHERWISE);
        let forge = forge.fold(client.get(path), |call, name| call.header(name, "forged"));
        assert_eq!(forge.send().await.unwrap().status, 200);
        assert!(app.last().identity().is_empty(), "nobody is signed in: {:?}", app.last());
    }
    // A route without authentication tells of nobody.
    assert_eq!(client.get("/open/x").bearer(user).send().await.unwrap().status, 200);
    assert!(app.last().identity().is_empty(), "{:?}", app.last());
}

async fn limits(client: &Client, app: &App) {
    for _ in 0..2 {
        assert_eq!(client.get("/limited/x").send().await.unwrap().status, 200);
    }
    let before = app.count();
    let answer = client.get("/limited/y").send().await.unwrap();
    assert_problem(&answer, 429, "quota-exceeded");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(answer.header("ratelimit").unwrap().starts_with(r#""tiny";r=0;t="#), "{answer:?}");
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""tiny";q=2;w=60"#));
    assert_eq!(app.count(), before);
}

/// A session cookie counts only from pages of this site.
async fn origins(client: &Client, app: &App) {
    let body = serde_json::json!({"email": "user@example.com", "password": PASSWORD});
    let answer = client.post("/api/auth/login").json(&body).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.headers.get_all("set-cookie").iter().find_map(|value| {
        value
            .to_str()
            .ok()
            .filter(|text| text.starts_with("phoenix_session="))
            .and_then(|text| text.split(';').next())
    });
    let cookie = cookie.unwrap();
    let post =
        |origin: &str| client.post("/private/x").header("cookie", cookie).header("origin", origin).send();
    assert_problem(&post("https://evil.example").await.unwrap(), 403, "cross-origin");
    let before = app.count();
    assert_eq!(post("https://app.example.com").await.unwrap().status, 200);
    assert_eq!(app.count(), before + 1);
}

async fn web_socket(proxy: &phoenix_testkit::programs::Program, app: &App, user: &str) {
    let open = async |credentials: &str| {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let head = format!(
            "GET /private/socket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEB_SOCKET_KEY}\r\n{credentials}\r\n",
            proxy.address()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = async {
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await.unwrap());
            }
        };
        tokio::time::timeout(SOON, read).await.expect("the head of an answer");
        (stream, String::from_utf8(answer).unwrap())
    };
    let (_, refused) = open("").await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let (mut stream, opened) = open(&format!("Authorization: Bearer {user}\r\n")).await;
    assert!(opened.starts_with("HTTP/1.1 101 "), "{opened}");
    assert_eq!(app.last().all("x-phoenix-role"), ["user"]);
    for text in ["first", "other"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut echo = [0; 5];
        tokio::time::timeout(SOON, stream.read_exact(&mut echo)).await.expect("an echo").unwrap();
        assert_eq!(echo, text.as_bytes());
    }
}

#[track_caller]
fn assert_problem(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["code"], code, "{}", answer.text());
}
