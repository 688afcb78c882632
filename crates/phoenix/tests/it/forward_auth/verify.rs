//! The question over HTTP, as each proxy is documented to ask it, and by those who may not.

use http::Method;
use phoenix_testkit::http::{Client, Response};

use super::app::App;
use super::assert_problem;
use super::support::{Beside, SIGN_IN, example};
use crate::process::support::{ADMIN, PASSWORD, login, register, token};

const VERIFY: &str = "/api/phoenix/verify";
const NGINX: &str = "/api/phoenix/verify-nginx";

/// What Traefik's `ForwardAuth` sends about a request: always GET, without the body, with the client's header.
async fn traefik(client: &Client, method: &str, host: &str, uri: &str, more: &[(&str, &str)]) -> Response {
    let call = client
        .get(VERIFY)
        .header("x-forwarded-method", method)
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", host)
        .header("x-forwarded-uri", uri)
        .header("x-forwarded-for", "203.0.113.9");
    more.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await.unwrap()
}

// spec: G2
#[tokio::test]
async fn traefik_is_answered() {
    let beside = Beside::start();
    let client = beside.client();
    let user = token(&register(&client, "user@example.com").await.unwrap(), 201);
    let bearer = format!("Bearer {user}");
    let host = "app.example.com";
    let open = traefik(&client, "DELETE", host, "/open/x", &[]).await;
    assert_eq!((open.status.as_u16(), open.body.len()), (200, 0));
    assert!(!open.headers.contains_key("x-phoenix-user-id"), "{open:?}");
    assert_problem(&traefik(&client, "GET", host, "/private/x?a", &[]).await, 401, "unauthenticated");
    let known = traefik(&client, "GET", host, "/private/x", &[("authorization", &bearer)]).await;
    assert_eq!(known.status, 200);
    for name in ["x-phoenix-user-id", "x-phoenix-email", "x-phoenix-role", "x-phoenix-session-id"] {
        assert!(known.headers.contains_key(name), "{name}: {known:?}");
    }
    // Routes of a host count for that host, however it is written.
    for (host, status) in
        [("staff.example.com", 401), ("STAFF.example.com:8443", 401), ("app.example.com", 200)]
    {
        assert_eq!(traefik(&client, "GET", host, "/hosts/x", &[]).await.status, status, "{host}");
    }
    // Where a description cannot be read, the answer is no.
    let incomplete = client.get(VERIFY).header("x-forwarded-uri", "/open/x").send().await.unwrap();
    assert_problem(&incomplete, 400, "malformed-request");
    for uri in ["/%zz", "/a\\b", "/../../x%00"] {
        assert_eq!(traefik(&client, "GET", host, uri, &[]).await.status, 400, "{uri}");
    }
    // Phoenix's own paths are not the application's.
    for uri in ["/api/auth/me", "/api/phoenix/verify", "/api/auth/login?x"] {
        assert_problem(&traefik(&client, "GET", host, uri, &[]).await, 421, "misdirected");
    }
    assert_problem(&traefik(&client, "GET", host, "/API/auth/me", &[]).await, 400, "ambiguous-path");
    // Paths that Phoenix has, and the application may have, are looked up like any other.
    assert_eq!(traefik(&client, "GET", host, "/readyz", &[]).await.status, 200);
    assert_problem(&traefik(&client, "GET", host, "/healthz", &[]).await, 401, "unauthenticated");
    assert_eq!(client.get("/healthz").send().await.unwrap().status, 200, "Phoenix's own");
}

