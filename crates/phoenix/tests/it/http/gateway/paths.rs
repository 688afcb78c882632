//! Paths: one form is matched and sent, and no spelling leads around a route's rules.

use super::super::support::{Backend, Site};
use super::{ADA, Front, ROUTES, assert_anonymous};

/// What is answered to a request line, as bytes a client library would not send: status, and code if it is ours.
async fn asked(front: &Front, line: &str, more: &str) -> (u16, String) {
    let mut wire = front.wire().await;
    wire.write(format!("{line} HTTP/1.1\r\nHost: a\r\n{more}Connection: close\r\n\r\n")).await;
    let answer = wire.rest().await;
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
    let code = answer.split_once("\"code\":\"").and_then(|(_, rest)| rest.split('"').next());
    (status, code.unwrap_or_default().to_owned())
}

/// Each is for Phoenix, or for nobody: never for the application.
const NOT_THE_APPLICATIONS: [(&str, u16, &str); 30] = [
    ("GET /x/../api/auth/me", 401, "unauthenticated"),
    ("GET //api/auth/me", 401, "unauthenticated"),
    ("GET /./api//auth/./me", 401, "unauthenticated"),
    ("GET /%61pi/auth/me", 401, "unauthenticated"),
    ("GET /x/%2e%2e/api/auth/me", 401, "unauthenticated"),
    ("GET /API/auth/me", 400, "ambiguous-path"),
    ("GET /Api/Auth/Me", 400, "ambiguous-path"),
    ("POST /api%2Fauth/login", 400, "ambiguous-path"),
    ("POST /api%5cauth%5clogin", 400, "ambiguous-path"),
    ("GET /api/auth;a=b/me", 400, "ambiguous-path"),
    ("GET /api;/auth/me", 400, "ambiguous-path"),
    ("GET /%2561pi/auth/me", 400, "ambiguous-path"),
    ("GET /x/..%2fapi/auth/me", 400, "ambiguous-path"),
    ("GET /x/..;/api/auth/me", 400, "ambiguous-path"),
    ("GET /PHOENIX/x", 400, "ambiguous-path"),
    ("GET /open/../members/x", 401, "unauthenticated"),
    ("GET /open/%2e%2e/members/x", 401, "unauthenticated"),
    ("GET /%6dembers/x", 401, "unauthenticated"),
    ("GET //members//x", 401, "unauthenticated"),
    ("GET /members", 401, "unauthenticated"),
    ("GET /members/", 401, "unauthenticated"),
    ("GET /Members/x", 400, "ambiguous-path"),
    ("GET /members%2Fx", 400, "ambiguous-path"),
    ("GET /members;a/x", 400, "ambiguous-path"),
    ("GET /open/..%2Fmembers/x", 400, "ambiguous-path"),
    ("GET /open/x/..%5c..%5cmembers", 400, "ambiguous-path"),
    ("GET /..%2Fmembers", 400, "malformed-path"),
    ("GET /members%00", 400, "malformed-path"),
    ("GET /open/%", 400, "malformed-path"),
    ("GET /../members/x", 400, "malformed-path"),
];

