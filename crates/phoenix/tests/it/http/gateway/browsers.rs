//! Pages of other origins: what browsers let them read (CORS), and what they may not make browsers send (CSRF).

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{Either, Empty, StreamBody};
use hyper::body::Frame;
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_testkit::http::{Call, Response};
use phoenix_testkit::upstream::Script;
use tokio::net::TcpStream;

use super::super::support::{Backend, ME, Site, assert_problem};
use super::{ADA, Front, answered, assert_anonymous};
use crate::wire::upgrade;

const SHOP: &str = "https://shop.example";
const EVIL: &str = "https://evil.example";
const ROUTES: &str = r#"[
    { path = "/shared/{*rest}", auth = "required", cors = ["https://shop.example"] },
    { path = "/closed/{*rest}", cors = [] },
    { path = "/members/{*rest}", auth = "required" },
    { path = "/hooks/{*rest}", same_origin = false },
    { path = "/open/{*rest}", auth = "none" },
    { path = "/own/{*rest}", auth = "required", cors = "application" },
    { path = "/staff/{*rest}", roles = ["admin"] },
]"#;

fn preflight<'a>(front: &'a Front, path: &str, origin: &str) -> Call<'a> {
    let call = front.node.client.request(Method::OPTIONS, path).header("origin", origin);
    call.header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "x-a, content-type")
}

/// Names and values of what an answer tells browsers about other origins.
fn shared(response: &Response) -> Vec<(&str, &str)> {
    let all = response.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut found: Vec<_> = all.filter(|(name, _)| name.starts_with("access-control-")).collect();
    found.sort_unstable();
    found
}

fn varies(response: &Response) -> bool {
    let mut values = response.headers.get_all("vary").iter();
    values.any(|value| value.to_str().unwrap().to_ascii_lowercase().contains("origin"))
}

async fn front() -> Front {
    Front::of(Site::new(Backend::Sqlite).with("PHOENIX_ALLOWED_ORIGINS", "https://app.example"), ROUTES).await
}

// spec: G1 A11
#[tokio::test(flavor = "multi_thread")]
async fn our_own_interface_is_readable_for_the_origins_that_are_named() {
    let front = front().await;
    let allowed = answered(preflight(&front, ME, "https://app.example")).await;
    assert_eq!((allowed.status.as_u16(), allowed.body.len()), (204, 0));
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(allowed.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("x-a, content-type"));
    assert!(allowed.header("access-control-allow-methods").is_some_and(|methods| methods.contains("DELETE")));
    assert!(varies(&allowed));
    let read = answered(front.node.client.get(ME).header("origin", "https://app.example")).await;
    assert_eq!(
        (read.status.as_u16(), read.header("access-control-allow-origin")),
        (401, Some("https://app.example"))
    );
    assert_eq!(read.header("access-control-allow-credentials"), Some("true"));
    for origin in
        [EVIL, "null", "https://app.example.evil.example", "http://app.example", "https://app.example:444"]
    {
        let refused = answered(preflight(&front, ME, origin)).await;
        assert_eq!(shared(&refused), [], "{origin}");
        let read = answered(front.node.client.get(ME).header("origin", origin)).await;
        assert_eq!((shared(&read), varies(&read)), (vec![], true), "{origin}");
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_origins_is_shared_by_phoenix_and_not_by_the_application() {
    let front = front().await;
    let token = front.node.registered(ADA).await.token();
    let own = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\
               Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Secret\r\n\r\nok";
    for path in ["/shared/x", "/closed/x"] {
        front.app.on(path, Script::raw(own));
    }
    let allowed = answered(preflight(&front, "/shared/x", SHOP)).await;
    assert_eq!((allowed.status.as_u16(), allowed.header("access-control-allow-origin")), (204, Some(SHOP)));
    for (path, origin) in [("/shared/x", EVIL), ("/shared/x", "https://app.example"), ("/closed/x", SHOP)] {
        let refused = answered(preflight(&front, path, origin)).await;
        assert_problem(&refused, 403, "cross-origin");
        assert_eq!(shared(&refused), [], "{path} {origin}");
    }
    assert_eq!(front.app.requests(), 0, "the application was not asked");
    let read = |path: &'static str, origin: &'static str| {
        answered(front.node.client.get(path).bearer(&token).header("origin", origin))
    };
    let answer = read("/shared/x", SHOP).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, Some(SHOP)));
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1);
    assert!(!format!("{answer:?}").contains("X-Secret"));
    for (path, origin) in [("/shared/x", EVIL), ("/closed/x", SHOP), ("/closed/x", EVIL)] {
        let answer = read(path, origin).await;
        assert_eq!((answer.status.as_u16(), shared(&answer)), (200, vec![]), "{path} {origin}");
    }
    // What Phoenix refuses on such a route, pages of the origin may read as well.
    let refused = answered(front.node.client.get("/shared/x").header("origin", SHOP)).await;
    assert_problem(&refused, 401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), Some(SHOP));
    front.stop().await;
}

