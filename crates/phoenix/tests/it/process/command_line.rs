//! `phoenix user` and `phoenix session`, beside a server that runs on the same database and obeys at once.

use std::time::Duration;

use anyhow::Result;
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::{http::Client, wait};
use serde_json::Value;

use super::support::{ADMIN, CommandLine, OTHER_PASSWORD, PASSWORD, login, me, phoenix, register, token};

/// The default of `cache.revocation_bound`.
const REVOCATION_BOUND: Duration = Duration::from_secs(2);
const USER: &str = "ada@example.com";

fn emails(users: &Value) -> Vec<&str> {
    let users = users.as_array().expect("a list");
    users.iter().map(|user| user["email"].as_str().expect("an email")).collect()
}

// spec: A11
#[tokio::test]
async fn accounts_are_made_and_shown_before_the_server_ever_ran() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    let input = format!("{PASSWORD}\nonly the first line counts\n");
    let add = ["user", "add", "--email", "Root@Example.com", "--role", "admin", "--json"];
    let made = phoenix.run_with_input(&add, &input).await.json();
    assert_eq!((&made["email"], &made["role"]), (&"Root@Example.com".into(), &"admin".into()));
    let again = phoenix.run_with_input(&["user", "add", "--email", ADMIN], PASSWORD).await;
    assert_eq!(again.code, Some(1), "the same address in another case: {again:?}");
    let text = phoenix.run_with_input(&["user", "add", "--email", USER], PASSWORD).await.succeeded();
    assert!(text.contains(USER) && text.contains("as user"), "{text}");

    let listed = phoenix.run(&["user", "list", "--json"]).await.json();
    assert_eq!(emails(&listed), ["Root@Example.com", USER], "oldest first");
    let first = phoenix.run(&["user", "list", "--limit", "1", "--json"]).await.json();
    assert_eq!(emails(&first), ["Root@Example.com"]);
    let table = phoenix.run(&["user", "list"]).await.succeeded();
    assert!(table.lines().count() == 3 && table.contains(USER), "{table}");

    let id = made["id"].as_str().expect("an id");
    for who in [id, ADMIN, "ROOT@EXAMPLE.COM"] {
        let shown = phoenix.run(&["user", "show", who, "--json"]).await.json();
        assert_eq!(shown["id"], made["id"], "{who}");
    }
    let text = phoenix.run(&["user", "show", id]).await.succeeded();
    assert!(text.contains("never") && text.contains("Root@Example.com"), "{text}");
    let sessions = phoenix.run(&["session", "list", id, "--json"]).await.json();
    assert_eq!(sessions.as_array().map(Vec::len), Some(0), "{sessions}");
    Ok(())
}

// spec: A11
#[tokio::test]
async fn mistakes_are_told_apart_by_exit_code_and_change_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let phoenix = CommandLine::in_folder(folder.path());
    let user = ["user", "add", "--email", USER];
    phoenix.run_with_input(&user, PASSWORD).await.succeeded();
    let before = phoenix.run(&["user", "list", "--json"]).await.json();

    for who in ["nobody@example.com", "0198c0de-0000-7000-8000-000000000000"] {
        for command in [
            &["user", "show", who][..],
            &["user", "disable", who],
            &["user", "role", who, "admin"],
            &["session", "list", who],
            &["session", "revoke", who, "--all"],
        ] {
            phoenix.run(command).await.failed(1, &["no account", who]);
        }
    }
    let wrong: [(&[&str], &str, &str); 11] = [
        (&["user", "add", "--email", "b@example.com", "--role", "Not A Role"], PASSWORD, "role"),
        (&["user", "role", USER, "Not A Role"], "", "role"),
        (&["user", "add", "--email", "not an address"], PASSWORD, "email"),
        (&["user", "add", "--email", "b@example.com"], "too-short", "password"),
        (&["user", "password", USER], "passwordpassword", "password"),
        (&["user", "add", "--email", "b@example.com", "--password", PASSWORD], PASSWORD, "--password"),
        (&["user", "add", "--email", "b@example.com", PASSWORD], PASSWORD, "unexpected argument"),
        (&["user", "password", USER, OTHER_PASSWORD], OTHER_PASSWORD, "unexpected argument"),
        (&["session", "revoke", USER], "", "--all"),
        (&["session", "revoke", USER, "--session", "not-an-id"], "", "not-an-id"),
        (&["usr", "list"], "", "user"),
    ];
    for (arguments, input, part) in wrong {
        phoenix.run_with_input(arguments, input).await.failed(2, &[part]);
    }
    let silent = phoenix.run(&["user", "add", "--email", "b@example.com"]).await;
    silent.failed(1, &["no password on standard input"]);
    let absent = ["session", "revoke", USER, "--session", "0198c0de-0000-7000-8000-000000000000"];
    assert_eq!(phoenix.run(&absent).await.code, Some(1));
    assert_eq!(phoenix.run(&["user", "list", "--json"]).await.json(), before);
    Ok(())
}