// spec: G1 A13
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_leads_around_its_rules() {
    let front = Front::new(Backend::Sqlite).await;
    for (line, status, code) in NOT_THE_APPLICATIONS {
        assert_eq!(asked(&front, line, "").await, (status, code.to_owned()), "{line}");
        // Nor do headers by which applications are told of another path.
        let more = "X-Original-URL: /open/x\r\nX-Rewrite-URL: /open/x\r\nX-Forwarded-Uri: /open/x\r\n\
                    X-HTTP-Method-Override: OPTIONS\r\nX-Middleware-Subrequest: middleware\r\n";
        assert_eq!(asked(&front, line, more).await, (status, code.to_owned()), "{line}");
    }
    // A backslash and bare bytes: refused by whoever reads them first.
    for line in ["GET /open\\..\\members", "GET /open/ x", "GET *", "GET open/x", "OPTIONS *"] {
        let (status, _) = asked(&front, line, "").await;
        assert_eq!(status, 400, "{line}");
    }
    assert_eq!(front.app.requests(), 0, "the application saw none of them");
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_the_form_that_was_judged() {
    let front = Front::new(Backend::Sqlite).await;
    for (sent, seen) in [
        ("/", "/"),
        ("/a//b///c", "/a/b/c"),
        ("/a/./b/../c?x=/../y", "/a/c?x=/../y"),
        ("/%7Eada/%61%2db", "/~ada/a-b"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%2fb?q=%2F+%20", "/a%2Fb?q=%2F+%20"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a/?", "/a/?"),
        ("/[id]?x[]=1", "/%5Bid%5D?x[]=1"),
        ("/open/../x/", "/x/"),
        ("/%2e/%2E%2e/x", ""),
        ("http://a/abs//olute?x", "/abs/olute?x"),
        ("http://a", "/"),
    ] {
        let before = front.app.requests();
        let (status, _) = asked(&front, &format!("GET {sent}"), "X-Original-URL: /admin\r\n").await;
        if seen.is_empty() {
            assert_eq!((status, front.app.requests()), (400, before), "{sent}");
            continue;
        }
        assert_eq!(status, 200, "{sent}");
        assert_eq!(front.seen().target, seen, "{sent}");
        assert_eq!(front.seen().header("x-original-url"), None);
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn routes_of_a_host_hold_for_that_host_however_it_is_written() {
    let routes = r#"[
        { host = "staff.example.com", path = "/{*rest}", auth = "required" },
        { host = "*.files.example.com", path = "/{*rest}", auth = "none", methods = ["GET"] },
        { path = "/members/{*rest}", auth = "required", methods = ["POST"] },
    ]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    let token = front.node.registered(ADA).await.token();
    for (host, status) in [
        ("staff.example.com", 401),
        ("STAFF.Example.com:8443", 401),
        ("staff.example.com.", 401),
        ("other.example.com", 200),
        ("x.staff.example.com", 200),
        ("a.b.files.example.com", 200),
        ("files.example.com", 200),
    ] {
        let answer = super::answered(front.node.client.get("/x").header("host", host)).await;
        assert_eq!(answer.status, status, "{host}");
        let answer = super::answered(front.node.client.get("/x").header("host", host).bearer(&token)).await;
        assert_eq!(answer.status, 200);
        let seen = front.seen();
        assert_eq!(seen.header("host"), Some(host));
        assert_eq!(seen.header("x-forwarded-host"), Some(host));
        if host.contains(".files.") {
            assert_anonymous(&seen);
        } else {
            assert_eq!(seen.header("x-phoenix-email"), Some(ADA));
        }
    }
    // What is named twice or not at all names nobody; a target with a host decides (RFC 9112 section 3.2.2).
    let before = front.app.requests();
    for head in [
        "GET /x HTTP/1.1\r\nHost: other.example.com\r\nHost: staff.example.com\r\n",
        "GET /x HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: a@staff.example.com\r\n",
        "GET http://staff.example.com/x HTTP/1.1\r\nHost: other.example.com\r\n",
        "GET http://STAFF.example.com:80/x HTTP/1.1\r\nHost: other.example.com\r\n",
    ] {
        let mut wire = front.wire().await;
        wire.write(format!("{head}Connection: close\r\n\r\n")).await;
        let answer = wire.rest().await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{head}{answer}");
    }
    assert_eq!(front.app.requests(), before);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_an_application_could_cut_to_a_protected_one_is_refused() {
    let routes = r#"[{ host = "staff.example.com", path = "/{*rest}", roles = ["admin"] }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    for host in [
        "staff.example.com,pub",
        "staff.example.com, pub",
        "pub,staff.example.com",
        "staff.example.com:443,pub",
        "staff.example.com..",
        ".staff.example.com",
        "staff.example.com;pub",
        "staff.example.com%2c",
        "[staff.example.com]",
    ] {
        let mut heads = vec![format!("GET /x HTTP/1.1\r\nHost: {host}\r\n")];
        if !host.contains(' ') {
            heads.push(format!("GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\n"));
            heads.push(format!("GET http://{host}/x HTTP/1.1\r\nHost: a\r\n"));
        }
        for head in heads {
            let mut wire = front.wire().await;
            wire.write(format!("{head}Connection: close\r\n\r\n")).await;
            let answer = wire.rest().await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head}{answer}");
        }
    }
    assert_eq!(front.app.requests(), 0);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn without_an_application_what_is_not_ours_is_nowhere() {
    let site = Site::new(Backend::Sqlite).with("PHOENIX_GATEWAY_ROUTES", ROUTES);
    let node = site.node().await;
    for path in ["/x", "/open/x", "/members/x"] {
        let answer = node.client.get(path).send().await.unwrap();
        super::super::support::assert_problem(&answer, 404, "not-found");
    }
    node.stop().await;
}
