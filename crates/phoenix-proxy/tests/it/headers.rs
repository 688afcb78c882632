//! What an application is told, and what it is not.

use phoenix_proxy::hygiene::Via;
use phoenix_testkit::upstream::{Script, Upstream};

use crate::gateway::{Gateway, LOOPBACK, Settings, ask, config};

#[tokio::test(flavor = "multi_thread")]
async fn the_application_is_told_where_a_request_comes_from_and_believes_nobody_else() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::to(&upstream).await;
    let forged = "GET /a HTTP/1.1\r\nHost: app.test:81\r\nConnection: close, x-forwarded-for, Authorization, X-Secret, x-phoenix-user-id, cookie\r\nX-Secret: s\r\nX-Phoenix-User-Id: from-the-stack\r\nX_Phoenix_User_Id: forged\r\nX-Phoenix_Role: forged\r\nX-Forwarded-For: 9.9.9.9\r\nX_Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /x\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX_Original_Url: /admin\r\nX-Middleware-Subrequest: src/middleware\r\nAuthorization: Bearer a\r\nCookie: a=b\r\nProxy: evil.test:1\r\nProxy-Authorization: Basic x\r\nKeep-Alive: timeout=9\r\nTE: gzip\r\nX_Fine: yes\r\nVia: 1.1 other\r\n\r\n";
    assert_eq!(ask(gateway.address, forged).await.status, 200);
    let seen = upstream.last().unwrap();
    let mut headers: Vec<(&str, &str)> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.sort_unstable();
    let client = LOOPBACK.to_string();
    let expected = [
        ("authorization", "Bearer a"),
        ("cookie", "a=b"),
        ("host", "app.test:81"),
        ("via", "1.1 other"),
        ("via", "1.1 phoenix-test"),
        ("x-forwarded-for", client.as_str()),
        ("x-forwarded-host", "app.test:81"),
        ("x-forwarded-proto", "http"),
        ("x-phoenix-user-id", "from-the-stack"),
        ("x-real-ip", client.as_str()),
        ("x_fine", "yes"),
    ];
    assert_eq!(headers, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_given_the_fields_that_it_comes_with() {
    let upstream = Upstream::start().unwrap();
    let fields = "x-phoenix-user-id: 1\r\nx-phoenix-email: ad\u{e4}:b@example.com\r\n";
    let settings = Settings { fields: fields.into(), ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let request = "POST /a HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(ask(gateway.address, request).await.status, 200);
    let seen = upstream.last().unwrap();
    assert_eq!(seen.header("x-phoenix-user-id"), Some("1"));
    assert!(seen.header("x-phoenix-email").is_some_and(|email| email.ends_with(":b@example.com")));
    assert_eq!(seen.body, b"hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_may_see_its_own_host() {
    let upstream = Upstream::start().unwrap();
    let settings = Settings { keep_host: false, ..Settings::default() };
    let gateway = Gateway::with(config(&[upstream.address()]), settings).await;
    let request = "GET http://other.test/a?b HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(gateway.address, request).await.status, 200);
    let seen = upstream.last().unwrap();
    assert_eq!(seen.target, "/a?b");
    assert_eq!(seen.header("host"), Some(upstream.address().to_string().as_str()));
    assert_eq!(seen.header("x-forwarded-host"), Some("other.test"), "the target names the host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_nothing_of_the_applications_connection() {
    let upstream = Upstream::start().unwrap();
    upstream.on("/a", Script::raw("HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop, Set-Cookie\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok"));
    upstream.on(
        "/both",
        Script::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    );
    let gateway = Gateway::to(&upstream).await;
    let got = ask(gateway.address, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    for name in ["x-hop", "proxy-authenticate", "keep-alive", "upgrade"] {
        assert_eq!(got.header(name), None);
    }
    assert_eq!(got.headers["set-cookie"], ["a=b", "c=d"]);
    assert_eq!(got.header("via"), Some("1.1 phoenix-test"));
    for _ in 0..2 {
        let both = ask(gateway.address, "GET /both HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        // All of it was there at once, so its length is known.
        assert_eq!((both.header("content-length"), both.body.as_str()), (Some("2"), "ok"));
    }
    assert_eq!(upstream.accepted(), 2, "a connection with two lengths is not used again");
}

#[test]
fn a_loop_is_noticed_by_name() {
    let via = Via::new("phoenix-1").unwrap();
    let is_loop = |value: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("via", value.parse().unwrap());
        via.is_in(&headers)
    };
    assert!(is_loop("1.1 phoenix-1"));
    assert!(is_loop("1.0 a, HTTP/1.1 \tPhoenix-1 (comment), 1.1 b"));
    assert!(!is_loop("1.1 phoenix-12"));
    assert!(!is_loop("phoenix-1"));
    assert!(!is_loop("1.1 other (phoenix-1)"));
    assert!(Via::new("").is_none() && Via::new("a b").is_none() && Via::new("a,b").is_none());
}
