//! Faults on command, counters, many calls at once, and the end of the fake.

use std::time::{Duration, Instant};

use anyhow::Result;
use http::Method;
use phoenix_testkit::http::Client;
use phoenix_testkit::stack_auth::{FakeStackAuth, Fault, JwksMode, NewUser, Route};
use phoenix_testkit::wait;

use super::{Fixture, NOW};

const BOUND: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_key_set_fails_on_command_and_heals() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.fake.set_jwks(JwksMode::Empty);
    assert_eq!(fixture.jwks("").await?.text(), r#"{"keys":[]}"#);
    for status in [404, 500] {
        fixture.fake.set_jwks(JwksMode::Status(status));
        assert_eq!(fixture.jwks("").await?.status, status);
    }
    fixture.fake.set_jwks(JwksMode::Garbage);
    assert!(serde_json::from_str::<serde_json::Value>(&fixture.jwks("").await?.text()).is_err());
    fixture.fake.set_jwks(JwksMode::Oversized(1 << 20));
    let response = fixture.jwks("").await?;
    assert!(response.body.len() > 1 << 20);
    assert_eq!(response.json()["keys"].as_array().map(Vec::len), Some(2));
    fixture.fake.set_jwks(JwksMode::Slow(Duration::from_millis(60)));
    let start = Instant::now();
    assert_eq!(fixture.jwks("").await?.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    fixture.fake.heal();
    assert_eq!(fixture.jwks("").await?.json()["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(fixture.fake.calls(Route::Jwks), 7);
    Ok(())
}

#[tokio::test]
async fn a_hanging_call_ends_with_a_reset_when_the_fake_heals() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.fake.set_jwks(JwksMode::Hang);
    let call = fixture.jwks("");
    let heal = async {
        wait::until(BOUND, "the call to hang", || async { fixture.fake.running(Route::Jwks) == 1 }).await;
        fixture.fake.heal();
    };
    let (answer, ()) = tokio::join!(call, heal);
    assert!(answer.is_err());
    assert_eq!(fixture.jwks("").await?.status, 200);
    // A client that gives up leaves nothing behind.
    fixture.fake.fail(Route::UsersMe, Fault::Hang);
    let impatient = Client::new(fixture.fake.addr()).with_bound(Duration::from_millis(30));
    assert!(impatient.get("/api/v1/users/me").send().await.is_err());
    wait::until(BOUND, "the call to be forgotten", || async { fixture.fake.running(Route::UsersMe) == 0 })
        .await;
    Ok(())
}

#[tokio::test]
async fn rate_limits_come_with_and_without_retry_after() -> Result<()> {
    let fixture = Fixture::new()?;
    let me = || fixture.as_client(Method::GET, "/users/me");
    fixture.fake.fail(Route::UsersMe, Fault::RateLimited { retry_after_s: Some(7) });
    let response = me().send().await?;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (429, Some("7")));
    fixture.fake.fail(Route::UsersMe, Fault::RateLimited { retry_after_s: None });
    let response = me().send().await?;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (429, None));
    Ok(())
}

