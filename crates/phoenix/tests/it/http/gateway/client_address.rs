//! What the application is told about where a request comes from: what Phoenix knows, and nothing that a client says.

use super::super::support::{Backend, Site};
use super::{Front, answered};

const CLAIMS: [(&str, &str); 10] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "443"),
    ("x-forwarded_for", "203.0.113.9"),
    ("x_forwarded_proto", "https"),
    ("forwarded", "for=203.0.113.9;proto=https;host=evil.example"),
    ("x-real-ip", "203.0.113.9"),
    ("x-client-ip", "203.0.113.9"),
    ("true-client-ip", "203.0.113.9"),
];

async fn told(front: &Front, claims: &[(&str, &str)]) -> (String, String) {
    let call = front.node.client.get("/x").header("host", "app.example");
    assert_eq!(
        answered(claims.iter().fold(call, |call, (name, value)| call.header(name, value))).await.status,
        200
    );
    let seen = front.seen();
    let header = |name: &str| seen.header(name).expect("it is told").to_owned();
    assert_eq!(header("x-forwarded-host"), "app.example");
    assert_eq!(header("x-real-ip"), header("x-forwarded-for"));
    for name in [
        "forwarded",
        "x-client-ip",
        "true-client-ip",
        "x-forwarded-port",
        "x_forwarded_proto",
        "x-forwarded_for",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    (header("x-forwarded-for"), header("x-forwarded-proto"))
}

fn pair(address: &str, scheme: &str) -> (String, String) {
    (address.to_owned(), scheme.to_owned())
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn of_strangers_nothing_is_believed() {
    let front = Front::new(Backend::Sqlite).await;
    assert_eq!(told(&front, &[]).await, pair("127.0.0.1", "http"));
    assert_eq!(told(&front, &CLAIMS).await, pair("127.0.0.1", "http"));
    for claim in CLAIMS {
        assert_eq!(told(&front, &[claim]).await, pair("127.0.0.1", "http"), "{claim:?}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_who_the_client_is_and_whether_it_came_over_https() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1");
    let front = Front::of(site, "[]").await;
    let client = ("x-forwarded-for", "198.51.100.1, 203.0.113.9");
    for (claims, scheme) in [
        (vec![client], "http"),
        (vec![client, ("x-forwarded-proto", "https")], "https"),
        (vec![client, ("x-forwarded-proto", "HTTPS")], "https"),
        (vec![client, ("x-forwarded-proto", "http")], "http"),
        (vec![client, ("x-forwarded-proto", "nonsense")], "http"),
        // Only what the proxy in front of us wrote counts: the last entry.
        (vec![client, ("x-forwarded-proto", "https, http")], "http"),
    ] {
        assert_eq!(told(&front, &claims).await, pair("203.0.113.9", scheme), "{claims:?}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_with_https_says_so_too() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_PUBLIC_URL", "https://app.example");
    let front = Front::of(site, "[]").await;
    assert_eq!(told(&front, &[("x-forwarded-proto", "http")]).await, pair("127.0.0.1", "https"));
    front.stop().await;
}
