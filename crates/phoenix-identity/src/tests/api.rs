//! Calls of Stack Auth's API: what is sent, and what each answer means.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::provider::{PROJECT, Provider, SESSION, USER, seconds, stack_config};
use crate::{Identity, LONGEST_RETRY_AFTER, StackApiError, StackSession};

const LIST: &str = "/api/v1/auth/sessions";

fn one() -> String {
    format!("/api/v1/auth/sessions/{SESSION}")
}

fn session() -> Value {
    json!({
        "id": SESSION, "user_id": USER, "created_at": 1_700_000_000_000_i64, "last_used_at": 1_700_000_100_000_i64,
        "is_impersonation": false, "is_current_session": false, "last_used_at_end_user_ip_info": {"ip": "192.0.2.1"},
    })
}

fn list(items: &[Value]) -> String {
    json!({"items": items, "is_paginated": false}).to_string()
}

fn answering(status: u16, headers: &[(&str, &str)], body: &str) -> (Arc<Provider>, Identity) {
    let provider = Provider::new();
    provider.answer(LIST, status, headers, body.to_owned());
    provider.answer(&one(), status, headers, body.to_owned());
    let identity = provider.with_stack(stack_config());
    (provider, identity)
}

async fn sessions(
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Option<Vec<StackSession>>, StackApiError> {
    let (_, identity) = answering(status, headers, body);
    identity.stack().expect("configured").sessions(USER).await
}

async fn end(status: u16, headers: &[(&str, &str)], body: &str) -> Result<bool, StackApiError> {
    let (_, identity) = answering(status, headers, body);
    identity.stack().expect("configured").end_session(USER, SESSION).await
}

#[tokio::test]
async fn calls_carry_the_server_key_and_nothing_shows_it() {
    let (provider, identity) = answering(200, &[], &list(&[]));
    let api = identity.stack().expect("configured");
    api.sessions(USER).await.expect("a list");
    api.end_session(USER, SESSION).await.expect("ended");
    let requests = provider.requests();
    let asked: Vec<(Method, String)> =
        requests.iter().map(|request| (request.method().clone(), request.uri().to_string())).collect();
    let base = "https://api.stack-auth.com/api/v1/auth/sessions";
    assert_eq!(
        asked,
        [
            (Method::GET, format!("{base}?user_id={USER}")),
            (Method::DELETE, format!("{base}/{SESSION}?user_id={USER}")),
        ]
    );
    for request in requests {
        let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("x-stack-access-type"), "server");
        assert_eq!(header("x-stack-project-id"), PROJECT);
        assert_eq!(header("x-stack-secret-server-key"), "ssk_test");
        assert_eq!(header("x-stack-publishable-client-key"), "pck_test");
        assert!(!format!("{:?}", request.headers()).contains("ssk_test"));
    }
}

#[tokio::test]
async fn a_list_is_read() {
    let found = sessions(200, &[], &list(&[session()])).await.expect("a list").expect("a user");
    let expected = StackSession {
        id: SESSION.to_owned(),
        user_id: USER.to_owned(),
        created_at_millis: 1_700_000_000_000,
        last_used_at_millis: Some(1_700_000_100_000),
        is_impersonation: false,
    };
    assert_eq!(found, [expected]);
    assert_eq!(sessions(200, &[], &list(&[])).await.expect("a list"), Some(Vec::new()));
}

#[tokio::test]
async fn no_such_user_is_told_by_its_code_only() {
    for (status, code) in [(404, "USER_NOT_FOUND"), (400, "USER_ID_DOES_NOT_EXIST")] {
        let body = json!({"code": code, "error": "…"}).to_string();
        assert_eq!(sessions(status, &[], &body).await.expect("an answer"), None);
        for header in ["x-stack-known-error", "x-hexclave-known-error"] {
            assert_eq!(sessions(status, &[(header, code)], "").await.expect("an answer"), None);
        }
    }
    // A wrong address is no reason to end everybody's sessions.
    let error = sessions(404, &[], "404 — this page does not exist").await.expect_err("refused");
    assert!(matches!(error, StackApiError::Refused { status: StatusCode::NOT_FOUND, code: None }));
    assert!(!error.is_outage());
}