/// A proxy passes on what its client wrote: `/staff/../open/x` is the application's `/staff` to some.
// spec: G2
#[tokio::test]
async fn a_path_that_the_application_may_read_otherwise_is_refused_however_it_is_asked() {
    let beside = Beside::start();
    let client = beside.client();
    for path in ["/staff/../open/x", "/staff/%2e%2E/open/x", "//open/x", "/open//x", "/open/./x", "/%6fpen/x"]
    {
        assert_problem(&traefik(&client, "GET", "app", path, &[]).await, 400, "malformed-path");
        let envoy = client.get(&format!("{VERIFY}{path}")).send().await.unwrap();
        assert_problem(&envoy, 400, "malformed-path");
        let nginx = client.get(NGINX).header("host", "app").header("x-original-method", "GET");
        let nginx = nginx.header("x-original-uri", path).send().await.unwrap();
        assert_eq!((nginx.status.as_u16(), nginx.header("x-phoenix-status")), (403, Some("400")), "{path}");
        assert!(nginx.text().contains("malformed-path"), "{path}: {}", nginx.text());
    }
    for path in ["/open/x/", "/open/%c3%a9", "/open/a%20b"] {
        assert_eq!(traefik(&client, "GET", "app", path, &[]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn limits_count_for_the_client_that_the_proxy_names() {
    let beside = Beside::start();
    let client = beside.client();
    let ask = async |from: &str| {
        let headers = [("x-forwarded-for", from)];
        let call = client.get(NGINX).header("host", "app").header("x-original-method", "GET");
        let call = call.header("x-original-uri", "/limited/x");
        headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await.unwrap()
    };
    for from in ["203.0.113.1", "203.0.113.2"] {
        for left in [1, 0] {
            let answer = ask(from).await;
            assert_eq!(answer.status, 200);
            assert!(answer.header("ratelimit").unwrap().contains(&format!("r={left}")), "{answer:?}");
        }
        let refused = ask(from).await;
        assert_eq!((refused.status.as_u16(), refused.header("x-phoenix-status")), (403, Some("429")));
        assert!(refused.headers.contains_key("retry-after"));
        assert_eq!(refused.headers["x-phoenix-problem"].as_bytes(), &refused.body[..]);
    }
    // What the client itself wrote in front does not count.
    assert_eq!(ask("203.0.113.77, 203.0.113.1").await.header("x-phoenix-status"), Some("429"));
}

#[tokio::test]
async fn who_is_no_trusted_proxy_is_told_which_setting_it_lacks() {
    let beside = Beside::trusting("10.0.0.1");
    let client = beside.client();
    let forwarded = traefik(&client, "GET", "app", "/open/x", &[]).await;
    let envoy = client.request(Method::GET, "/api/phoenix/verify/open/x").send().await.unwrap();
    for answer in [forwarded, envoy] {
        assert_problem(&answer, 403, "proxy-not-trusted");
        assert!(answer.text().contains("PHOENIX_TRUSTED_PROXIES"), "{}", answer.text());
    }
    // It counts under the address of whoever asks, like any other request to Phoenix.
    let left = async |path: &str, from: &str| {
        let answer = client.get(path).header("x-forwarded-for", from).send().await.unwrap();
        let told = answer.header("ratelimit").expect("a limit").to_owned();
        told.split(";r=")
            .nth(1)
            .and_then(|rest| rest.split(';').next()?.parse::<u64>().ok())
            .expect("a number")
    };
    let before = left("/api/phoenix/nothing", "203.0.113.1").await;
    assert_eq!(left(VERIFY, "203.0.113.2").await, before - 1);
    assert_eq!(left("/api/phoenix/verify/../x", "203.0.113.3").await, before - 2);
    assert_eq!(left("/api/phoenix/nothing", "203.0.113.4").await, before - 3);
    // At HAProxy's port there is no way to tell: the connection is closed.
    let closed = Client::new(beside.spoe).raw(b"\0\0\0\0", super::SOON).await.unwrap();
    assert!(closed.is_empty());
}

/// Behind a load balancer that is trusted, and in front of the application, any page's script could ask; it would read the
/// assertion that the `HttpOnly` cookie keeps from it.
#[tokio::test]
async fn in_front_of_an_application_nobody_is_answered_unless_told() {
    let app = App::start();
    let trusted = ("PHOENIX_TRUSTED_PROXIES", "127.0.0.1".to_owned());
    let upstream = ("PHOENIX_UPSTREAM", format!("http://{}", app.address()));
    let no_routes = ("PHOENIX_GATEWAY_ROUTES", "[]".to_owned());
    let setting = |value: &str| ("PHOENIX_FORWARD_AUTH", value.to_owned());
    for (settings, is_answered) in [
        (vec![trusted.clone()], true),
        (vec![trusted.clone(), setting("off")], false),
        (vec![trusted.clone(), upstream.clone(), no_routes.clone()], false),
        (vec![trusted, upstream, no_routes, setting("on")], true),
    ] {
        let beside = Beside::with(&settings);
        let client = beside.client();
        let user = token(&register(&client, "user@example.com").await.unwrap(), 201);
        let bearer = format!("Bearer {user}");
        let asked = traefik(&client, "GET", "app", "/elsewhere", &[("authorization", &bearer)]).await;
        assert_eq!(asked.headers.contains_key("x-phoenix-assertion"), is_answered, "{settings:?}: {asked:?}");
        if is_answered {
            assert_eq!(asked.status, 200);
            continue;
        }
        // As at any path of Phoenix's that does not exist.
        for path in [VERIFY, NGINX, "/api/phoenix/verify/elsewhere", "/api/phoenix/nothing"] {
            let answer =
                client.get(path).bearer(&user).header("x-original-uri", "/elsewhere").send().await.unwrap();
            assert_problem(&answer, 404, "not-found");
            assert!(!answer.headers.contains_key("x-phoenix-status"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn envoy_asks_over_http_with_the_path_behind_ours() {
    let beside = Beside::start();
    let client = beside.client();
    let admin = token(&login(&client, ADMIN, PASSWORD).await.unwrap(), 200);
    let ask = |method: Method, path: &str| client.request(method, &format!("{VERIFY}{path}"));
    assert_eq!(ask(Method::PUT, "/open/x").send().await.unwrap().status, 200);
    assert_problem(&ask(Method::GET, "/private/x?a=b").send().await.unwrap(), 401, "unauthenticated");
    assert_eq!(ask(Method::GET, "/staff/x").bearer(&admin).send().await.unwrap().status, 200);
    // A client that climbs out of the prefix climbs within its own path only.
    for path in ["/../../../healthz/../private/x", "/../private/x", "/%2e%2e/private/x", "//private/x"] {
        let status = ask(Method::GET, path).send().await.unwrap().status.as_u16();
        assert!(matches!(status, 400 | 401), "{path}: {status}");
    }
    // Headers of other proxies are not read here.
    let forged = ask(Method::GET, "/private/x").header("x-forwarded-uri", "/open/x");
    assert_eq!(forged.header("x-original-uri", "/open/x").send().await.unwrap().status, 401);
}

#[tokio::test]
async fn browsers_are_sent_to_sign_in_and_come_back_to_known_origins_only() {
    let beside = Beside::start();
    let client = beside.client();
    let page = [("accept", "text/html,application/xhtml+xml")];
    let to = async |host: &str, uri: &str, more: &[(&str, &str)]| {
        let answer = traefik(&client, "GET", host, uri, more).await;
        (answer.status.as_u16(), answer.header("location").map(str::to_owned))
    };
    let back =
        format!("{SIGN_IN}?rd=https%3A%2F%2Fapp.example.com%2Fprivate%2Fx%3Fa%3Db%26c%3D%2F%2Fevil.example");
    assert_eq!(to("app.example.com", "/private/x?a=b&c=//evil.example", &page).await, (302, Some(back)));
    for host in ["evil.example", "app.example.com.evil.example", "app.example.com:444"] {
        assert_eq!(to(host, "/private/x", &page).await, (302, Some(SIGN_IN.to_owned())), "{host}");
    }
    for host in ["app.example.com@evil.example", "app.example.com,evil.example"] {
        assert_eq!(to(host, "/private/x", &page).await, (400, None), "{host}");
    }
    let long = format!("/private/{}", "x".repeat(2000));
    let home = format!("{SIGN_IN}?rd=https%3A%2F%2Fapp.example.com%2F");
    assert_eq!(to("app.example.com", &long, &page).await, (302, Some(home)));
    // What follows no redirect, or would follow it in vain.
    assert_eq!(to("app.example.com", "/private/x", &[("accept", "application/json")]).await, (401, None));
    assert_eq!(
        to("app.example.com", "/private/x", &[page[0], ("sec-fetch-mode", "cors")]).await,
        (401, None)
    );
    assert_eq!(
        to("app.example.com", "/private/x", &[page[0], ("sec-fetch-dest", "iframe")]).await,
        (401, None)
    );
    assert_eq!(traefik(&client, "POST", "app.example.com", "/private/x", &page).await.status, 401);
    // Who is signed in and may not is not helped by signing in.
    let user = token(&register(&client, "user@example.com").await.unwrap(), 201);
    let bearer = format!("Bearer {user}");
    let refused = to("app.example.com", "/staff/x", &[page[0], ("authorization", &bearer)]).await;
    assert_eq!(refused, (403, None));
}

/// The examples that no program here can read are at least what they say: they name all that Phoenix answers with.
#[test]
fn the_examples_of_traefik_and_envoy_name_what_phoenix_reads_and_writes() {
    let names = [
        "x-phoenix-user-id",
        "x-phoenix-email",
        "x-phoenix-role",
        "x-phoenix-session-id",
        "x-phoenix-assertion",
    ];
    for file in ["traefik/dynamic.yml", "envoy/envoy-grpc.yaml", "envoy/envoy-http.yaml"] {
        let text = example(file).to_lowercase();
        for name in names {
            assert!(file.contains("grpc") || text.contains(name), "{file} does not name {name}");
        }
        assert!(text.contains("phoenix") && !text.contains('\t'), "{file}");
    }
}
