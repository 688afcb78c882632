//! Refresh tokens in both forms, and sign-in with a password.

use anyhow::{Context, Result};
use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::stack_auth::{NewUser, Project};
use serde_json::json;

use super::{Fixture, NOW, Pairs, error, known, read};

async fn refresh(fixture: &Fixture, token: &str) -> Result<Response> {
    let call = fixture.as_client(Method::POST, "/auth/sessions/current/refresh");
    call.header("x-stack-refresh-token", token).send().await
}

async fn oauth(fixture: &Fixture, form: Pairs<'_>) -> Result<Response> {
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let call = fixture.bare(Method::POST, "/auth/oauth/token");
    call.header("content-type", "application/x-www-form-urlencoded").body(body.join("&")).send().await
}

#[tokio::test]
async fn a_refresh_gives_another_access_token_of_the_same_session() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    fixture.advance(75);
    let body = refresh(&fixture, &signed_in.refresh_token).await?.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
    let (_, claims) = read(body["access_token"].as_str().context("access token")?)?;
    assert_eq!(claims["refresh_token_id"], signed_in.session_id.as_str());
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW + 75), &json!(NOW + 675)));
    let session = fixture.fake.session(&signed_in.session_id).context("session")?;
    assert_eq!((session.created_at_ms, session.last_used_at_ms), (NOW * 1000, (NOW + 75) * 1000));
    Ok(())
}

#[tokio::test]
async fn a_refresh_fails_once_the_session_is_gone_or_expired() -> Result<()> {
    let fixture = Fixture::new()?;
    let refused = known(401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED");
    assert_eq!(error(&refresh(&fixture, "nothing").await?), refused);
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    fixture.fake.expire_session(&signed_in.session_id);
    assert_eq!(error(&refresh(&fixture, &signed_in.refresh_token).await?), refused);
    let signed_in = fixture.fake.sign_in(&signed_in.user_id);
    fixture.fake.delete_session(&signed_in.session_id);
    assert_eq!(error(&refresh(&fixture, &signed_in.refresh_token).await?), refused);
    let signed_in = fixture.fake.sign_in(&signed_in.user_id);
    fixture.fake.delete_user(&signed_in.user_id);
    assert_eq!(error(&refresh(&fixture, &signed_in.refresh_token).await?), refused);
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    fixture.advance(365 * 24 * 60 * 60);
    assert_eq!(refresh(&fixture, &signed_in.refresh_token).await?.status, 200);
    fixture.advance(1);
    assert_eq!(error(&refresh(&fixture, &signed_in.refresh_token).await?), refused);
    let response = fixture.as_client(Method::POST, "/auth/sessions/current/refresh").send().await?;
    assert_eq!(error(&response), known(400, "SCHEMA_ERROR"));
    Ok(())
}

#[tokio::test]
async fn the_oauth_form_gives_the_same_refresh_token_again() -> Result<()> {
    let fixture = Fixture::new()?;
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let id = fixture.fake.project_id();
    for secret in ["__stack_public_client__", fixture.fake.project().publishable_client_key.as_str()] {
        let token = ("refresh_token", signed_in.refresh_token.as_str());
        let form = [("grant_type", "refresh_token"), token, ("client_id", id), ("client_secret", secret)];
        let response = oauth(&fixture, &form).await?;
        assert_eq!(response.status, 200);
        let body = response.json();
        assert_eq!(body["refresh_token"], signed_in.refresh_token.as_str());
        assert_eq!(body["token_type"], "Bearer");
        assert!(body["expires_in"].is_number());
        let (_, claims) = read(body["access_token"].as_str().context("access token")?)?;
        assert_eq!(claims["refresh_token_id"], signed_in.session_id.as_str());
    }
    Ok(())
}

#[tokio::test]
async fn the_oauth_form_is_checked() -> Result<()> {
    let fixture = Fixture::new()?;
    let mut strict = Project::new("strict");
    strict.requires_publishable_client_key = true;
    fixture.fake.add_project(strict);
    let signed_in = fixture.fake.sign_up(NewUser::normal());
    let grant = ("grant_type", "refresh_token");
    let token = ("refresh_token", signed_in.refresh_token.as_str());
    let id = ("client_id", fixture.fake.project_id());
    let public = ("client_secret", "__stack_public_client__");
    let table: &[(Pairs, u16, &str)] = &[
        (&[token, id, public], 400, "SCHEMA_ERROR"),
        (&[("grant_type", "password"), token, id, public], 400, "SCHEMA_ERROR"),
        (&[grant, token, public], 400, "INVALID_OAUTH_CLIENT_ID_OR_SECRET"),
        (&[grant, token, ("client_id", "nobody"), public], 400, "INVALID_OAUTH_CLIENT_ID_OR_SECRET"),
        (&[grant, token, id, ("client_secret", "pck_no")], 400, "INVALID_OAUTH_CLIENT_ID_OR_SECRET"),
        (&[grant, token, id], 401, "PUBLISHABLE_CLIENT_KEY_REQUIRED_FOR_PROJECT"),
        (
            &[grant, token, ("client_id", "strict"), public],
            401,
            "PUBLISHABLE_CLIENT_KEY_REQUIRED_FOR_PROJECT",
        ),
        (&[grant, id, public], 401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED"),
        (&[grant, ("refresh_token", "nothing"), id, public], 401, "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED"),
        // Another project's refresh token.
        (
            &[grant, token, ("client_id", "strict"), ("client_secret", "pck_strict")],
            401,
            "REFRESH_TOKEN_NOT_FOUND_OR_EXPIRED",
        ),
    ];
    for (form, status, code) in table {
        assert_eq!(error(&oauth(&fixture, form).await?), known(*status, code), "{form:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_password_signs_in_unless_a_second_factor_is_required() -> Result<()> {
    let fixture = Fixture::new()?;
    let user = fixture.fake.create_user(NewUser::normal().email("a@example.com").password("correct horse"));
    let _ = fixture.fake.create_user(NewUser::normal().email("b@example.com").password("battery").mfa());
    let sign_in = async |email: &str, password: &str| {
        let call = fixture.as_client(Method::POST, "/auth/password/sign-in");
        call.json(&json!({ "email": email, "password": password })).send().await
    };
    let body = sign_in("a@example.com", "correct horse").await?.json();
    assert_eq!(body["user_id"], user.id.as_str());
    assert_eq!(fixture.me(body["access_token"].as_str().context("token")?).await?.status, 200);
    assert_eq!(refresh(&fixture, body["refresh_token"].as_str().context("token")?).await?.status, 200);
    for (email, password) in
        [("a@example.com", "wrong"), ("nobody@example.com", "correct horse"), ("b@example.com", "x")]
    {
        let response = sign_in(email, password).await?;
        assert_eq!(error(&response), known(400, "EMAIL_PASSWORD_MISMATCH"));
    }
    let response = sign_in("b@example.com", "battery").await?;
    assert_eq!(error(&response), known(400, "MULTI_FACTOR_AUTHENTICATION_REQUIRED"));
    assert!(response.json()["details"]["attempt_code"].is_string());
    Ok(())
}
