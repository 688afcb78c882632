//! What a route says beside who may use it: another application, another host, changes of headers.

use std::time::UNIX_EPOCH;

use phoenix_auth::ports::Clock;
use phoenix_client::{Jwks, Verifier};
use phoenix_testkit::upstream::{Script, Upstream};

use super::super::support::{Backend, Site};
use super::{ADA, Front, answered};

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_its_own_has_assertions_of_its_own() {
    let reports = Upstream::start().unwrap();
    let upstreams = format!(r#"{{ reports = {{ servers = ["{}"] }} }}"#, reports.origin());
    let site = Site::new(Backend::Sqlite)
        .with("PHOENIX_GATEWAY_UPSTREAMS", &upstreams)
        .with("PHOENIX_GATEWAY_AUDIENCE", "planner");
    let front =
        Front::of(site, r#"[{ path = "/reports/{*rest}", upstream = "reports", keep_host = false }]"#).await;
    let token = front.node.registered(ADA).await.token();
    let keys = front.get("/.well-known/jwks.json").await.body;
    let now = UNIX_EPOCH + front.site.clock.now().wall.since(phoenix_auth::model::Timestamp::default());
    let believes = |audience: &str, token: &str| {
        Verifier::new(Jwks::parse(&keys).unwrap(), audience, "phoenix").verify(token, now).is_ok()
    };
    for (path, app, own, other) in
        [("/x", &front.app, "planner", "reports"), ("/reports/7?a", &reports, "reports", "planner")]
    {
        assert_eq!(front.get_as(&token, path).await.status, 200);
        let seen = app.last().expect("this application was asked");
        assert_eq!(seen.target, path);
        let assertion = seen.header("x-phoenix-assertion").unwrap();
        assert!(believes(own, assertion) && !believes(other, assertion), "{path}");
    }
    assert_eq!((front.app.requests(), reports.requests()), (1, 1));
    assert_eq!(front.seen().header("host"), Some(front.node.address.to_string().as_str()));
    let seen = reports.last().unwrap();
    assert_eq!(seen.header("host"), Some(reports.address().to_string().as_str()));
    assert_eq!(seen.header("x-forwarded-host"), Some(front.node.address.to_string().as_str()));
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn a_route_changes_headers_in_both_directions_but_not_ours() {
    let routes = r#"[{
        path = "/x",
        request_headers = { set = { x-tenant = "a", x-from = "phoenix" }, remove = ["x-debug"] },
        response_headers = { set = { x-frame-options = "DENY" }, remove = ["server", "x-powered-by"] },
    }]"#;
    let front = Front::of(Site::new(Backend::Sqlite), routes).await;
    let own = "HTTP/1.1 200 OK\r\nServer: app/1\r\nX-Powered-By: app\r\nX-Frame-Options: ALLOW\r\nContent-Length: 0\r\n\r\n";
    for path in ["/x", "/y"] {
        front.app.on(path, Script::raw(own));
        let call = front.node.client.get(path).header("x-tenant", "forged").header("x-debug", "1");
        let answer = answered(call).await;
        let seen = front.seen();
        let told = ["x-tenant", "x-from", "x-debug"].map(|name| seen.header(name));
        let kept = ["server", "x-powered-by", "x-frame-options"].map(|name| answer.header(name));
        if path == "/x" {
            assert_eq!(told, [Some("a"), Some("phoenix"), None]);
            assert_eq!(kept, [None, None, Some("DENY")]);
        } else {
            assert_eq!(told, [Some("forged"), None, Some("1")]);
            assert_eq!(kept, [Some("app/1"), Some("app"), Some("ALLOW")]);
        }
    }
    front.stop().await;
}
