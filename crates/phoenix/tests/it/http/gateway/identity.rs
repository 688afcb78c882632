//! Who the application is told about: the caller, and never whom a client says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use phoenix_auth::ports::Clock;
use phoenix_client::{Jwks, Verifier, VerifyError};
use phoenix_testkit::wait;
use serde_json::Value;
use tokio::net::TcpStream;

use super::super::support::{
    ADMIN, Backend, PASSWORD, SOON, assert_problem, on_every_backend, on_every_shared_backend,
};
use super::{ADA, Front, answered, assert_anonymous, identity};

/// What a client may try to pass itself off with.
const FORGED: [&str; 12] = [
    "X-Phoenix-User-Id",
    "X-Phoenix-Email",
    "x-phoenix-role",
    "X-PHOENIX-SESSION-ID",
    "X-Phoenix-Assertion",
    "X_Phoenix_User_Id",
    "X-Phoenix_User-Id",
    "x_phoenix_email",
    "x-phoenix_role",
    "X_PHOENIX_SESSION_ID",
    "x_phoenix_assertion",
    "X_Phoenix-Assertion",
];
const VICTIM: &str = "0199aaaa-0000-7000-8000-000000000001";

fn wall(front: &Front) -> SystemTime {
    UNIX_EPOCH + front.site.clock.now().wall.since(phoenix_auth::model::Timestamp::default())
}

async fn verifier(front: &Front, audience: &str) -> Verifier {
    let keys = answered(front.node.client.get("/.well-known/jwks.json")).await;
    assert_eq!(keys.status, 200);
    Verifier::new(Jwks::parse(&keys.body).unwrap(), audience, "phoenix")
}

