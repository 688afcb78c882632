//! The first start in an empty folder: what is made, what is shown, and what only once.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;

use super::support::{ADMIN, CommandLine, OTHER_PASSWORD, PASSWORD, bare, login, me, phoenix, token};

/// The word after `label` in the banner.
fn shown<'a>(banner: &'a str, label: &str) -> Option<&'a str> {
    let line = banner.lines().find_map(|line| line.trim().strip_prefix(label))?;
    line.split_whitespace().next()
}

// spec: A11
#[tokio::test]
async fn an_empty_folder_becomes_a_server_with_one_administrator_shown_once() -> Result<()> {
    let server = bare().start()?;
    let banner = server.stdout();
    let address = format!("http://{}", server.address());
    assert!(banner.contains(&format!("listening on {address}\n")), "{banner}");
    assert!(
        shown(&banner, "dashboard").is_some() && banner.contains(&format!("{address}/phoenix/")),
        "{banner}"
    );
    let email = shown(&banner, "email").expect("the banner names the administrator");
    let password = shown(&banner, "password").expect("the banner shows the generated password");
    assert_eq!(banner.matches(password).count(), 1, "{banner}");
    assert!(password.len() >= 20 && !server.stderr().contains(password), "{banner}");

    let signed = login(&server.client(), email, password).await?;
    assert_eq!(signed.status, 200, "{}", signed.text());
    assert_eq!(signed.json()["user"]["role"], "admin");
    let users = server.client().get("/api/admin/users").bearer(&token(&signed, 200)).send().await?;
    assert_eq!(users.status, 200, "the administrator administers");

    server.restart()?;
    let second = &server.stdout()[banner.len()..];
    assert!(second.contains("listening on") && shown(second, "password").is_none(), "{second}");
    assert!(!server.stdout()[banner.len()..].contains(password) && !server.stderr().contains(password));
    assert_eq!(login(&server.client(), email, password).await?.status, 200, "the same password");
    Ok(())
}

// spec: A11
#[tokio::test]
async fn a_configured_administrator_is_taken_once_and_never_printed() -> Result<()> {
    let server = phoenix().start()?;
    let banner = server.stdout();
    assert!(banner.contains(ADMIN) && !banner.contains(PASSWORD), "{banner}");
    let signed = login(&server.client(), ADMIN, PASSWORD).await?;
    assert_eq!(signed.json()["user"]["role"], "admin");
    server.terminate()?;

    // Later values do not change an account that exists.
    let folder = server.directory();
    let other = bare()
        .env("PHOENIX_DATA_DIR", folder.join("phoenix-data").to_string_lossy())
        .env("PHOENIX_ADMIN_EMAIL", "other@example.com")
        .env("PHOENIX_ADMIN_PASSWORD", OTHER_PASSWORD)
        .start()?;
    assert_eq!(login(&other.client(), ADMIN, PASSWORD).await?.status, 200);
    assert_eq!(login(&other.client(), "other@example.com", OTHER_PASSWORD).await?.status, 401);
    Ok(())
}

// spec: A11
#[tokio::test]
async fn an_administrator_that_cannot_be_made_stops_the_start_and_leaves_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (email, password, word) in
        [(ADMIN, "short-word", "password"), (ADMIN, "passwordpassword", "password")]
    {
        let ran = CommandLine::in_folder(folder.path())
            .env("PHOENIX_LISTEN", "127.0.0.1:0")
            .env("PHOENIX_ADMIN_EMAIL", email)
            .env("PHOENIX_ADMIN_PASSWORD", password)
            .run(&["serve"])
            .await;
        ran.failed(1, &["PHOENIX_ADMIN_PASSWORD", word]);
        assert!(!ran.stderr.contains(password) && !ran.stdout.contains("listening"), "{ran:?}");
    }
    let users = CommandLine::in_folder(folder.path()).run(&["user", "list", "--json"]).await.json();
    assert_eq!(users.as_array().map(Vec::len), Some(0), "{users}");
    Ok(())
}

// spec: D15
#[tokio::test]
async fn the_data_folder_and_its_files_are_for_the_owner_only() -> Result<()> {
    // The loosest mask there is, so that the modes are the program's own doing.
    let server = phoenix().run_under(["sh", "-c", "umask 000; exec \"$0\" \"$@\""]).start()?;
    assert_eq!(login(&server.client(), ADMIN, PASSWORD).await?.status, 200);
    let folder = server.directory().join("phoenix-data");
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for file in fs::read_dir(&folder)? {
        let file = file?;
        assert_eq!(file.metadata()?.permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
    Ok(())
}

// spec: A12
#[tokio::test]
async fn demonstration_and_test_accounts_exist_only_while_they_are_switched_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let off = phoenix().env("PHOENIX_DATA_DIR", folder.path().join("data").to_string_lossy());
    let accounts =
        [("demo@phoenix.example", "phoenix-demo-account"), ("test@phoenix.example", "phoenix-test-account")];
    let never = off.clone().start()?;
    for (email, password) in accounts {
        assert_eq!(login(&never.client(), email, password).await?.status, 401, "{email} was never there");
    }
    never.terminate()?;

    let on = off.clone().env("ENABLE_DEMO_MODE", "true").env("ENABLE_TEST_USER", "true");
    let on = on.env("PHOENIX_ENV", "test").start()?;
    let mut sessions = Vec::new();
    for (email, password) in accounts {
        assert!(on.stdout().contains(&format!("{email} / {password}")), "{}", on.stdout());
        sessions.push(token(&login(&on.client(), email, password).await?, 200));
    }
    on.terminate()?;

    let again = off.start()?;
    for ((email, password), session) in accounts.into_iter().zip(&sessions) {
        assert_eq!(login(&again.client(), email, password).await?.status, 403, "{email} is switched off");
        assert_eq!(me(&again.client(), session).await?, 401, "and its session ended");
    }
    Ok(())
}
