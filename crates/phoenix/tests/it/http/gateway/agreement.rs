//! The gateway and forward-auth judge alike: the same requests, sent through Phoenix and asked about by a proxy, have the
//! same verdict, and the application is told the same.

use std::fmt::Write;

use http::{Method, Request};
use phoenix_http::gateway::is_host;
use phoenix_proxy::check_framing;
use phoenix_testkit::http::Response;
use proptest::prelude::*;
use serde_json::json;

use super::super::support::{ADMIN, Backend, PASSWORD, Site};
use super::{ADA, Front, answered, identity};

const ROUTES: &str = r#"[
    { path = "/open/{*rest}", auth = "none" },
    { path = "/members/{*rest}", auth = "required" },
    { path = "/members/{id}/hooks", same_origin = false },
    { path = "/staff/{*rest}", roles = ["admin"] },
    { path = "/staff/{*rest}", methods = ["GET"], roles = ["admin", "user"] },
    { host = "staff.example.com", path = "/{*rest}", roles = ["admin"] },
    { path = "/limited/{*rest}", class = "tiny" },
    { path = "/own/{*rest}", auth = "required", cors = "application" },
]"#;
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS];
const HOSTS: [&str; 2] = ["app.example.com", "STAFF.example.com:8443"];
const TARGETS: [&str; 17] = [
    "/",
    "/x?a=b%2Fc",
    "/open/x",
    "/open/../members/x",
    "/members/x",
    "/members//x/./y",
    "/members/7/hooks",
    "/%6dembers",
    "/Members/x",
    "/members%2Fx",
    "/open/..%2fmembers/x",
    "/staff/x",
    "/staff;v=1/x",
    "/own/x",
    "/..%2Fx",
    "/%zz",
    "/a%00b",
];

/// Of these, what Phoenix sends on in another form. A proxy sends it as it is, so beside it is refused.
const REWRITTEN: [&str; 3] = ["/open/../members/x", "/members//x/./y", "/%6dembers"];

/// An installation that believes a proxy on this machine.
fn site() -> Site {
    Site::new(Backend::Sqlite)
        .with("PHOENIX_TRUSTED_PROXIES", "127.0.0.1")
        .with("PHOENIX_FORWARD_AUTH", "on")
        .with("PHOENIX_LIMITS_CLASSES", r#"{ tiny = { windows = ["4/1m"] } }"#)
}

/// What came of a request: the status, and the code of the problem or what the application was told of the caller.
type Verdict = (u16, String);

fn refused(method: &Method, answer: &Response) -> Verdict {
    // No problem is told in an answer to HEAD.
    let code = if *method == Method::HEAD { String::new() } else { answer.json()["code"].to_string() };
    (answer.status.as_u16(), code)
}

/// Who the application is told about; the signature differs every time.
fn told(fields: impl Iterator<Item = (String, String)>) -> String {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        let value = if name == "x-phoenix-assertion" { "signed" } else { value };
        let _ = writeln!(text, "{name}: {value}");
        text
    })
}

struct Asked<'a> {
    method: &'a Method,
    host: &'a str,
    target: &'a str,
    fields: &'a [(&'a str, String)],
    client: &'a str,
}

impl Front {
    async fn through(&self, asked: &Asked<'_>) -> Verdict {
        let before = self.app.requests();
        let call = self.node.client.request(asked.method.clone(), asked.target).header("host", asked.host);
        let call = call.header("x-forwarded-for", asked.client).header("x-forwarded-proto", "https");
        let answer =
            answered(asked.fields.iter().fold(call, |call, (name, value)| call.header(name, value))).await;
        if self.app.requests() == before {
            return refused(asked.method, &answer);
        }
        assert_eq!(answer.status, 200);
        (200, told(identity(&self.seen().headers).into_iter()))
    }

    async fn asked_about(&self, asked: &Asked<'_>) -> Verdict {
        let call =
            self.node.client.get("/api/phoenix/verify").header("x-forwarded-method", asked.method.as_str());
        let call = call.header("x-forwarded-uri", asked.target).header("x-forwarded-host", asked.host);
        let call = call.header("x-forwarded-for", asked.client).header("x-forwarded-proto", "https");
        let answer =
            answered(asked.fields.iter().fold(call, |call, (name, value)| call.header(name, value))).await;
        if answer.status != 200 {
            return refused(asked.method, &answer);
        }
        let fields = answer.headers.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let of_identity = |name: &str| name.starts_with("x-phoenix-") && name != "x-phoenix-version";
        (200, told(fields.filter(|(name, _)| of_identity(name))))
    }
}

