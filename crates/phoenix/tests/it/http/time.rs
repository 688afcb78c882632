//! What time does to sessions, with a clock that only the test moves.

use std::time::Duration;

use phoenix_auth::ops::CleanUp;
use phoenix_testkit::wait;
use serde_json::Value;

use super::support::{ADMIN, PASSWORD, SOON, Site, assert_problem, on_every_backend};

const MILLISECOND: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_mins(1);
const IDLE: Duration = Duration::from_mins(30);
/// A session ends a step later, and not a millisecond sooner.
const ALMOST_IDLE: Duration = Duration::from_millis(31 * 60_000 - 1);

// spec: A6
#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_have_shorter_time_outs_than_the_others() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_ROLE_TIMEOUTS", "admin=1h/12h");
        let node = site.node().await;
        let mut user = node.registered("ada@example.com").await;
        let idle = node.signed_in(ADMIN).await;
        let mut admin = node.browser();
        let login = admin.login(ADMIN, PASSWORD).await;
        assert!(login.header("set-cookie").unwrap().contains("; Max-Age=43200; "));
        for session in
            [&login.json()["session"], &admin.me().await.json()["session"], &admin.sessions().await[0]]
        {
            assert_eq!(session["expiresAt"], "2026-01-01T12:00:00.000Z");
            assert_eq!(session["idleExpiresAt"], "2026-01-01T01:01:00.000Z", "an hour and a step");
        }
        assert_eq!(user.me().await.json()["session"]["idleExpiresAt"], "2026-01-08T00:01:00.000Z");

        // Not used for the hour, to the millisecond that was told; and used all the time, to the twelfth hour.
        site.clock.advance_day(Duration::from_millis(61 * 60_000 - 1));
        assert_eq!(admin.me().await.json()["session"]["idleExpiresAt"], "2026-01-01T02:01:59.999Z");
        site.clock.advance_day(MILLISECOND);
        assert_problem(&node.me(&idle.token()).await, 401, "session-ended");
        for _ in 0..11 {
            site.clock.advance_day(Duration::from_mins(59));
            assert_eq!(admin.me().await.status, 200);
        }
        site.clock.advance_day(Duration::from_mins(9));
        assert_eq!(admin.me().await.json()["session"]["idleExpiresAt"], "2026-01-01T12:00:00.000Z");
        site.clock.advance_day(Duration::from_millis(59_999));
        assert_eq!(admin.me().await.status, 200);
        site.clock.advance_day(MILLISECOND);
        assert_problem(&admin.me().await, 401, "session-ended");
        assert_problem(&admin.act("/api/auth/refresh").await, 401, "session-ended");
        assert_eq!(user.me().await.status, 200, "other roles have the usual times");
        node.stop().await;
    })
    .await;
}

// spec: A6 A1 D15
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_not_used_and_not_before() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_SESSION_IDLE_TIMEOUT", "30m");
        let node = site.node().await;
        let browser = node.registered("ada@example.com").await;
        let token = browser.token();
        site.clock.advance_day(ALMOST_IDLE);
        let response = node.me(&token).await;
        assert_eq!(response.status, 200, "never sooner than the time-out after the last request");
        assert_eq!(response.json()["session"]["idleExpiresAt"], "2026-01-01T01:01:59.999Z");
        // The last use was not lost with the node: it counts after a restart.
        node.stop().await;
        let node = site.node().await;
        site.clock.advance_day(ALMOST_IDLE);
        assert_eq!(node.me(&token).await.status, 200);
        node.stop().await;
        let node = site.node().await;
        site.clock.advance_day(IDLE + STEP);
        assert_problem(&node.me(&token).await, 401, "session-ended");
        let refresh = node.client.post("/api/auth/refresh").bearer(&token).send().await.unwrap();
        assert_problem(&refresh, 401, "session-ended");
        node.stop().await;
    })
    .await;
}

// spec: A6
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_its_absolute_time_out_however_much_it_is_used() {
    on_every_backend(async |backend| {
        let site = Site::new(backend)
            .with("PHOENIX_SESSION_IDLE_TIMEOUT", "2h")
            .with("PHOENIX_SESSION_ABSOLUTE_TIMEOUT", "2h");
        let node = site.node().await;
        let mut browser = node.registered("ada@example.com").await;
        for _ in 0..11 {
            site.clock.advance_day(Duration::from_mins(10));
            assert_eq!(browser.me().await.status, 200);
        }
        let refreshed = browser.act("/api/auth/refresh").await;
        assert_eq!(refreshed.json()["session"]["expiresAt"], "2026-01-01T02:00:00.000Z");
        assert!(refreshed.header("set-cookie").unwrap().contains("; Max-Age="));
        site.clock.advance_day(Duration::from_millis(10 * 60_000 - 1));
        assert_eq!(browser.me().await.status, 200);
        site.clock.advance_day(MILLISECOND);
        assert_problem(&browser.me().await, 401, "session-ended");
        assert_problem(&browser.act("/api/auth/refresh").await, 401, "session-ended");
        node.stop().await;
    })
    .await;
}

// spec: A1 A6
#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_written_at_most_once_a_step() {
    on_every_backend(async |backend| {
        let site = Site::new(backend);
        let node = site.node().await;
        let mut admin = node.administrator().await;
        let mut browser = node.registered("ada@example.com").await;
        browser.until_in_memory().await;
        let before = admin.statements().await;
        for _ in 0..100 {
            assert_eq!(browser.me().await.status, 200);
        }
        assert!(admin.statements().await.since(&before).is_empty(), "no write per request");

        site.clock.advance(STEP);
        admin.until_in_memory().await;
        let before = admin.statements().await;
        for _ in 0..100 {
            assert_eq!(browser.me().await.json()["user"]["lastActiveAt"], "2026-01-01T00:01:00.000Z");
        }
        wait::until(SOON, "the last use to be written", || {
            let mut browser = browser.clone();
            async move { browser.sessions().await[0]["lastSeenAt"] == "2026-01-01T00:01:00.000Z" }
        })
        .await;
        let after = admin.statements().await.since(&before);
        assert!((1..=2).contains(&after["activity_record"]), "once for each of the two who asked: {after:?}");
        node.stop().await;
    })
    .await;
}

// spec: A8
#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_are_removed_a_bounded_number_at_a_time() {
    on_every_backend(async |backend| {
        let site = Site::new(backend).with("PHOENIX_SESSION_IDLE_TIMEOUT", "30m");
        let node = site.node().await;
        for _ in 0..7 {
            node.token(ADMIN).await;
        }
        let bounds = CleanUp {
            batch: 2,
            max_batches: 1,
            invalidation_age: Duration::from_hours(1),
            event_age: Duration::from_hours(1),
        };
        assert_eq!(node.app.auth.clean_up(bounds).await.unwrap(), 0, "live sessions stay");
        site.clock.advance_day(IDLE + 2 * STEP + MILLISECOND);
        let mut live = node.signed_in(ADMIN).await;
        let mut removed = 0;
        for _ in 0..40 {
            let count = node.app.auth.clean_up(bounds).await.unwrap();
            assert!(count <= 2, "{count}");
            removed += count;
        }
        assert_eq!(removed, 7);
        let left: Vec<Value> = live.sessions().await;
        assert_eq!((left.len(), &left[0]["current"]), (1, &Value::Bool(true)));
        node.stop().await;
    })
    .await;
}
