//! Sessions: create, list, delete, expire; and the hole that Stack leaves open.

use anyhow::{Context, Result};
use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::stack_auth::{FakeStackAuth, NewUser, SignedIn};
use serde_json::{Value, json};

use super::{Fixture, NOW, error, known, read};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn user(fake: &FakeStackAuth) -> SignedIn {
    fake.sign_up(NewUser::normal())
}

async fn create(fixture: &Fixture, body: &Value) -> Result<Response> {
    fixture.as_server(Method::POST, "/auth/sessions").json(body).send().await
}

fn ids(response: &Response) -> Result<Vec<String>> {
    let body = response.json();
    let items = body["items"].as_array().with_context(|| body.to_string())?;
    items.iter().map(|item| Ok(item["id"].as_str().context("id")?.to_owned())).collect()
}

#[tokio::test]
async fn an_access_token_stays_valid_after_its_session_is_gone() -> Result<()> {
    let fixture = Fixture::new()?;
    let ended: [fn(&Fixture, &SignedIn); 2] = [
        |fixture, signed_in| fixture.fake.delete_session(&signed_in.session_id),
        |fixture, signed_in| fixture.fake.expire_session(&signed_in.session_id),
    ];
    for end in ended {
        let signed_in = user(&fixture.fake);
        end(&fixture, &signed_in);
        assert_eq!(fixture.me(&signed_in.access_token).await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn sign_out_ends_the_session_of_the_token_once() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = user(&fixture.fake);
    let response = fixture.as_client(Method::DELETE, "/auth/sessions/current").send().await?;
    assert_eq!(error(&response).0, 401);
    let call = fixture.as_client(Method::DELETE, "/auth/sessions/current");
    let response = call.header("x-stack-access-token", &signed_in.access_token).send().await?;
    assert_eq!((response.status.as_u16(), response.json()), (200, json!({ "success": true })));
    assert_eq!(fixture.fake.session(&signed_in.session_id), None);
    let call = fixture.as_client(Method::DELETE, "/auth/sessions/current");
    let response = call.header("x-stack-access-token", &signed_in.access_token).send().await?;
    assert_eq!(error(&response), known(401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED"));
    Ok(())
}

#[tokio::test]
async fn only_a_server_creates_sessions() -> Result<()> {
    let fixture = Fixture::new()?;
    let user = fixture.fake.create_user(NewUser::normal());
    let body = json!({ "user_id": user.id });
    let response = fixture.as_client(Method::POST, "/auth/sessions").json(&body).send().await?;
    assert_eq!(error(&response), known(401, "INSUFFICIENT_ACCESS_TYPE"));
    let details = json!({ "actual_access_type": "client", "allowed_access_types": ["server", "admin"] });
    assert_eq!(response.json()["details"], details);
    let response = create(&fixture, &body).await?;
    assert_eq!(response.status, 200);
    let body = response.json();
    let refresh = body["refresh_token"].as_str().context("refresh token")?;
    assert_eq!(refresh.len(), 45);
    assert!(refresh.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()));
    let (_, claims) = read(body["access_token"].as_str().context("access token")?)?;
    assert_eq!(claims["sub"], user.id.as_str());
    let session = &fixture.fake.sessions_of(&user.id)[0];
    assert_eq!(claims["refresh_token_id"], session.id.as_str());
    assert_eq!(session.expires_at_ms, NOW * 1000 + 365 * DAY_MS);
    Ok(())
}

#[tokio::test]
async fn the_body_of_a_new_session_is_checked() -> Result<()> {
    let fixture = Fixture::new()?;
    let user = fixture.fake.create_user(NewUser::normal()).id;
    let stranger = "00000000-0000-4000-8000-000000000000";
    for (body, code) in [
        (json!({}), "SCHEMA_ERROR"),
        (json!({ "user_id": "bob" }), "SCHEMA_ERROR"),
        (json!({ "user_id": user, "expires_in_millis": 367 * DAY_MS + 1 }), "SCHEMA_ERROR"),
        (json!({ "user_id": user, "expires_in_millis": "long" }), "SCHEMA_ERROR"),
        (json!({ "user_id": stranger }), "USER_ID_DOES_NOT_EXIST"),
        (json!({ "user_id": "me" }), "CANNOT_GET_OWN_USER_WITHOUT_USER"),
    ] {
        assert_eq!(error(&create(&fixture, &body).await?), known(400, code), "{body}");
    }
    assert!(fixture.fake.sessions_of(&user).is_empty());
    let longest = json!({ "user_id": user, "expires_in_millis": 367 * DAY_MS });
    assert_eq!(create(&fixture, &longest).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn sessions_are_listed_newest_first_in_the_shape_of_the_reference() -> Result<()> {
    let fixture = Fixture::new()?;
    let first = user(&fixture.fake);
    fixture.advance(5);
    let second = fixture.fake.sign_in(&first.user_id);
    let path = format!("/auth/sessions?user_id={}", first.user_id);
    let call = fixture.as_client(Method::GET, &path).header("x-stack-access-token", &second.access_token);
    let response = call.send().await?;
    assert_eq!(ids(&response)?, [second.session_id.clone(), first.session_id.clone()]);
    let mut body = response.json();
    assert_eq!(body["is_paginated"], false);
    assert_eq!(body["items"][1]["is_current_session"], false);
    let info = body["items"][0]["last_used_at_end_user_ip_info"].take();
    for name in ["ip", "countryCode", "regionCode", "cityName", "latitude", "longitude", "tzIdentifier"] {
        assert!(!info[name].is_null(), "{name}");
    }
    let expected = json!({
        "id": second.session_id, "user_id": first.user_id, "created_at": (NOW + 5) * 1000,
        "last_used_at": (NOW + 5) * 1000, "is_impersonation": false, "is_current_session": true,
        "last_used_at_end_user_ip_info": null,
    });
    assert_eq!(body["items"][0], expected);
    let own = fixture.as_client(Method::GET, "/auth/sessions?user_id=me");
    assert_eq!(ids(&own.header("x-stack-access-token", &second.access_token).send().await?)?.len(), 2);
    fixture.fake.expire_session(&first.session_id);
    assert_eq!(ids(&fixture.as_server(Method::GET, &path).send().await?)?.len(), 2);
    fixture.fake.delete_session(&second.session_id);
    assert_eq!(ids(&fixture.as_server(Method::GET, &path).send().await?)?, [first.session_id]);
    fixture.fake.delete_user(&first.user_id);
    assert!(ids(&fixture.as_server(Method::GET, &path).send().await?)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_client_lists_only_its_own_sessions() -> Result<()> {
    let fixture = Fixture::new()?;
    let (own, other) = (user(&fixture.fake), user(&fixture.fake));
    let list = |query: &str| {
        let call = fixture.as_client(Method::GET, &format!("/auth/sessions{query}"));
        call.header("x-stack-access-token", &own.access_token)
    };
    let response = list(&format!("?user_id={}", other.user_id)).send().await?;
    assert_eq!(response.status, 403);
    assert_eq!(response.text(), "Client can only list sessions for their own user.");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-stack-known-error"), None);
    assert_eq!(error(&list("").send().await?), known(400, "SCHEMA_ERROR"));
    let path = format!("/auth/sessions?user_id={}", own.user_id);
    let response = fixture.as_client(Method::GET, &path).send().await?;
    assert_eq!(error(&response), known(400, "CANNOT_GET_OWN_USER_WITHOUT_USER"));
    assert_eq!(error(&fixture.as_server(Method::GET, "/auth/sessions").send().await?).1, "SCHEMA_ERROR");
    Ok(())
}

#[tokio::test]
async fn impersonation_is_shown_to_administrators_only() -> Result<()> {
    let fixture = Fixture::new()?;
    let user = fixture.fake.create_user(NewUser::normal()).id;
    let body = json!({ "user_id": user, "is_impersonation": true });
    assert_eq!(create(&fixture, &body).await?.status, 200);
    let path = format!("/auth/sessions?user_id={user}");
    assert!(ids(&fixture.as_server(Method::GET, &path).send().await?)?.is_empty());
    let call = fixture.bare(Method::GET, &path).header("x-stack-access-type", "admin");
    let call = call.header("x-stack-project-id", fixture.fake.project_id());
    let key = &fixture.fake.project().super_secret_admin_key;
    let response = call.header("x-stack-super-secret-admin-key", key).send().await?;
    assert_eq!(response.json()["items"][0]["is_impersonation"], true);
    Ok(())
}

#[tokio::test]
async fn a_session_is_deleted_by_id_but_not_the_current_one() -> Result<()> {
    let fixture = Fixture::new()?;
    let own = user(&fixture.fake);
    let (second, third) = (fixture.fake.sign_in(&own.user_id), fixture.fake.sign_in(&own.user_id));
    let other = user(&fixture.fake);
    let path = |session: &str| format!("/auth/sessions/{session}?user_id={}", own.user_id);
    let delete = async |session: &str| {
        let call = fixture.as_client(Method::DELETE, &path(session));
        call.header("x-stack-access-token", &own.access_token).send().await
    };
    let response = delete(&own.session_id).await?;
    assert_eq!(error(&response), known(400, "CANNOT_DELETE_CURRENT_SESSION"));
    let response = delete(&other.session_id).await?;
    assert_eq!((response.status.as_u16(), response.text().as_str()), (404, "Session not found."));
    assert_eq!(error(&delete("no-uuid").await?), known(400, "SCHEMA_ERROR"));
    let response = delete(&second.session_id).await?;
    assert_eq!((response.status.as_u16(), response.json()), (200, json!({ "success": true })));
    assert_eq!(delete(&second.session_id).await?.status, 404);
    assert_eq!(fixture.as_server(Method::DELETE, &path(&third.session_id)).send().await?.status, 200);
    let without = format!("/auth/sessions/{}", own.session_id);
    let response = fixture.as_server(Method::DELETE, &without).send().await?;
    assert_eq!(error(&response), known(400, "SCHEMA_ERROR"));
    let left: Vec<_> = fixture.fake.sessions_of(&own.user_id).into_iter().map(|session| session.id).collect();
    assert_eq!(left, [own.session_id]);
    Ok(())
}