// spec: G1 G2
#[tokio::test(flavor = "multi_thread")]
async fn through_phoenix_and_beside_it_the_same_requests_have_the_same_verdict() {
    let site = site()
        .with("PHOENIX_PUBLIC_URL", "https://app.example.com")
        .with("PHOENIX_ALLOWED_ORIGINS", "https://other.example.com");
    let front = Front::of(site, ROUTES).await;
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "bearer"});
    let user = answered(front.node.client.post("/api/auth/register").json(&body)).await;
    let user = user.json()["token"].as_str().unwrap().to_owned();
    let admin = front.node.token(ADMIN).await;
    let cookie = |token: &str| ("cookie", format!("a=1; __Host-phoenix_session={token}"));
    let origin = |text: &str| ("origin", text.to_owned());
    let senders = [
        vec![],
        vec![("authorization", format!("Bearer {user}"))],
        vec![("authorization", format!("Bearer {admin}")), origin("https://evil.example")],
        vec![("authorization", "Bearer app-token".to_owned())],
        vec![("authorization", "Basic YTpi".to_owned()), cookie(&user)],
        vec![cookie(&user)],
        vec![cookie(&user), origin("https://app.example.com")],
        vec![cookie(&admin), origin("https://evil.example"), ("x-phoenix-role", "root".to_owned())],
        vec![
            cookie(&admin),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("x_phoenix_user_id", "7".to_owned()),
        ],
        vec![cookie(&user), cookie(&admin), origin("https://other.example.com")],
        vec![origin("https://evil.example"), ("access-control-request-method", "PUT".to_owned())],
    ];
    let mut verdicts = std::collections::BTreeMap::<u16, usize>::new();
    for method in METHODS {
        for host in HOSTS {
            for (at, target) in TARGETS.into_iter().enumerate() {
                for fields in &senders {
                    // One for each target: what is refused beside is counted only through.
                    let client = format!("203.0.113.{at}");
                    let asked = Asked { method: &method, host, target, fields, client: &client };
                    let (through, beside) = (front.through(&asked).await, front.asked_about(&asked).await);
                    let expected = if REWRITTEN.contains(&target) {
                        let code = if method == Method::HEAD { "" } else { "\"malformed-path\"" };
                        (400, code.to_owned())
                    } else {
                        through.clone()
                    };
                    assert_eq!(expected, beside, "{method} {host} {target} {fields:?}");
                    *verdicts.entry(through.0).or_default() += 1;
                }
            }
        }
    }
    // The table is worth something: each verdict is there many times.
    for status in [200, 400, 401, 403] {
        assert!(verdicts.get(&status).is_some_and(|count| *count >= 20), "{status}: {verdicts:?}");
    }
    front.stop().await;
}

// spec: G1 G2
#[tokio::test(flavor = "multi_thread")]
async fn through_phoenix_and_beside_it_the_same_preflights_need_no_session() {
    let front = Front::of(site(), ROUTES).await;
    let fields =
        [("origin", "https://a.example".to_owned()), ("access-control-request-method", "PUT".to_owned())];
    for (target, status) in
        [("/own/x", 200), ("/members/x?id=1", 401), ("/staff/x", 401), ("/open/x", 200), ("/x", 200)]
    {
        let (method, host, client) = (&Method::OPTIONS, "app.example.com", "203.0.113.1");
        let asked = Asked { method, host, target, fields: &fields, client };
        let (through, beside) = (front.through(&asked).await, front.asked_about(&asked).await);
        assert_eq!(through, beside, "{target}");
        assert_eq!(through.0, status, "{target}");
    }
    // With a body it is none.
    let call = front.node.client.request(Method::OPTIONS, "/api/phoenix/verify");
    let call = call.header("x-forwarded-method", "OPTIONS").header("x-forwarded-uri", "/own/x");
    let call = call.header("x-forwarded-host", "app.example.com").header("x-forwarded-for", "203.0.113.1");
    let call = fields.iter().fold(call, |call, (name, value)| call.header(name, value));
    assert_eq!(answered(call.body("id=1")).await.status, 401);
    front.stop().await;
}

proptest! {
    #[test]
    fn what_is_a_host_beside_is_one_to_the_gateway(
        text in "([a-zA-Z0-9._:,;@ -]{0,12}|[a-c.,]{1,8}(:[0-9]{0,7})?|\\[[0-9a-f:.]{1,8}\\]?(:?[0-9]{1,6})?|[!-~]{0,9})"
    ) {
        // Spaces around a value are no part of it.
        let text = text.trim();
        let request = Request::builder().header("host", text).body(()).unwrap();
        let passes = check_framing(&mut request.into_parts().0).is_ok();
        prop_assert_eq!(is_host(text), passes);
    }
}

// spec: G1 G2
#[tokio::test(flavor = "multi_thread")]
async fn through_phoenix_and_beside_it_the_same_hosts_are_none() {
    let front = Front::of(site(), ROUTES).await;
    for (host, status) in [
        ("staff.example.com", 401),
        ("staff.example.com.:8443", 401),
        ("other_1.example.com", 200),
        ("[2001:db8::1]:8080", 200),
        ("192.0.2.1", 200),
        ("[::1]", 200),
        ("staff.example.com,pub", 400),
        ("pub,staff.example.com", 400),
        ("staff.example.com..", 400),
        (".staff.example.com", 400),
        ("user@staff.example.com", 400),
        ("staff.example.com:", 400),
        ("staff.example.com:8443,pub", 400),
        ("[::1]x", 400),
    ] {
        let (method, client) = (&Method::GET, "203.0.113.1");
        let asked = Asked { method, host, target: "/x", fields: &[], client };
        let (through, beside) = (front.through(&asked).await, front.asked_about(&asked).await);
        assert_eq!(through, beside, "{host}");
        assert_eq!(through.0, status, "{host}");
    }
    front.stop().await;
}

// spec: G1 G2 R2
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_about_and_what_is_sent_count_together() {
    let front = Front::of(site().with("PHOENIX_LIMITS_EXEMPT", ""), ROUTES).await;
    let asked = |client| Asked {
        method: &Method::GET,
        host: "app.example.com",
        target: "/limited/x",
        fields: &[],
        client,
    };
    for client in ["203.0.113.1", "203.0.113.2"] {
        for _ in 0..2 {
            assert_eq!(front.through(&asked(client)).await.0, 200);
            assert_eq!(front.asked_about(&asked(client)).await.0, 200);
        }
        let limited = (429, "\"quota-exceeded\"".to_owned());
        assert_eq!(front.through(&asked(client)).await, limited);
        assert_eq!(front.asked_about(&asked(client)).await, limited);
    }
    front.stop().await;
}
