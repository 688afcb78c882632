//! Rate limits of requests to the application: refused here, before anything reaches it.

use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::upstream::Script;
use serde_json::json;

use super::super::support::{Backend, Site, assert_problem};
use super::{ADA, Front, answered};

/// Clients of a proxy on this machine: each is limited by the address that the proxy names.
fn limited() -> Site {
    Site::new(Backend::Sqlite).with("PHOENIX_LIMITS_EXEMPT", "").with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1")
}

impl Front {
    async fn ask_from(&self, address: &str, method: &Method, path: &str) -> Response {
        let call = self.node.client.request(method.clone(), path).header("x-forwarded-for", address);
        answered(call).await
    }

    /// How many requests pass, each of which must reach the application, before one is refused, which must not.
    async fn until_refused(&self, address: &str, method: &Method, path: &str) -> (u64, Response) {
        let before = self.app.requests();
        for passed in 0..200 {
            let response = self.ask_from(address, method, path).await;
            if response.status == 429 {
                assert_eq!(self.app.requests(), before + passed, "{path}");
                return (passed, response);
            }
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            assert!(response.headers.contains_key("ratelimit"), "{path}");
        }
        panic!("{method} {path} is not limited");
    }
}

#[track_caller]
fn assert_refused(response: &Response, class: &str, wait: &str) {
    let body = assert_problem(response, 429, "quota-exceeded");
    assert_eq!(body["violated-policies"], json!([class]));
    assert_eq!(response.header("retry-after"), Some(wait), "{class}");
    assert!(
        response.header("ratelimit").is_some_and(|value| value.starts_with(&format!("\"{class}\";r=0;")))
    );
}

// spec: R2 G1
#[tokio::test(flavor = "multi_thread")]
async fn application_paths_have_the_classes_and_limits_of_their_kind() {
    let front = Front::of(limited(), "[]").await;
    let cases = [
        (Method::GET, "/api/tasks", "api", 100, "300"),
        (Method::POST, "/settings", "api", 100, "300"),
        (Method::GET, "/api/search/people?q=1", "search", 30, "120"),
        (Method::GET, "/search", "search", 30, "120"),
        (Method::GET, "/api/tasks/search", "search", 30, "120"),
        (Method::POST, "/api/uploads", "upload", 10, "600"),
        (Method::PUT, "/upload/a.png", "upload", 10, "600"),
        (Method::POST, "/api/tasks/7/upload", "upload", 10, "600"),
        (Method::POST, "/api/ai/chat", "ai", 20, "300"),
        (Method::GET, "/api/notes/ai/summary", "ai", 20, "300"),
    ];
    for (number, (method, path, class, limit, wait)) in cases.into_iter().enumerate() {
        let address = format!("198.51.100.{number}");
        let (passed, refused) = front.until_refused(&address, &method, path).await;
        assert_eq!(passed, limit, "{method} {path}");
        assert_refused(&refused, class, wait);
        // Another spelling is no other path.
        let other = path.replacen('/', "//", 1).replace('a', "%61");
        assert_eq!(front.ask_from(&address, &method, &other).await.status, 429, "{other}");
        // Pages are not limited, and nor is anybody else.
        assert_eq!(front.ask_from(&address, &Method::GET, "/").await.status, 200);
        assert_ne!(front.ask_from("203.0.113.1", &method, path).await.status, 429);
    }
    front.stop().await;
}

// spec: R2 G1
#[tokio::test(flavor = "multi_thread")]
async fn a_route_has_the_class_that_is_written_with_it() {
    let routes = r#"[
        { path = "/tiny/{*rest}", class = "tiny" },
        { path = "/api/search/{*rest}", class = "none" },
        { path = "/reports/{id}", class = "search" },
    ]"#;
    let site = limited().with("PHOENIX_LIMITS_CLASSES", r#"{ tiny = { windows = ["3/1m"] } }"#);
    let front = Front::of(site, routes).await;
    for (left, path) in ["/tiny/a", "/tiny/b?x", "/tiny"].into_iter().enumerate() {
        let answer = front.ask_from("198.51.100.1", &Method::GET, path).await;
        assert_eq!(answer.status, 200);
        let remaining = format!("\"tiny\";r={};", 2 - left);
        assert!(answer.header("ratelimit").is_some_and(|value| value.starts_with(&remaining)), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"tiny\";q=3;w=60"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some((2 - left).to_string().as_str()));
    }
    let (passed, refused) = front.until_refused("198.51.100.1", &Method::DELETE, "/tiny/c").await;
    assert_eq!(passed, 0);
    assert_refused(&refused, "tiny", "60");
    for _ in 0..60 {
        let answer = front.ask_from("198.51.100.1", &Method::GET, "/api/search/x").await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit")), (200, None));
    }
    assert_eq!(front.until_refused("198.51.100.1", &Method::GET, "/reports/7").await.0, 30);
    front.stop().await;
}

// spec: R2 G1
#[tokio::test(flavor = "multi_thread")]
async fn of_the_applications_own_sign_in_its_refusals_are_counted() {
    let front = Front::of(limited(), r#"[{ path = "/account/{*rest}", class = "auth" }]"#).await;
    front.app.on("/account/login", Script::fixed(401, "no"));
    front.app.on("/account/profile", Script::fixed(200, "yes"));
    let post = |path: &'static str| front.ask_from("198.51.100.1", &Method::POST, path);
    for _ in 0..20 {
        assert_eq!(post("/account/profile").await.status, 200, "a success is not counted");
    }
    for _ in 0..5 {
        let answer = post("/account/login").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (401, "no"), "the application's own");
    }
    let before = front.app.requests();
    assert_refused(&post("/account/login").await, "auth", "1800");
    assert_refused(&post("/account/profile").await, "auth", "1800");
    assert_eq!(front.app.requests(), before);
    assert_eq!(front.ask_from("198.51.100.2", &Method::POST, "/account/login").await.status, 401);
    front.stop().await;
}

// spec: R2 R5 G1
#[tokio::test(flavor = "multi_thread")]
async fn users_of_the_application_are_limited_as_users_wherever_they_are() {
    let front = Front::of(limited(), "[]").await;
    let (ada, bob) = (front.node.token_of(ADA).await, front.node.token_of("bob@example.com").await);
    let ask = async |token: &str, from: String| {
        let call = front.node.client.get("/api/search/x").bearer(token).header("x-forwarded-for", &from);
        answered(call).await.status.as_u16()
    };
    for number in 0..30 {
        assert_eq!(ask(&ada, format!("198.51.100.{number}")).await, 200);
    }
    assert_eq!(ask(&ada, "203.0.113.5".to_owned()).await, 429);
    assert_eq!(ask(&bob, "198.51.100.1".to_owned()).await, 200);
    front.stop().await;
}

impl super::Node {
    /// Registers for a token.
    async fn token_of(&self, email: &str) -> String {
        self.registered(email).await.token()
    }
}
