//! What every route has in common: request headers, their two families, and the envelope of answers.

use anyhow::Result;
use http::Method;
use phoenix_testkit::http::Response;
use phoenix_testkit::stack_auth::{NewUser, Options, Project, Route};

use super::{Fixture, Pairs, error, known};

async fn me_with(fixture: &Fixture, headers: Pairs<'_>) -> Result<Response> {
    let call = fixture.bare(Method::GET, "/users/me");
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

#[tokio::test]
async fn request_headers_are_checked_as_the_table_says() -> Result<()> {
    let fixture = Fixture::new()?;
    let (id, keys) = (fixture.fake.project_id(), fixture.fake.project());
    let kind = |value: &'static str| ("x-stack-access-type", value);
    let project = ("x-stack-project-id", id);
    let publishable = ("x-stack-publishable-client-key", keys.publishable_client_key.as_str());
    let secret = ("x-stack-secret-server-key", keys.secret_server_key.as_str());
    let admin = ("x-stack-super-secret-admin-key", keys.super_secret_admin_key.as_str());
    let nobody = ("x-stack-project-id", "nobody");
    let table: &[(Pairs, u16, &str)] = &[
        (&[kind("boss"), project], 400, "INVALID_ACCESS_TYPE"),
        (&[publishable, project], 400, "PROJECT_KEY_WITHOUT_ACCESS_TYPE"),
        (&[secret], 400, "PROJECT_KEY_WITHOUT_ACCESS_TYPE"),
        (&[("x-stack-admin-access-token", "x")], 400, "PROJECT_KEY_WITHOUT_ACCESS_TYPE"),
        (&[project], 400, "ACCESS_TYPE_REQUIRED"),
        (&[kind("client")], 400, "ACCESS_TYPE_WITHOUT_PROJECT_ID"),
        (&[kind("server"), secret], 400, "ACCESS_TYPE_WITHOUT_PROJECT_ID"),
        (&[kind("client"), nobody], 400, "CURRENT_PROJECT_NOT_FOUND"),
        (&[kind("server"), project], 401, "SERVER_AUTHENTICATION_REQUIRED"),
        (&[kind("server"), project, publishable], 401, "SERVER_AUTHENTICATION_REQUIRED"),
        (
            &[kind("server"), project, ("x-stack-secret-server-key", "ssk_no")],
            401,
            "INVALID_SECRET_SERVER_KEY",
        ),
        (&[kind("server"), nobody, secret], 401, "INVALID_SECRET_SERVER_KEY"),
        (
            &[kind("client"), project, ("x-stack-publishable-client-key", "pck_no")],
            401,
            "INVALID_PUBLISHABLE_CLIENT_KEY",
        ),
        (&[kind("admin"), project], 401, "ADMIN_AUTHENTICATION_REQUIRED"),
        (
            &[kind("admin"), project, ("x-stack-super-secret-admin-key", "no")],
            401,
            "INVALID_SUPER_SECRET_ADMIN_KEY",
        ),
        (&[kind("client"), project, ("x-stack-branch-id", "dev")], 400, "BRANCH_DOES_NOT_EXIST"),
        // The rights suffice, only the user is missing.
        (&[kind("client"), project], 400, "CANNOT_GET_OWN_USER_WITHOUT_USER"),
        (&[kind("client"), project, publishable], 400, "CANNOT_GET_OWN_USER_WITHOUT_USER"),
        (&[kind("server"), project, secret], 400, "CANNOT_GET_OWN_USER_WITHOUT_USER"),
        (&[kind("admin"), project, admin], 400, "CANNOT_GET_OWN_USER_WITHOUT_USER"),
        (&[kind("client"), project, ("x-stack-branch-id", "main")], 400, "CANNOT_GET_OWN_USER_WITHOUT_USER"),
    ];
    for (headers, status, code) in table {
        assert_eq!(error(&me_with(&fixture, headers).await?), known(*status, code), "{headers:?}");
        let renamed: Vec<_> =
            headers.iter().map(|(name, value)| (name.replace("stack", "hexclave"), *value)).collect();
        let renamed: Vec<_> = renamed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(error(&me_with(&fixture, &renamed).await?), known(*status, code), "{renamed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_project_may_require_the_publishable_key() -> Result<()> {
    let mut project = Project::new("strict");
    project.requires_publishable_client_key = true;
    let fake = Options::default().project(project).start()?;
    let client = phoenix_testkit::http::Client::new(fake.addr());
    let call = || {
        let call = client.get("/api/v1/users/me").header("x-stack-access-type", "client");
        call.header("x-stack-project-id", "strict")
    };
    let refused = known(401, "PUBLISHABLE_CLIENT_KEY_REQUIRED_FOR_PROJECT");
    assert_eq!(error(&call().send().await?), refused);
    let response = call().header("x-stack-publishable-client-key", "pck_strict").send().await?;
    assert_eq!(error(&response), known(400, "CANNOT_GET_OWN_USER_WITHOUT_USER"));
    Ok(())
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_is_not_stored() -> Result<()> {
    let fixture = Fixture::new()?;
    let token = fixture.fake.sign_up(NewUser::normal()).access_token;
    let mut ids = std::collections::HashSet::new();
    for response in [
        fixture.me(&token).await?,
        fixture.me("garbage").await?,
        fixture.as_client(Method::GET, "/nothing/here").send().await?,
        fixture.as_client(Method::PUT, "/users/me").send().await?,
    ] {
        assert_eq!(response.header("cache-control"), Some("no-store, max-age=0"));
        let id = response.header("x-stack-request-id").expect("an id").to_owned();
        assert_eq!(response.header("x-hexclave-request-id"), Some(id.as_str()));
        assert!(ids.insert(id));
    }
    assert_eq!(fixture.as_client(Method::GET, "/nothing").send().await?.status, 404);
    assert_eq!(fixture.as_client(Method::DELETE, "/users/me").send().await?.status, 405);
    assert_eq!(fixture.fake.calls(Route::Unknown), 4);
    Ok(())
}

#[tokio::test]
async fn a_caller_may_ask_to_hide_the_status_of_4xx() -> Result<()> {
    let fixture = Fixture::new()?;
    for family in ["stack", "hexclave"] {
        let name = format!("x-{family}-override-error-status");
        let call = fixture.as_client(Method::GET, "/users/me").header(&name, "true");
        let response = call.header("x-stack-access-token", "garbage").send().await?;
        assert_eq!(error(&response), known(200, "UNPARSABLE_ACCESS_TOKEN"));
        assert_eq!(response.header("x-stack-actual-status"), Some("401"));
        assert_eq!(response.header("x-hexclave-actual-status"), Some("401"));
    }
    let response = fixture.me("garbage").await?;
    assert_eq!(response.status, 401);
    assert_eq!(response.header("x-stack-actual-status"), None);
    Ok(())
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() -> Result<()> {
    let fixture = Fixture::new()?;
    for (kind, body, code) in [
        ("application/json", "{", "BODY_PARSING_ERROR"),
        ("application/xml", "<a/>", "BODY_PARSING_ERROR"),
        ("application/json", "[]", "SCHEMA_ERROR"),
        ("application/json", "{\"email\":1}", "SCHEMA_ERROR"),
    ] {
        let call = fixture.as_client(Method::POST, "/auth/password/sign-in").header("content-type", kind);
        assert_eq!(error(&call.body(body).send().await?), known(400, code), "{body}");
    }
    let call = fixture.as_client(Method::POST, "/auth/password/sign-in");
    assert_eq!(call.body(vec![b'x'; 2 << 20]).send().await?.status, 413);
    Ok(())
}
