//! One Phoenix, asked by nginx, Caddy and HAProxy (SPOE) and as a gateway: the same requests have the same verdict, and
//! the application is told the same.

use http::Method;
use phoenix_testkit::http::Client;
use phoenix_testkit::programs::Kind;
use phoenix_testkit::wait;

use super::app::App;
use super::support::{Beside, proxy};
use super::{FORGED, SOON};
use crate::process::support::{ADMIN, PASSWORD, login, register, token};

const PATHS: [&str; 8] = [
    "/elsewhere?a=b%2Fc",
    "/open/x",
    "/private/x",
    "/private",
    "/staff/x",
    "/Private/x",
    "/private%2Fx",
    "/hosts/x",
];
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];

/// The status, and the code of the problem or what the application was told of the caller.
type Verdict = (u16, Vec<String>);

async fn verdict(
    client: &Client,
    app: &App,
    method: &Method,
    path: &str,
    fields: &[(&str, &str)],
) -> Verdict {
    let before = app.count();
    let call = fields
        .iter()
        .fold(client.request(method.clone(), path), |call, (name, value)| call.header(name, value));
    let answer = call.send().await.unwrap();
    if app.count() == before {
        return (answer.status.as_u16(), vec![answer.json()["code"].to_string()]);
    }
    let seen = app.last();
    let mut told: Vec<String> =
        seen.identity().iter().map(|(name, value)| format!("{name}: {value}")).collect();
    // The signature differs every time.
    told.retain(|line| !line.starts_with("x-phoenix-assertion: ey"));
    told.sort();
    (answer.status.as_u16(), told)
}

async fn agrees_with_the_gateway(kind: Kind) {
    let app = App::start();
    let beside = Beside::and_in_front_of(&app);
    let proxy = proxy(kind, &beside, &app);
    let (through, gateway) = (Client::new(proxy.address()), beside.client());
    wait::until(SOON, "the application through the proxy", || async {
        through.get("/open/up").send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let user = token(&register(&gateway, "user@example.com").await.unwrap(), 201);
    let admin = token(&login(&gateway, ADMIN, PASSWORD).await.unwrap(), 200);
    let (user_bearer, admin_bearer) = (format!("Bearer {user}"), format!("Bearer {admin}"));
    let cookie = format!("a=1; phoenix_session={user}");
    let evil = ("origin", "https://evil.example");
    let senders: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", &user_bearer)],
        &[("authorization", &admin_bearer), evil],
        &[("authorization", "Bearer app-token")],
        &[("cookie", &cookie), ("origin", "https://app.example.com")],
        &[("cookie", &cookie), evil],
        &FORGED.map(|name| (name, "forged")),
    ];
    for method in METHODS {
        for path in PATHS {
            for fields in senders {
                let direct = verdict(&gateway, &app, &method, path, fields).await;
                let asked = verdict(&through, &app, &method, path, fields).await;
                assert_eq!(direct, asked, "{kind:?} {method} {path} {fields:?}");
            }
        }
    }
}

// spec: G1 G2
#[tokio::test]
async fn nginx_and_the_gateway_agree() {
    agrees_with_the_gateway(Kind::Nginx).await;
}

// spec: G1 G2
#[tokio::test]
async fn caddy_and_the_gateway_agree() {
    agrees_with_the_gateway(Kind::Caddy).await;
}

// spec: G1 G2
#[tokio::test]
async fn haproxy_over_spoe_and_the_gateway_agree() {
    agrees_with_the_gateway(Kind::HaProxy).await;
}