// spec: G1 R2
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_may_read_answers_may_read_that_they_must_wait() {
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_LIMITS_EXEMPT", "")
        .with("PHOENIX_LIMITS_CLASSES", r#"{ api = { windows = ["1/1m"], key = "address" } }"#)
        .with("PHOENIX_ALLOWED_ORIGINS", "https://app.example");
    let front =
        Front::of(site, r#"[{ path = "/shared/{*rest}", class = "api", cors = ["https://shop.example"] }]"#)
            .await;
    let ask = |path: &'static str, origin| answered(front.node.client.get(path).header("origin", origin));
    assert_eq!(ask("/shared/x", SHOP).await.status, 200);
    for (path, origin, allowed) in [
        ("/shared/x", SHOP, Some(SHOP)),
        ("/shared/x", EVIL, None),
        (ME, "https://app.example", Some("https://app.example")),
    ] {
        let refused = ask(path, origin).await;
        assert_problem(&refused, 429, "quota-exceeded");
        assert_eq!(refused.header("access-control-allow-origin"), allowed, "{path} {origin}");
        assert!(varies(&refused));
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn preflights_of_open_routes_are_the_applications_and_so_are_those_of_routes_that_say_so() {
    let front = front().await;
    let token = front.node.registered(ADA).await.token();
    let own = "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://evil.example\r\n\
               Access-Control-Allow-Methods: PUT\r\nVary: Origin\r\n\r\n";
    for path in ["/own/x", "/x", "/open/x"] {
        front.app.on(path, Script::raw(own));
        for credentials in [None, Some(format!("phoenix_session={token}"))] {
            let mut call = preflight(&front, path, EVIL);
            if let Some(cookie) = &credentials {
                call = call.header("cookie", cookie);
            }
            let answer = answered(call).await;
            assert_eq!(answer.status, 204, "{path}: {}", answer.text());
            let told = [("access-control-allow-methods", "PUT"), ("access-control-allow-origin", EVIL)];
            assert_eq!(shared(&answer), told);
            let seen = front.seen();
            assert_eq!((seen.method.as_str(), seen.path()), ("OPTIONS", path));
            assert_anonymous(&seen);
        }
    }
    // What only looks like one is none.
    let before = front.app.requests();
    for names in [&["origin"][..], &["access-control-request-method"][..], &[][..]] {
        let call = front.node.client.request(Method::OPTIONS, "/own/x");
        let answer = answered(names.iter().fold(call, |call, name| call.header(name, "GET"))).await;
        assert_problem(&answer, 401, "unauthenticated");
    }
    let get = front.node.client.get("/own/x").header("origin", EVIL);
    let get = answered(get.header("access-control-request-method", "GET")).await;
    assert_problem(&get, 401, "unauthenticated");
    assert_problem(&answered(preflight(&front, "/own/x", EVIL).body("x")).await, 401, "unauthenticated");
    let upgrade = preflight(&front, "/own/x", EVIL).header("upgrade", "any");
    assert_problem(&answered(upgrade).await, 401, "unauthenticated");
    let mut wire = front.wire().await;
    let head =
        "OPTIONS /own/x HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\nTransfer-Encoding: chunked\r\n";
    wire.write(format!("{head}Access-Control-Request-Method: PUT\r\n\r\n0\r\n\r\n")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 401 "), "chunks, though there are none");
    assert_eq!(front.app.requests(), before);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_preflight_gets_past_no_sign_in() {
    let front = front().await;
    let token = front.node.registered(ADA).await.token();
    let before = front.app.requests();
    for path in ["/members/delete?id=1", "/staff/delete?id=1"] {
        for body in ["", "id=1"] {
            let refused = answered(preflight(&front, path, SHOP).body(body)).await;
            assert_problem(&refused, 401, "unauthenticated");
            assert_eq!(shared(&refused), [], "{path}");
        }
    }
    let refused = answered(preflight(&front, "/staff/x", SHOP).bearer(&token)).await;
    assert_problem(&refused, 403, "forbidden");
    assert_eq!(front.app.requests(), before, "the application saw none of them");
    // Who is signed in sends it like any request, and the application is told who it is.
    assert_eq!(answered(preflight(&front, "/members/x", SHOP).bearer(&token)).await.status, 200);
    assert_eq!(front.seen().header("x-phoenix-email"), Some(ADA));
    // The answers to other requests are the application's, with what they say to other origins.
    let own = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\nok";
    front.app.on("/members/y", Script::raw(own));
    let answer = answered(front.node.client.get("/members/y").bearer(&token).header("origin", SHOP)).await;
    assert_eq!(shared(&answer), [("access-control-allow-origin", "*")]);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_with_a_body_of_no_told_length_is_none_in_http2_either() {
    let front = front().await;
    let stream = TcpStream::connect(front.node.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    let uri = format!("http://{}/own/x", front.node.address);
    for (frames, status) in
        [(vec![], 200), (vec![Ok::<_, Infallible>(Frame::data(Bytes::from("id=1")))], 401)]
    {
        let request =
            Request::options(&uri).header("origin", SHOP).header("access-control-request-method", "PUT");
        // A stream tells no length, and whether there is anything only by its end.
        let body = if frames.is_empty() {
            Either::Left(Empty::new())
        } else {
            Either::Right(StreamBody::new(futures_util::stream::iter(frames)))
        };
        let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(front.app.requests(), 1);
    drop(sender);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn what_some_pages_may_read_is_kept_apart_by_caches_whoever_asked_first() {
    let front = front().await;
    for path in [ME, "/shared/x"] {
        assert!(varies(&answered(front.node.client.get(path)).await), "{path}");
    }
    for path in ["/closed/x", "/members/x", "/x"] {
        assert!(!varies(&answered(front.node.client.get(path)).await), "{path}");
    }
    front.stop().await;
}

/// Where a request says it comes from, and whether our cookie counts in an unsafe one.
const ORIGINS: [(&[(&str, &str)], bool); 8] = [
    (&[("origin", EVIL)], false),
    (&[("origin", "null")], false),
    (&[("sec-fetch-site", "cross-site")], false),
    (&[("sec-fetch-site", "same-site"), ("origin", "https://blog.example")], false),
    (&[], false),
    (&[("sec-fetch-site", "same-origin")], true),
    (&[("origin", "https://app.example")], true),
    (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")], true),
];

fn saying<'a>(call: Call<'a>, fields: &[(&str, &str)]) -> Call<'a> {
    fields.iter().fold(call, |call, (name, value)| call.header(name, value))
}

// spec: G1 A11
#[tokio::test(flavor = "multi_thread")]
async fn no_other_page_makes_a_browser_change_something_at_the_application() {
    let front = front().await;
    let token = front.node.registered(ADA).await.token();
    let cookie = format!("phoenix_session={token}; app=1");
    let unsafe_methods = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for (fields, is_ours) in ORIGINS {
        for path in ["/x", "/members/x"] {
            for method in unsafe_methods.clone() {
                let before = front.app.requests();
                let call = front.node.client.request(method.clone(), path).header("cookie", &cookie);
                let answer = answered(saying(call, fields)).await;
                if is_ours {
                    assert_eq!(answer.status, 200, "{method} {path} {fields:?}");
                } else {
                    assert_problem(&answer, 403, "cross-origin");
                    assert_eq!(front.app.requests(), before, "{fields:?}");
                }
            }
        }
        let passes =
            async |call: Call<'_>| assert_eq!(answered(saying(call, fields)).await.status, 200, "{fields:?}");
        // Reading is safe; a header is not sent by browsers on their own; a route may say that it checks for itself;
        // and of the application's own cookies only it can know.
        passes(front.node.client.get("/members/x").header("cookie", &cookie)).await;
        passes(front.node.client.post("/members/x").bearer(&token)).await;
        passes(front.node.client.post("/hooks/x").header("cookie", &cookie)).await;
        assert_eq!(front.seen().header("x-phoenix-email"), Some(ADA));
        passes(front.node.client.post("/open/x").header("cookie", &cookie)).await;
        passes(front.node.client.post("/x").header("cookie", "app=1")).await;
        assert_anonymous(&front.seen());
    }
    front.stop().await;
}

// spec: G1 A11
#[tokio::test(flavor = "multi_thread")]
async fn no_other_page_opens_a_websocket_with_our_cookie() {
    let front = front().await;
    let token = front.node.registered(ADA).await.token();
    for path in ["/x", "/members/x", "/hooks/x"] {
        front.app.on(path, Script::websocket());
    }
    let opened = async |path: &str, fields: &[(&str, &str)]| {
        let more: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let more = more.concat();
        let before = front.app.requests();
        let mut wire = front.wire().await;
        wire.write(upgrade(path, &more)).await;
        let head = wire.head().await;
        let status: u16 = head[9..12].parse().unwrap();
        assert_eq!(front.app.requests() - before, u64::from(status == 101), "{head}");
        status
    };
    let cookie = format!("phoenix_session={token}");
    for (fields, is_ours) in ORIGINS {
        let mut with_cookie = fields.to_vec();
        with_cookie.push(("cookie", &cookie));
        for path in ["/x", "/members/x"] {
            assert_eq!(
                opened(path, &with_cookie).await,
                if is_ours { 101 } else { 403 },
                "{path} {fields:?}"
            );
        }
        assert_eq!(opened("/hooks/x", &with_cookie).await, 101, "{fields:?}");
        assert_eq!(opened("/x", fields).await, 101, "{fields:?}: without a session");
        assert_eq!(opened("/members/x", fields).await, 401, "{fields:?}: without a session");
    }
    front.stop().await;
}