#[tokio::test]
async fn a_fault_may_last_for_some_calls_and_hits_its_route_only() -> Result<()> {
    let fixture = Fixture::new()?;
    let token = fixture.fake.sign_up(NewUser::normal()).access_token;
    fixture.fake.fail_times(Route::UsersMe, Fault::Status(503), 2);
    fixture.fake.fail_times(Route::Jwks, Fault::Status(500), 0);
    for expected in [503, 503, 200, 200] {
        assert_eq!(fixture.jwks("").await?.status, 200);
        assert_eq!(fixture.me(&token).await?.status, expected);
    }
    fixture.fake.fail_all(&Fault::Body("no json".into()));
    assert_eq!(fixture.me(&token).await?.text(), "no json");
    assert_eq!(fixture.jwks("").await?.text(), "no json");
    fixture.fake.heal();
    assert_eq!(fixture.me(&token).await?.status, 200);
    assert_eq!((fixture.fake.calls(Route::UsersMe), fixture.fake.calls(Route::Jwks)), (6, 5));
    assert_eq!(fixture.fake.total_calls(), 11);
    fixture.fake.reset_counters();
    assert_eq!((fixture.fake.total_calls(), fixture.fake.connections()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_reset_is_a_reset_of_the_connection() -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::new()?;
    fixture.fake.fail_times(Route::UsersMe, Fault::Reset, 1);
    let mut stream = tokio::net::TcpStream::connect(fixture.fake.addr()).await?;
    stream.write_all(b"GET /api/v1/users/me HTTP/1.1\r\nhost: fake\r\n\r\n").await?;
    let read = tokio::time::timeout(BOUND, stream.read_u8()).await?;
    assert_eq!(read.expect_err("the connection is reset").kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(fixture.jwks("").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn latency_delays_every_call_but_not_one_after_the_other() -> Result<()> {
    let fixture = Fixture::new()?;
    fixture.fake.set_latency(Duration::from_millis(100));
    let token = fixture.fake.sign_up(NewUser::normal()).access_token;
    let start = Instant::now();
    let calls = (0..20).map(|_| {
        let (client, token) = (fixture.client.clone(), token.clone());
        let project = fixture.fake.project_id().to_owned();
        tokio::spawn(async move {
            let call = client.get("/api/v1/users/me").header("x-stack-access-type", "client");
            let call = call.header("x-stack-project-id", &project).header("x-stack-access-token", &token);
            anyhow::Ok(call.send().await?.status.as_u16())
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await??, 200);
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(100), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
    assert_eq!(fixture.fake.calls(Route::UsersMe), 20);
    assert!(fixture.fake.most_running(Route::UsersMe) > 1);
    assert_eq!(fixture.fake.running(Route::UsersMe), 0);
    Ok(())
}

#[tokio::test]
async fn a_thousand_connections_at_once_are_served() -> Result<()> {
    const CONNECTIONS: usize = 1000;
    let fixture = Fixture::new()?;
    fixture.fake.fail(Route::Jwks, Fault::Hang);
    let path = format!("/api/v1/projects/{}/.well-known/jwks.json", fixture.fake.project_id());
    let calls: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, path) = (fixture.client.clone(), path.clone());
            tokio::spawn(async move { client.get(&path).send().await.is_err() })
        })
        .collect();
    let all = || async { fixture.fake.running(Route::Jwks) == 1000 };
    wait::until(BOUND, "a thousand calls to hang", all).await;
    fixture.fake.heal();
    for call in calls {
        assert!(call.await?);
    }
    assert_eq!(fixture.fake.connections(), 1000);
    Ok(())
}

#[tokio::test]
async fn the_last_request_of_a_route_can_be_seen() -> Result<()> {
    let fixture = Fixture::new()?;
    assert!(fixture.fake.last_request(Route::UsersMe).is_none());
    let _ = fixture.as_server(Method::GET, "/users/me?a=b").send().await?;
    let seen = fixture.fake.last_request(Route::UsersMe).expect("a request");
    assert_eq!((seen.method, seen.path.as_str()), (Method::GET, "/api/v1/users/me?a=b"));
    assert_eq!(seen.headers["x-stack-access-type"], "server");
    Ok(())
}

#[tokio::test]
async fn dropping_the_fake_closes_its_port_and_connections_also_while_calls_hang() -> Result<()> {
    let fake = FakeStackAuth::start()?;
    assert!((fake.now_s() - NOW).abs() < 10 * 365 * 24 * 60 * 60);
    let (client, address) = (Client::new(fake.addr()), fake.addr());
    fake.fail_all(&Fault::Hang);
    let hanging = tokio::spawn(async move { client.get("/api/v1/users/me").send().await });
    wait::until(BOUND, "the call to hang", || async { fake.running(Route::UsersMe) == 1 }).await;
    drop(fake);
    assert!(hanging.await?.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    Ok(())
}