/// The application was told of this caller, with a signature.
async fn assert_told(front: &Front, me: &Value) {
    let seen = front.seen();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (user, session) = (text(&me["user"]["id"]), text(&me["session"]["id"]));
    let (email, role) = (text(&me["user"]["email"]), text(&me["user"]["role"]));
    assert_eq!(identity(&seen.headers).len(), 5, "{seen:?}");
    for (name, value) in [
        ("x-phoenix-user-id", &user),
        ("x-phoenix-email", &email),
        ("x-phoenix-role", &role),
        ("x-phoenix-session-id", &session),
    ] {
        assert_eq!(seen.header(name), Some(value.as_str()));
    }
    let (token, now) = (seen.header("x-phoenix-assertion").unwrap(), wall(front));
    let told = verifier(front, "app").await.verify(token, now).unwrap();
    assert_eq!((told.user_id, told.session_id, told.role), (user, session, role));
    assert_eq!((told.email, told.email_verified), (Some(email), false));
    assert!(told.issued_at <= now && told.expires_at > now);
    assert!(told.expires_at <= now + Duration::from_mins(1), "it is good for a minute");
    let elsewhere = verifier(front, "other").await.verify(token, now);
    assert!(matches!(elsewhere, Err(VerifyError::Audience)), "{elsewhere:?}");
    let later = verifier(front, "app").await.verify(token, now + Duration::from_mins(2));
    assert!(matches!(later, Err(VerifyError::Expired)), "{later:?}");
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn each_route_admits_whom_it_is_for_and_tells_the_application_who_it_is() {
    on_every_backend(async |backend| {
        let front = Front::new(backend).await;
        let mut browser = front.node.registered(ADA).await;
        let (token, root) = (browser.token(), front.node.token(ADMIN).await);
        let me = browser.me().await.json();

        for path in ["/", "/x?a=b%2Fc", "/open/x", "/api/tasks"] {
            assert_eq!(front.get(path).await.status, 200);
            assert_eq!(front.seen().target, path);
            assert_anonymous(&front.seen());
        }
        let before = front.app.requests();
        for path in ["/members/x", "/staff/x"] {
            assert_problem(&front.get(path).await, 401, "unauthenticated");
        }
        assert_problem(&front.get_as(&token, "/staff/x").await, 403, "forbidden");
        assert_eq!(front.app.requests(), before, "nothing of that reached the application");

        let cookie = format!("phoenix_session={token}");
        for path in ["/x", "/members/x"] {
            assert_eq!(front.get_as(&token, path).await.status, 200);
            assert_told(&front, &me).await;
            assert_eq!(answered(front.node.client.get(path).header("cookie", &cookie)).await.status, 200);
            assert_told(&front, &me).await;
        }
        assert_eq!(front.get_as(&token, "/open/x").await.status, 200);
        assert_anonymous(&front.seen());
        let me = front.node.me(&root).await.json();
        assert_eq!(front.get_as(&root, "/staff/x").await.status, 200);
        assert_told(&front, &me).await;
        assert_eq!(front.seen().header("x-phoenix-role"), Some("admin"));
        front.stop().await;
    })
    .await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_is_nobody_from_the_next_request_on() {
    on_every_backend(async |backend| {
        let front = Front::new(backend).await;
        let mut browser = front.node.registered(ADA).await;
        let token = browser.token();
        browser.until_in_memory().await;
        assert_eq!(front.get_as(&token, "/members/x").await.status, 200);
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        let before = front.app.requests();
        assert_problem(&front.get_as(&token, "/members/x").await, 401, "session-ended");
        assert_eq!(front.app.requests(), before);
        assert_eq!(front.get_as(&token, "/x").await.status, 200);
        assert_anonymous(&front.seen());
        front.stop().await;
    })
    .await;
}

// spec: G1 G3
#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_on_one_node_is_soon_nobody_on_the_other() {
    on_every_shared_backend(async |backend| {
        let front = Front::new(backend).await;
        let other = front.site.node().await;
        let mut browser = front.node.registered(ADA).await;
        let token = browser.token();
        let there = |path: &'static str| answered(other.client.get(path).bearer(&token));
        assert_eq!(there("/members/x").await.status, 200);
        assert!(front.seen().header("x-phoenix-user-id").is_some());
        assert_eq!(browser.act("/api/auth/logout").await.status, 200);
        wait::until(SOON, "the other node to refuse", async || there("/members/x").await.status == 401).await;
        assert_eq!(there("/x").await.status, 200);
        assert_anonymous(&front.seen());
        other.stop().await;
        front.stop().await;
    })
    .await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn nobody_outside_says_who_the_caller_is() {
    let front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    let (token, me) = (browser.token(), browser.me().await.json());
    let user = me["user"]["id"].as_str().unwrap();
    for path in ["/x", "/open/x", "/kept/x"] {
        let all = FORGED.iter().fold(front.node.client.get(path), |call, name| call.header(name, VICTIM));
        assert_eq!(answered(all).await.status, 200);
        assert_anonymous(&front.seen());
        for name in FORGED {
            let twice = front.node.client.get(path).header(name, VICTIM).header(name, "admin");
            assert_eq!(answered(twice).await.status, 200);
            assert_anonymous(&front.seen());
        }
    }
    let all = front.node.client.get("/members/x").bearer(&token);
    let all = FORGED.iter().fold(all, |call, name| call.header(name, VICTIM));
    assert_eq!(answered(all).await.status, 200);
    assert_told(&front, &me).await;
    assert!(!String::from_utf8_lossy(&front.seen().head).contains(VICTIM));
    let before = front.app.requests();
    let alone = FORGED.iter().fold(front.node.client.get("/members/x"), |call, name| call.header(name, user));
    assert_problem(&answered(alone).await, 401, "unauthenticated");
    assert_eq!(front.app.requests(), before);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_option_and_no_trailer_changes_who_the_caller_is() {
    let front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    let (token, me) = (browser.token(), browser.me().await.json());
    // `Connection` names what the next hop removes (RFC 9110 section 7.6.1): not what we write.
    let options = "X-Phoenix-User-Id, x-phoenix-role, X-Phoenix-Assertion, X-Phoenix-Email, X-Forwarded-For, \
                   X-Phoenix-Session-Id, Authorization, Cookie, Host, X-Request-ID";
    let named =
        answered(front.node.client.get("/members/x").bearer(&token).header("connection", options)).await;
    assert_eq!(named.status, 200, "{}", named.text());
    assert_told(&front, &me).await;
    assert_eq!(front.seen().header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(front.seen().header("host"), Some(front.node.address.to_string().as_str()));

    for credentials in [String::new(), format!("Authorization: Bearer {token}\r\n")] {
        let trailers: Vec<String> = FORGED.iter().map(|name| format!("{name}: {VICTIM}\r\n")).collect();
        let trailers = trailers.concat();
        let announced = FORGED.join(", ");
        let mut wire = front.wire().await;
        wire.write(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{credentials}Transfer-Encoding: chunked\r\nTE: trailers\r\n\
             Trailer: {announced}, X-Sum\r\n\r\n3\r\nabc\r\n0\r\n{trailers}X-Sum: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\
             Authorization: Bearer other\r\n\r\n"
        ))
        .await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200 "));
        let seen = front.seen();
        assert_eq!(
            (seen.body.as_slice(), seen.trailers.as_slice()),
            (&b"abc"[..], &[("x-sum".to_owned(), "1".to_owned())][..])
        );
        assert_eq!(identity(&seen.headers).is_empty(), credentials.is_empty(), "{seen:?}");
        let trailer = seen.header("x-phoenix-user-id");
        assert!(trailer != Some(VICTIM));
    }
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn over_http2_the_same_holds() {
    let front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    let (token, me) = (browser.token(), browser.me().await.json());
    let stream = TcpStream::connect(front.node.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    TokioExecutor::new().execute(async move {
        let _ = connection.await;
    });
    for credentials in [None, Some(format!("phoenix_session={token}"))] {
        let uri = format!("http://{}/x?q=1", front.node.address);
        let mut request = Request::get(uri).version(Version::HTTP_2).header("cookie", "theme=dark");
        if let Some(cookie) = &credentials {
            request = request.header("cookie", cookie);
        }
        request = request.header("cookie", "lang=de");
        for name in FORGED {
            request = request.header(name.to_ascii_lowercase(), VICTIM);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        assert!(response.headers().contains_key("x-request-id"));
        response.into_body().collect().await.unwrap();
        let seen = front.seen();
        assert_eq!((seen.target.as_str(), seen.version.as_str()), ("/x?q=1", "HTTP/1.1"));
        assert_eq!(seen.header("host"), Some(front.node.address.to_string().as_str()));
        assert_eq!(seen.header("cookie"), Some("theme=dark; lang=de"));
        match credentials {
            None => assert_anonymous(&seen),
            Some(_) => assert_told(&front, &me).await,
        }
    }
    drop(sender);
    front.stop().await;
}

// spec: G1
#[tokio::test(flavor = "multi_thread")]
async fn an_account_made_at_the_application_is_told_of_with_its_new_role() {
    let front = Front::new(Backend::Sqlite).await;
    let mut browser = front.node.registered(ADA).await;
    let mut root = front.node.administrator().await;
    let (user, token) = (browser.user_id().await, browser.token());
    assert_problem(&front.get_as(&token, "/staff/x").await, 403, "forbidden");
    let body = serde_json::json!({"role": "admin"});
    let changed = root.patch(&format!("/api/admin/users/{user}"), &body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    // Whether or not a change of role ends sessions, the next request is judged by the new one.
    let token = if front.node.me(&token).await.status == 200 {
        token
    } else {
        let mut again = front.node.browser();
        assert_eq!(again.login(ADA, PASSWORD).await.status, 200);
        again.token()
    };
    assert_eq!(front.get_as(&token, "/staff/x").await.status, 200);
    assert_eq!(front.seen().header("x-phoenix-role"), Some("admin"));
    front.stop().await;
}