#[tokio::test]
async fn a_list_that_is_not_whole_or_not_of_the_user_is_garbage() {
    let of_another = super::provider::with(session(), "user_id", "other");
    for body in [
        json!({"items": [session()], "is_paginated": true}).to_string(),
        list(&[session(), of_another]),
        list(&[json!({"id": SESSION})]),
        json!({"items": {}}).to_string(),
        "{}".to_owned(),
        "<html>".to_owned(),
        String::new(),
    ] {
        let error = sessions(200, &[], &body).await.expect_err("garbage");
        assert!(matches!(error, StackApiError::Garbage), "{body}: {error:?}");
        assert!(error.is_outage());
    }
    let large = "x".repeat(1024 * 1024 + 1);
    assert!(matches!(sessions(200, &[], &large).await, Err(StackApiError::Garbage)));
}

#[tokio::test]
async fn a_session_is_ended_or_was_not_there() {
    assert!(end(200, &[], "{}").await.expect("ended"));
    assert!(!end(404, &[], "Session not found.").await.expect("not there"));
    let code = json!({"code": "SESSION_NOT_FOUND"}).to_string();
    assert!(!end(404, &[], &code).await.expect("not there"));
    let error = end(404, &[], "404 — this page does not exist").await.expect_err("refused");
    assert!(matches!(error, StackApiError::Refused { status: StatusCode::NOT_FOUND, .. }));
    let body = json!({"code": "CANNOT_DELETE_CURRENT_SESSION", "error": "…"}).to_string();
    match end(400, &[], &body).await.expect_err("refused") {
        StackApiError::Refused { status: StatusCode::BAD_REQUEST, code } => {
            assert_eq!(code.as_deref(), Some("CANNOT_DELETE_CURRENT_SESSION"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_actual_status_counts() {
    for name in ["x-stack-actual-status", "x-hexclave-actual-status"] {
        let error = sessions(200, &[(name, "401")], &list(&[])).await.expect_err("refused");
        assert!(matches!(error, StackApiError::Refused { status: StatusCode::UNAUTHORIZED, .. }));
        assert!(matches!(sessions(200, &[(name, "503")], "").await, Err(StackApiError::Failed(_))));
        assert!(matches!(sessions(200, &[(name, "429")], "").await, Err(StackApiError::RateLimited { .. })));
        assert!(matches!(sessions(200, &[(name, "x")], &list(&[])).await, Err(StackApiError::Garbage)));
        assert!(!end(200, &[(name, "404")], "Session not found.").await.expect("not there"));
    }
}

#[tokio::test]
async fn a_limit_may_say_how_long() {
    let pause = async |headers: &[(&str, &str)]| match sessions(429, headers, "").await {
        Err(error @ StackApiError::RateLimited { retry_after }) => {
            assert!(error.is_outage());
            retry_after
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(pause(&[]).await, None);
    assert_eq!(pause(&[("retry-after", "7")]).await, Some(seconds(7)));
    assert_eq!(pause(&[("retry-after", "0")]).await, Some(Duration::ZERO));
    assert_eq!(pause(&[("retry-after", "99999999")]).await, Some(LONGEST_RETRY_AFTER));
    for useless in ["-1", "Sun, 22 Nov 2026 10:00:00 GMT", "", "99999999999999999999999"] {
        assert_eq!(pause(&[("retry-after", useless)]).await, None, "{useless}");
    }
}

#[tokio::test]
async fn trouble_on_the_other_side_is_an_outage_and_trouble_on_ours_is_not() {
    for status in [500, 502, 503, 504] {
        assert!(sessions(status, &[], "").await.expect_err("failed").is_outage());
        assert!(end(status, &[], "").await.expect_err("failed").is_outage());
    }
    for status in [301, 302, 400, 401, 403] {
        let error =
            sessions(status, &[("location", "https://other.example/")], "").await.expect_err("refused");
        assert!(matches!(error, StackApiError::Refused { .. }) && !error.is_outage(), "{status}");
    }
    let identity = Provider::new().with_stack(stack_config());
    let error = identity.stack().expect("configured").sessions(USER).await.expect_err("away");
    assert!(matches!(error, StackApiError::Unreachable(_)) && error.is_outage());
}

#[tokio::test]
async fn ids_that_could_be_something_else_are_not_sent() {
    let (provider, identity) = answering(200, &[], &list(&[]));
    let api = identity.stack().expect("configured");
    let long = "a".repeat(65);
    for bad in ["", "a/b", "..", "a?b", "a&b", "a b", "a%2f", "ä", long.as_str()] {
        assert!(matches!(api.sessions(bad).await, Err(StackApiError::Id)), "{bad}");
        assert!(matches!(api.end_session(USER, bad).await, Err(StackApiError::Id)), "{bad}");
        assert!(matches!(api.end_session(bad, SESSION).await, Err(StackApiError::Id)), "{bad}");
    }
    assert_eq!(provider.fetches(), 0);
}
