//! `GET /users/me`, with every failure of the reference's table.

use anyhow::{Context, Result};
use http::Method;
use phoenix_testkit::stack_auth::{NewUser, Project, UserType};
use serde_json::json;

use super::{Fixture, NOW, error, known};

#[tokio::test]
async fn the_client_shape_is_a_part_of_the_server_shape() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in =
        fixture.fake.sign_up(NewUser::normal().name("Ada").email("ada@example.com").password("12345678"));
    let client = fixture.me(&signed_in.access_token).await?;
    assert_eq!(client.status, 200);
    assert_eq!(client.header("content-type"), Some("application/json; charset=utf-8"));
    let client = client.json();
    assert_eq!(client["id"], signed_in.user_id.as_str());
    assert_eq!(client["display_name"], "Ada");
    assert_eq!(client["primary_email"], "ada@example.com");
    assert_eq!(client["signed_up_at_millis"], NOW * 1000);
    assert_eq!((&client["is_anonymous"], &client["is_restricted"]), (&json!(false), &json!(false)));
    let call =
        fixture.as_server(Method::GET, "/users/me").header("x-stack-access-token", &signed_in.access_token);
    let server = call.send().await?.json();
    let (client, server) = (client.as_object().context("object")?, server.as_object().context("object")?);
    assert!(client.iter().all(|(name, value)| server.get(name) == Some(value)));
    for name in ["server_metadata", "last_active_at_millis", "country_code", "risk_scores"] {
        assert!(server.contains_key(name) && !client.contains_key(name), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_user_it_is_400() -> Result<()> {
    let fixture = Fixture::new()?;
    let response = fixture.as_client(Method::GET, "/users/me").send().await?;
    assert_eq!(error(&response), known(400, "CANNOT_GET_OWN_USER_WITHOUT_USER"));
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    fixture.fake.delete_user(&signed_in.user_id);
    let response = fixture.me(&signed_in.access_token).await?;
    assert_eq!(error(&response), known(400, "CANNOT_GET_OWN_USER_WITHOUT_USER"));
    Ok(())
}

#[tokio::test]
async fn a_token_expires_to_the_second_and_the_error_tells_whose() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    fixture.advance(599);
    assert_eq!(fixture.me(&signed_in.access_token).await?.status, 200);
    fixture.advance(1);
    let response = fixture.me(&signed_in.access_token).await?;
    assert_eq!(error(&response), known(401, "ACCESS_TOKEN_EXPIRED"));
    let details = json!({
        "expired_at_millis": (NOW + 600) * 1000, "project_id": fixture.fake.project_id(),
        "user_id": signed_in.user_id, "refresh_token_id": signed_in.session_id,
    });
    assert_eq!(response.json()["details"], details);
    Ok(())
}

#[tokio::test]
async fn garbage_and_other_projects_tokens_are_refused() -> Result<()> {
    let fixture = Fixture::new()?;
    for garbage in ["x", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\"", "a.b.c.d"] {
        let response = fixture.me(garbage).await?;
        assert_eq!(error(&response), known(401, "UNPARSABLE_ACCESS_TOKEN"), "{garbage}");
    }
    fixture.fake.add_project(Project::new("other"));
    let other = phoenix_testkit::stack_auth::TokenSpec::new("other", UserType::Normal, NOW);
    let response = fixture.me(&fixture.fake.mint(&other)).await?;
    assert_eq!(error(&response), known(401, "INVALID_PROJECT_FOR_ACCESS_TOKEN"));
    Ok(())
}

#[tokio::test]
async fn restricted_and_anonymous_users_must_be_allowed() -> Result<()> {
    let fixture = Fixture::new()?;
    let restricted = fixture.fake.sign_up(NewUser::restricted()).access_token;
    let anonymous = fixture.fake.sign_up(NewUser::anonymous()).access_token;
    let response = fixture.me(&restricted).await?;
    assert_eq!(error(&response), known(403, "RESTRICTED_USER_NOT_ALLOWED"));
    let reason = json!({ "type": "email_not_verified" });
    assert_eq!(response.json()["details"], json!({ "restricted_reason": reason }));
    let response = fixture.me(&anonymous).await?;
    assert_eq!(error(&response), known(401, "ANONYMOUS_AUTHENTICATION_NOT_ALLOWED"));
    let allowing = async |token: &str, header: &str| {
        let call = fixture.as_client(Method::GET, "/users/me").header("x-stack-access-token", token);
        anyhow::Ok(call.header(header, "true").send().await?)
    };
    let response = allowing(&restricted, "x-stack-allow-restricted-user").await?;
    assert_eq!(response.json()["restricted_reason"], reason);
    assert_eq!(allowing(&restricted, "x-hexclave-allow-restricted-user").await?.status, 200);
    assert_eq!(allowing(&anonymous, "x-stack-allow-restricted-user").await?.status, 401);
    assert_eq!(allowing(&anonymous, "x-stack-allow-anonymous-user").await?.json()["is_anonymous"], true);
    Ok(())
}

#[tokio::test]
async fn a_change_of_type_shows_in_the_next_token() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::anonymous());
    fixture.fake.set_user_type(&signed_in.user_id, UserType::Normal);
    let fresh = fixture.fake.access_token(&signed_in.session_id).context("session")?;
    assert_eq!(fixture.me(&fresh).await?.status, 200);
    assert_eq!(fixture.me(&signed_in.access_token).await?.status, 401);
    Ok(())
}