/// Runs `command` beside the server, and waits until the server refuses the session.
async fn ends(phoenix: &CommandLine, command: &[&str], client: &Client, session: &str) -> Result<()> {
    assert_eq!(me(client, session).await?, 200, "before {command:?}");
    phoenix.run(command).await.succeeded();
    wait::until(REVOCATION_BOUND, &format!("{command:?} to be obeyed"), async || {
        me(client, session).await.is_ok_and(|status| status == 401)
    })
    .await;
    Ok(())
}

async fn a_running_server_obeys(server: &PhoenixProcess, phoenix: &CommandLine) -> Result<()> {
    let client = &server.client();
    register(client, USER).await?;
    let signed = login(client, USER, PASSWORD).await?;
    let (one, id) = (token(&signed, 200), signed.json()["session"]["id"].clone());
    let id = id.as_str().expect("an id");
    let other = token(&login(client, USER, PASSWORD).await?, 200);

    let listed = phoenix.run(&["session", "list", USER, "--json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    assert!(listed.as_array().is_some_and(|all| all.iter().any(|session| session["id"] == id)), "{listed}");
    ends(phoenix, &["session", "revoke", USER, "--session", id], client, &one).await?;
    assert_eq!(me(client, &other).await?, 200, "only that one");
    ends(phoenix, &["session", "revoke", USER, "--all"], client, &other).await?;

    let session = token(&login(client, USER, PASSWORD).await?, 200);
    ends(phoenix, &["user", "disable", USER], client, &session).await?;
    assert_eq!(login(client, USER, PASSWORD).await?.status, 403, "disabled");
    assert_eq!(phoenix.run(&["user", "show", USER, "--json"]).await.json()["disabled"], true);
    phoenix.run(&["user", "enable", USER]).await.succeeded();

    let session = token(&login(client, USER, PASSWORD).await?, 200);
    ends(phoenix, &["user", "role", USER, "admin"], client, &session).await?;
    let signed = login(client, USER, PASSWORD).await?;
    assert_eq!(signed.json()["user"]["role"], "admin");

    let set = phoenix.run_with_input(&["user", "password", USER], OTHER_PASSWORD).await.succeeded();
    assert!(!set.contains(OTHER_PASSWORD), "{set}");
    wait::until(REVOCATION_BOUND, "the new password to end the session", async || {
        me(client, &token(&signed, 200)).await.is_ok_and(|status| status == 401)
    })
    .await;
    assert_eq!(login(client, USER, PASSWORD).await?.status, 401, "the old password");
    assert_eq!(login(client, USER, OTHER_PASSWORD).await?.status, 200, "the new one");

    phoenix.run(&["user", "disable", USER]).await.succeeded();
    let last = phoenix.run(&["user", "disable", ADMIN]).await;
    last.failed(1, &["administrator"]);
    Ok(())
}

// spec: A14 D15
#[tokio::test]
async fn a_running_server_on_the_embedded_database_obeys_the_command_line() -> Result<()> {
    let server = phoenix().start()?;
    a_running_server_obeys(&server, &CommandLine::beside(&server)).await
}

// spec: A14
#[tokio::test]
async fn a_running_server_on_postgresql_obeys_the_command_line() -> Result<()> {
    let url = Postgres::shared().create_database();
    let server = phoenix().env("DATABASE_URL", &url).start()?;
    a_running_server_obeys(&server, &CommandLine::beside(&server).env("DATABASE_URL", &url)).await
}
